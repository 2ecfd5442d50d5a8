"""Where a max pool found its values, and values put back there."""

from __future__ import annotations

import numpy as np
import pytest

import convc as cc
from convc.backends import reference
from convc.ir.errors import ShapeError
from convc.ir.ops.pool import MaxPool, max_pool
from convc.ir.ops.unpool import MaxPoolIndices, MaxUnpool, max_pool_indices, max_unpool, may_be_greatest
from convc.tests.support.graphs import typed_graph

WINDOWS = (
    ((2,), (2, 3, 9), {"strides": (2,), "pads": (1, 0)}),
    ((3, 2), (2, 3, 7, 6), {"strides": (2, 1), "pads": (1, 1, 2, 0), "ceil_mode": True}),
    ((2, 3), (1, 2, 8, 9), {"dilations": (3, 2), "pads": (2, 1, 1, 2)}),
    ((2, 2, 2), (2, 2, 4, 5, 6), {"strides": (2, 1, 3)}),
)


@pytest.mark.parametrize(("kernel", "shape", "attributes"), WINDOWS)
@pytest.mark.parametrize("column_major", [False, True])
def test_the_values_lie_at_the_places(kernel, shape, attributes, column_major):
    x = np.random.default_rng(0).standard_normal(shape)
    places = max_pool_indices(MaxPoolIndices(kernel, **attributes, column_major=column_major), x)
    turned = x.transpose(0, 1, *range(2, x.ndim)[::-1]) if column_major else x
    assert np.array_equal(turned.ravel()[places], max_pool(MaxPool(kernel, **attributes), x))


def test_of_equals_and_of_nan_the_first_and_padding_never():
    x = np.array([[[[-np.inf, -np.inf, 3, 3], [-np.inf, -np.inf, np.nan, np.nan]]]])
    op = MaxPoolIndices((2, 2), (2, 2))
    assert max_pool_indices(op, x).tolist() == [[[[0, 6]]]]
    assert max_pool_indices(MaxPoolIndices((2, 2), (2, 2), column_major=True), x).tolist() == [[[[0, 5]]]]
    assert max_pool_indices(MaxPoolIndices((2, 2), (2, 2), (1, 1, 1, 1)), x).tolist() == [[[[0, 2, 3], [4, 6, 7]]]]


def test_what_is_put_back_lies_where_it_was():
    x = np.random.default_rng(1).standard_normal((2, 3, 5, 7))
    pooled, places = max_pool(MaxPool((2, 2), (2, 2)), x), max_pool_indices(MaxPoolIndices((2, 2), (2, 2)), x)
    back = max_unpool(MaxUnpool((2, 2), (2, 2), sizes=(5, 7)), pooled, places)
    assert np.array_equal(back[back != 0], x[back != 0])
    assert (back != 0).sum() == pooled.size
    assert np.array_equal(max_pool(MaxPool((2, 2), (2, 2)), np.where(back == 0, -np.inf, back)), pooled)


def test_a_place_beyond_the_result_is_refused():
    for place in (-1, 16):
        with pytest.raises(ShapeError, match=f"place {place} is outside 0 to 15"):
            max_unpool(MaxUnpool((2, 2), (2, 2)), np.ones((1, 1, 2, 2)), np.array([[[[0, 1], [2, place]]]]))


def test_which_places_rounding_leaves_open():
    x, op = np.array([[[[1.0, 1.0 + 1e-9], [0.5, 0.0]]]]), MaxPoolIndices((2, 2))
    for place, is_open in ((0, True), (1, True), (2, False), (3, False), (4, False), (-1, False)):
        assert may_be_greatest(op, x - 1e-8, x + 1e-8, np.array([[[[place]]]])).item() is is_open
    assert not may_be_greatest(op, x, x, np.array([[[[0]]]])).item()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("%y = max_pool_indices(%x) {kernel=[2,2], dilations=[7,1], pads=[4,0,4,0]}", "may straddle the 5 of axis 2"),
        ("%y = max_pool_indices(%x) {kernel=[2,2,2]}", "expected 5 axes"),
        ("%y = max_pool_indices(%x) {kernel=[2,2], pads=[2,0,0,0]}", "a window would hold padding only"),
        ("%y = max_unpool(%x, %x) {kernel=[2,2]}", r"indices are f32\[N,3,5,6\], expected a place for each value"),
        ("%y = max_unpool(%x, %few) {kernel=[2,2]}", "expected a place for each value"),
        ("%y = max_unpool(%x, %i) {kernel=[2]}", "has 1 axes for an input of"),
        ("%y = max_unpool(%x, %i) {kernel=[2,2], sizes=[9]}", "must be 2 numbers"),
        ("%y = max_unpool(%x, %i) {kernel=[2,2], pads=[9,0,0,0]}", "must be at least 1"),
        ("%y = max_unpool(%x, %i) {kernel=[0,2]}", "is empty"),
    ],
)
def test_refusals(text, why):
    with pytest.raises(ShapeError, match=why):
        typed_graph(f"graph @g(%x: f32[N,3,5,6], %i: i64[N,3,5,6], %few: i64[N,3,5]) {{ {text} return %y }}")


def test_sizes_may_be_named():
    graph = typed_graph("""graph @g(%x: f32[N,2,H,W]) {
        %p = max_pool(%x) {kernel=[2,2], strides=[2,2]}
        %i = max_pool_indices(%x) {kernel=[2,2], strides=[2,2]}
        %y = max_unpool(%p, %i) {kernel=[2,2], strides=[2,2], sizes=[H,W]}
        return %y }""")
    assert str(graph.outputs[0].type) == "f32[N,2,H,W]"
    assert reference.run(graph, {"x": np.ones((1, 2, 5, 4), np.float32)})["y"].sum() == 8


def test_layers_by_hand():
    @cc.network(image="N,2,7,9")
    def net(image):
        places = cc.max_pool_indices(image, 2, pad=(1, 1, 0, 0))
        return cc.max_unpool(cc.max_pool(image, 2, pad=(1, 1, 0, 0)), places, 2, like=image)

    x = np.random.default_rng(2).standard_normal((1, 2, 7, 9)).astype(np.float32)
    (y,) = reference.run(net(), {"image": x}).values()
    assert y.shape == x.shape
    assert np.array_equal(y[y != 0], x[y != 0])
