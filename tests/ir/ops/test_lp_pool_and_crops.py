"""lp_pool against the norms it is named after, center_crop_pad against slices and pads, and what both refuse."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.ir.errors import ShapeError
from convc.ir.ops.pool import LP_POOL, AvgPool, LpPool, MaxPool, avg_pool, lp_pool, max_pool
from convc.ir.ops.rearrange import CenterCropPad, center_crop_pad
from convc.ir.types import TensorType
from convc.ir.window_leftovers import leftovers
from convc.tests.support.graphs import typed_graph

X = np.random.default_rng(2).standard_normal((2, 3, 9, 10))
WINDOW = {"kernel": (3, 2), "strides": (2, 3), "pads": (1, 0, 2, 1), "dilations": (1, 1), "ceil_mode": True}


def test_the_norms_of_windows():
    """p=1 is the mean times the window, p=2 its root mean square, and a large p its greatest."""
    counted = avg_pool(AvgPool(**WINDOW, count_include_pad=False), np.ones_like(X))
    assert (counted == 1).all()
    inner = {"kernel": (3, 2), "strides": (2, 3)}
    assert np.allclose(lp_pool(LpPool(**inner, p=1), X), 6 * avg_pool(AvgPool(**inner), abs(X)))
    assert np.allclose(lp_pool(LpPool(**inner, p=2), X) ** 2, 6 * avg_pool(AvgPool(**inner), X * X))
    assert np.allclose(lp_pool(LpPool(**WINDOW, p=300), X), max_pool(MaxPool(**WINDOW), abs(X)), rtol=0.01)


def test_padding_adds_nothing():
    op, pads = LpPool((3, 3), (2, 2), (1, 1, 1, 1), p=3), ((0, 0), (0, 0), (1, 1), (1, 1))
    assert np.allclose(lp_pool(op, X), lp_pool(LpPool((3, 3), (2, 2), p=3), np.pad(X, pads)))
    assert (lp_pool(LpPool((2, 2), p=3), np.zeros((1, 1, 4, 4))) == 0).all()


def test_the_local_bound_holds_in_single_precision():
    for p in (1, 2, 3, 4, 7):
        op = LpPool((3, 3), p=p)
        exact, got = lp_pool(op, X), lp_pool(op, X.astype(np.float32))
        n = LP_POOL.roundings(op, (TensorType("f32", X.shape),), TensorType("f32", exact.shape))
        assert (abs(got - exact) <= n * 2.0**-24 * exact + 2.0**-24 * abs(exact)).all(), p


def test_what_a_stride_leaves_unread_is_said():
    graph = typed_graph("graph @g(%x: f32[1,1,8,7]) { %y = lp_pool(%x) {kernel=[2,3], strides=[2,3]} return %y }")
    assert [str(each.axis) for each in leftovers(graph)] == ["columns"]


@pytest.mark.parametrize(("size", "wanted"), [(2, [1, 2]), (1, [2]), (4, [0, 1, 2, 3]), (0, [])])
def test_the_middle_is_what_stays(size, wanted):
    """Of an odd number that go the larger half is after it."""
    assert center_crop_pad(CenterCropPad((size,)), np.arange(5)).tolist() == wanted


@pytest.mark.parametrize(("size", "wanted"), [(4, [0, 1, 2, 0]), (6, [0, 0, 1, 2, 0, 0]), (3, [1, 2, 0])])
def test_zeros_lie_around_it(size, wanted):
    assert center_crop_pad(CenterCropPad((size,)), np.array([1, 2])).tolist() == wanted


def test_axes_are_cropped_and_padded_at_once():
    got = center_crop_pad(CenterCropPad((5, 12), (2, -1)), X)
    assert np.array_equal(got, np.pad(X[:, :, 2:7], ((0, 0), (0, 0), (0, 0), (1, 1))))


def test_a_named_size_decides_when_the_network_runs():
    graph = typed_graph(
        "graph @g(%x: f32[N,H]) { %y = center_crop_pad(%x) {shape=[N,4]} %z = center_crop_pad(%x) {shape=[2*N,H]} return %y, %z }"
    )
    assert [str(node.typed) for node in graph.outputs] == ["f32[N,4]", "f32[2*N,H]"]
    for columns in (2, 4, 7):
        x = np.ones((3, columns), np.float32)
        got = reference.run(graph, {"x": x})
        assert got["y"].sum() == 3 * min(columns, 4)
        assert got["z"].shape == (6, columns)


@pytest.mark.parametrize(
    ("body", "type_", "why"),
    [
        ("lp_pool(%x) {kernel=[2,2], p=0}", "f32[1,1,4,4]", "p is 0, expected at least 1"),
        ("lp_pool(%x) {kernel=[2,2]}", "i32[1,1,4,4]", "expected floating point"),
        ("lp_pool(%x) {kernel=[5,2]}", "f32[1,1,4,4]", "larger than its padded input"),
        ("lp_pool(%x) {kernel=[2,2], pads=[2,0,0,0]}", "f32[1,1,4,4]", "a window would hold padding only"),
        ("lp_pool(%x) {kernel=[2,2,2,2]}", "f32[1,1,4,4,4,4]", "windows have 1 to 3"),
        ("center_crop_pad(%x) {shape=[2]}", "f32[N,3]", "1 sizes, expected one for each of 2 axes"),
        ("center_crop_pad(%x) {shape=[2,2], axes=[1,-1]}", "f32[N,3]", "name an axis twice"),
        ("center_crop_pad(%x) {shape=[2], axes=[2]}", "f32[N,3]", "axis 2 is outside the 2 axes"),
        ("center_crop_pad(%x) {shape=[-2], axes=[0]}", "f32[N,3]", "crop to a dimension of -2"),
    ],
)
def test_what_does_not_fit_is_refused(body, type_, why):
    with pytest.raises(ShapeError, match=why):
        typed_graph(f"graph @g(%x: {type_}) {{ %y = {body} return %y }}")
