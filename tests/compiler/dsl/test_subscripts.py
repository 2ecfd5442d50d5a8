"""Subscripts mean what they mean in NumPy, and what they do not do says so with the user's line."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import basic_indices

import convc as cc
from convc.backends import reference
from convc.ir.errors import InvalidModel, ShapeError

X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def net(body, image="2,3,4,5"):
    return cc.network(x=image)(lambda x: body(x)).graph()


@given(basic_indices(X.shape, allow_newaxis=True, max_dims=6))
@settings(max_examples=150, deadline=None)
def test_as_numpy_has_it(key):
    expected = X[key]
    graph = net(lambda x: cc.identity(x[key]))
    np.testing.assert_array_equal(reference.run(graph, {"x": X})[graph.outputs[0].name], expected)


@pytest.mark.parametrize(
    ("key", "type_", "kinds"),
    [
        ((slice(None), slice(None, 4)), "f32[N,3,H,W]", ["slice"]),
        ((slice(None), slice(None, 2)), "f32[N,2,H,W]", ["slice"]),
        ((Ellipsis, slice(None, None, 2)), "f32[N,3,H,(W+1)//2]", ["slice"]),
        ((Ellipsis, slice(1, -1)), "f32[N,3,H,W-2]", ["slice"]),
        ((slice(None), -1), "f32[N,H,W]", ["slice", "reshape"]),
        (0, "f32[3,H,W]", ["gather"]),
        ((slice(None), slice(None), -1, None), "f32[N,3,1,W]", ["gather", "reshape"]),
        (Ellipsis, "f32[N,3,H,W]", []),
    ],
)
def test_of_named_sizes(key, type_, kinds):
    graph = net(lambda x: x[key], "N,3,H,W")
    assert str(graph.outputs[0].type) == type_
    assert [node.kind.name for node in graph.ops] == kinds


def test_bounds_may_be_sizes():
    graph = net(lambda x: x[:, :, x.shape[2] // 2 :], "N,3,H,W")
    assert graph.outputs[0].typed.with_sizes({"N": 1, "H": 7, "W": 2}).shape == (1, 3, 4, 2)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda x: x[:, 3], r"^test_subscripts.py:\d+: index 3 is out of range for axis 1 of f32\[2,3,4,5\], which has 3 elements$"),
        (lambda x: x[0, 0, 0, 0, 0], r"5 subscripts for f32\[2,3,4,5\], which has 4 axes"),
        (lambda x: x[..., 0, ...], "more than one ..."),
        (lambda x: x[:, [0, 1]], "a subscript is a list, expected whole numbers, slices"),
        (lambda x: x[x], "a subscript is a Value"),
        (lambda x: x[True], "a subscript is a bool"),
        (lambda x: x[1.5:], "a bound is a float"),
        (lambda x: x[::0], "a step of 0 goes nowhere"),
        (lambda x: x["rows"], "a subscript is a str"),
    ],
)
def test_refusals_name_the_line(body, words):
    with pytest.raises(ShapeError, match=words):
        net(body)


def test_a_length_that_hangs_on_a_named_size():
    with pytest.raises(ShapeError, match=r"\(test_subscripts.py:\d+\): slice \[0:4:1\] of axis 2 depends on the named size H"):
        net(lambda x: x[:, :, :4], "N,3,H,W")


@pytest.mark.parametrize("body", [list, lambda x: [*x], lambda x: 3 in x], ids=["list", "star", "in"])
def test_python_does_not_take_a_value_apart(body):
    with pytest.raises(InvalidModel, match=r"test_subscripts.py:\d+: %x \(f32\[2,3,4,5\]\) cannot be taken apart by Python"):
        net(body)


class TestNamedOutputs:
    def test_a_dict_names_them(self):
        graph = net(lambda x: {"boxes": x[:, :2], "scores": cc.relu(x), "again": x})
        assert [node.name for node in graph.outputs] == ["boxes", "scores", "again"]
        better, _ = cc.optimize(graph, level=2)
        assert [node.name for node in better.outputs] == ["boxes", "scores", "again"]

    def test_a_value_that_has_the_name_stays_what_it_is(self):
        graph = net(lambda x: {"mine": cc.conv(x, 2, 1, name="mine")})
        assert [node.kind.name for node in graph.ops] == ["conv2d"]

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (lambda x: {}, "returns nothing"),
            (lambda x: {3: x}, "names an output 3, expected a text such as 'boxes'"),
            (lambda x: {"": x}, "names an output ''"),
            (lambda x: {"y": 3}, "returns a int, expected a value"),
            (lambda x: {"x": cc.relu(x)}, "the name 'x' is taken already, by another value"),
        ],
    )
    def test_refusals(self, body, words):
        with pytest.raises(InvalidModel, match=rf"^test_subscripts.py:\d+: network '<lambda>'.*{words}"):
            net(body)


def test_errors_say_the_scope():
    def body(x):
        with cc.scope("block3"), cc.scope("a"):
            return cc.conv(x, 4, 3, groups=2)

    with pytest.raises(ShapeError, match=r"^test_subscripts.py:\d+, in block3.a: 3 channels do not divide into 2 groups$"):
        net(body)


def test_a_layer_says_its_scope_by_its_name():
    def body(x):
        with cc.scope("block3"):
            return cc.conv(x, 4, 9)

    with pytest.raises(ShapeError, match=r"^%block3.conv1 = conv2d \(test_subscripts.py:\d+\): kernel of extent 9"):
        net(body)


@pytest.mark.parametrize(
    ("shape", "way_out"),
    [
        ((6, 3, 3, 3), "3*1 channels, input has 4; give a weight or an input of as many"),
        ((6, 2, 3, 3), "2*1 channels, input has 4; give 2 groups, or a weight"),
    ],
)
def test_filters_of_other_channels_say_the_way_out(shape, way_out):
    with pytest.raises(ShapeError, match=re.escape(way_out)):
        net(lambda x: cc.conv_with(x, cc.constant(x, np.ones(shape, np.float32))), "N,4,8,8")
