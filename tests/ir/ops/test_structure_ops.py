"""Ops on structure: identities they were not written from, types with named sizes, and what they refuse."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import convc as cc
from convc.backends import reference
from convc.ir.errors import InvalidModel, ShapeError
from convc.ir.ops.group import GroupNorm, InstanceNorm, LayerNorm, group_norm, instance_norm, layer_norm
from convc.ir.ops.quantize import DequantizeLinear, QuantizeLinear, dequantize_linear, quantize_linear
from convc.ir.ops.rearrange import DepthToSpace, SpaceToDepth, depth_to_space, space_to_depth
from convc.ir.ops.reduce import ArgMax, ArgMin, ReduceSum, arg_max, arg_min, reduce_sum
from convc.ir.ops.resize import RESIZE, Resize, resize, resize_magnitude
from convc.ir.ops.select import TopKIndices, TopKValues, top_k_indices, top_k_values
from convc.ir.printer import print_graph
from convc.ir.types import TensorType
from convc.tests.support.graphs import typed_graph

DRAWS = np.random.default_rng(5)
IMAGE = DRAWS.standard_normal((2, 12, 4, 6))


def type_of(body: str, *inputs: str) -> str:
    """The type of %y in a graph of the inputs %a, %b, ..."""
    names = "abcd"
    heads = ", ".join(f"%{names[i]}: {type_}" for i, type_ in enumerate(inputs))
    return str(typed_graph(f"graph @g({heads}) {{ %y = {body} return %y }}").outputs[0].typed)


@pytest.mark.parametrize(
    ("body", "inputs", "wanted"),
    [
        ("reduce_sum(%a) {axes=[0,-1]}", ["f32[N,3,H]"], "f32[1,3,1]"),
        ("reduce_max(%a) {axes=[1], keepdims=false}", ["i64[N,3,H]"], "i64[N,H]"),
        ("arg_max(%a) {axis=1}", ["f32[N,3,H]"], "i64[N,1,H]"),
        ("arg_min(%a) {axis=-1, keepdims=false}", ["u8[N,3,H]"], "i64[N,3]"),
        ("gather(%a, %b) {axis=1}", ["f32[N,3,H]", "i64[K,2]"], "f32[N,K,2,H]"),
        ("gather(%a, %b)", ["f32[3]", "i32[]"], "f32[]"),
        ("top_k_values(%a) {k=5}", ["f16[N,9*H]"], "f16[N,5]"),
        ("top_k_indices(%a) {k=2, axis=0}", ["f16[3,H]"], "i64[2,H]"),
        ("depth_to_space(%a) {block=2}", ["f32[N,12,H,W+1]"], "f32[N,3,2*H,2*W+2]"),
        ("space_to_depth(%a) {block=2}", ["f32[N,3,2*H,4*W]"], "f32[N,12,H,2*W]"),
        ("expand(%a) {shape=[N,3,1,W]}", ["f32[1,H,1]", "f32[N,W]"], "f32[N,3,H,W]"),
        ("expand(%a) {shape=[4,1,H,1]}", ["f32[N,1,1]", "f32[H]"], "f32[4,N,H,1]"),
        ("tile(%a) {repeats=[2,1]}", ["f32[N,3]"], "f32[2*N,3]"),
        ("instance_norm(%a, %b, %b)", ["f32[N,3,H]", "f32[3]"], "f32[N,3,H]"),
        ("group_norm(%a, %b, %b) {groups=2}", ["f32[N,4,H,W]", "f32[4]"], "f32[N,4,H,W]"),
        ("layer_norm(%a, %b) {axis=1}", ["f64[N,4,3]", "f64[4,3]"], "f64[N,4,3]"),
        ("quantize_linear(%a, %b, %c)", ["f32[N,4]", "f32[4]", "i8[4]"], "i8[N,4]"),
        ("dequantize_linear(%a, %b, %c)", ["i32[N,4]", "f16[]", "i32[]"], "f16[N,4]"),
        ("resize(%a) {scales=[2.0,3.0], mode=cubic}", ["f32[N,1,H,5]"], "f32[N,1,2*H,15]"),
    ],
)
def test_types_with_named_sizes(body, inputs, wanted):
    assert type_of(body, *inputs) == wanted


@pytest.mark.parametrize(
    ("body", "inputs", "why"),
    [
        ("reduce_sum(%a) {axes=[2]}", ["f32[N,3]"], "axis 2 is outside the 2 axes"),
        ("reduce_prod(%a) {axes=[0,-2]}", ["f32[N,3]"], "name an axis twice"),
        ("reduce_min(%a)", ["bool[3]"], "expected numbers; cast it"),
        ("reduce_mean(%a)", ["i32[3]"], "expected floating point"),
        ("arg_max(%a) {axis=3}", ["f32[N,3]"], "axis 3 is outside"),
        ("arg_max(%a)", ["f32[]"], "axis 0 is outside the 0 axes"),
        ("arg_min(%a) {axis=1}", ["f32[N,0]"], "no elements to choose from"),
        ("gather(%a, %b) {axis=2}", ["f32[N,3]", "i64[2]"], "axis 2 is outside"),
        ("gather(%a, %b)", ["f32[N,3]", "f32[2]"], "expected i32 or i64"),
        ("gather(%a, %b)", ["f32[1,1,1,1,1]", "i64[1,1,1,1,1]"], "has 9 axes; at most 8"),
        ("top_k_values(%a) {k=4}", ["f32[N,3]"], "k is 4, expected 1 to 3"),
        ("top_k_indices(%a) {k=0}", ["f32[N]"], "k is 0, expected 1 to N"),
        ("top_k_values(%a) {k=1, axis=1}", ["f32[N]"], "axis 1 is outside"),
        ("depth_to_space(%a) {block=2}", ["f32[N,6,1,1]"], "6 channels do not divide by 4"),
        ("depth_to_space(%a) {block=0}", ["f32[N,6,1,1]"], "block 0 must be at least 1"),
        ("depth_to_space(%a) {block=1, mode=RCD}", ["f32[N,6,1,1]"], "unknown mode 'RCD'"),
        ("space_to_depth(%a) {block=2}", ["f32[N,6,3,2]"], "3 rows do not divide by 2"),
        ("space_to_depth(%a) {block=2}", ["f32[N,6,4,W]"], "W columns do not divide by 2 for every value"),
        ("space_to_depth(%a) {block=-2}", ["f32[N,6,4,4]"], "block -2"),
        ("expand(%a) {shape=[2]}", ["f32[3]"], "do not broadcast: 3 against 2"),
        ("expand(%a) {shape=[-1]}", ["f32[3]"], "expand to a dimension of -1"),
        ("expand(%a) {shape=[1,1,1,1,1,1,1,1,1]}", ["f32[3]"], "expand to 9 axes"),
        ("tile(%a) {repeats=[2]}", ["f32[N,3]"], "1 repeats, expected one for each of 2 axes"),
        ("tile(%a) {repeats=[2,0]}", ["f32[N,3]"], "must be at least 1"),
        ("instance_norm(%a, %b, %b)", ["f32[N,3]", "f32[3]"], "expected channels on axis 1 and positions after it"),
        ("instance_norm(%a, %b, %b)", ["f32[N,3,2]", "f32[2]"], "one value for each of 3 channels"),
        ("instance_norm(%a, %b, %b) {epsilon=nan}", ["f32[N,3,2]", "f32[3]"], "epsilon nan"),
        ("group_norm(%a, %b, %b) {groups=2}", ["f32[N,3,2]", "f32[3]"], "3 channels do not divide into 2 groups"),
        ("group_norm(%a, %b, %b) {groups=0}", ["f32[N,3,2]", "f32[3]"], "into 0 groups"),
        ("layer_norm(%a, %b) {axis=2}", ["f32[N,3]", "f32[3]"], "axis 2 is outside"),
        ("layer_norm(%a, %b) {axis=0}", ["f32[2,3]", "f32[3]"], "the shape of the normalized axes, \\[2,3\\]"),
        ("layer_norm(%a, %b) {epsilon=-1.0}", ["f32[2,3]", "f32[3]"], "epsilon -1.0"),
        ("quantize_linear(%a, %b, %c)", ["f32[N,4]", "f32[3]", "i8[3]"], "one for each element of axis 1"),
        ("quantize_linear(%a, %b, %c) {axis=4}", ["f32[N,4]", "f32[4]", "i8[4]"], "axis 4 is outside"),
        ("quantize_linear(%a, %b, %c)", ["f32[N,4]", "f32[4]", "i8[]"], "expected the shape of the scale"),
        ("quantize_linear(%a, %b, %c)", ["f32[N,4]", "f32[]", "i32[]"], "expected i2, u2, i4, u4, i8, u8, i16 or u16"),
        ("dequantize_linear(%a, %b, %c)", ["f32[N,4]", "f32[]", "i32[]"], "expected i2, u2, i4, u4, i8, u8, i16, u16 or i32"),
        ("dequantize_linear(%a, %b, %c) {block=2}", ["i8[N,5]", "f32[N,2]", "i8[N,2]"], r"expected f32\[N,3\], one for each 2 elements"),
        ("dequantize_linear(%a, %b, %c) {block=-1}", ["i8[N,5]", "f32[]", "i8[]"], "blocks of -1 elements"),
        ("dequantize_linear(%a, %b, %c)", ["i8[N,4]", "f32[]", "u8[]"], "i8 and u8"),
        ("resize(%a) {mode=quintic}", ["f32[N,1,2,2]"], "known are nearest, bilinear, cubic"),
        ("resize(%a) {mode=cubic, cubic_coeff_a=nan}", ["f32[N,1,2,2]"], "cubic_coeff_a is nan"),
        ("resize(%a) {scales=[1e308,1.0]}", ["f32[N,1,2,200]"], "beyond any tensor"),
        ("resize(%a) {antialias=true}", ["f32[N,1,2,2]"], "not for nearest with half_pixel"),
        ("resize(%a) {mode=bilinear, exclude_outside=true}", ["f32[N,1,2,2]"], "exclude_outside is for cubic and antialias"),
        ("resize(%a) {policy=none}", ["f32[N,1,2,2]"], "known are stretch, not_larger, not_smaller"),
        ("resize(%a) {policy=not_larger}", ["f32[N,1,2,2]"], "not_larger needs sizes in numbers"),
        ("resize(%a) {sizes=[3,4], policy=not_larger}", ["f32[N,1,H,2]"], "give them values"),
        ("resize(%a) {sizes=[1,1], policy=not_larger}", ["f32[N,1,1,9]"], r"makes \[0, 1\] of"),
        ("resize(%a) {roi=[0.0,0.0,1.0,1.0]}", ["f32[N,1,2,2]"], "half_pixel takes 0 numbers"),
        ("resize(%a) {coordinates=tf_crop_and_resize, roi=[0.0,1.0]}", ["f32[N,1,2,2]"], "takes 4 numbers"),
        ("resize(%a) {coordinates=tf_crop_and_resize, roi=[0.0,nan,1.0,1.0]}", ["f32[N,1,2,2]"], "takes 4 numbers"),
    ],
)
def test_what_does_not_fit_is_refused(body, inputs, why):
    with pytest.raises(ShapeError, match=why):
        type_of(body, *inputs)


def test_an_index_out_of_range_names_the_node():
    graph = typed_graph("graph @g(%x: f32[3,2], %i: i64[2]) { %y = gather(%x, %i) return %y }")
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert reference.run(graph, {"x": x, "i": np.array([-3, 2])})["y"].tolist() == [[0, 1], [4, 5]]
    for index in (3, -4):
        with pytest.raises(InvalidModel, match=f"%y = gather cannot be computed: index {index} is outside -3 to 2, the places of axis 0"):
            reference.run(graph, {"x": x, "i": np.array([0, index])})


def test_depth_and_space_undo_each_other():
    grown = depth_to_space(DepthToSpace(2), IMAGE)
    assert np.array_equal(space_to_depth(SpaceToDepth(2), grown), IMAGE)
    # Shi et al. 2016, eq. 4: channel c*4 + 2*(i mod 2) + (j mod 2) lies at the pixel i, j
    shuffled = depth_to_space(DepthToSpace(2, "CRD"), IMAGE)
    for c, i, j in ((0, 0, 0), (1, 3, 4), (2, 7, 11), (2, 4, 1)):
        assert np.array_equal(shuffled[:, c, i, j], IMAGE[:, c * 4 + 2 * (i % 2) + j % 2, i // 2, j // 2])
        assert np.array_equal(grown[:, c, i, j], IMAGE[:, (2 * (i % 2) + j % 2) * 3 + c, i // 2, j // 2])


def test_norms_are_each_other_at_their_ends():
    """As many groups as channels are instances; one group over all axes but the first is a layer."""
    one, zero = np.ones(12), np.zeros(12)
    assert np.allclose(group_norm(GroupNorm(12), IMAGE, one, zero), instance_norm(InstanceNorm(), IMAGE, one, zero), atol=1e-12)
    plane = np.ones(IMAGE.shape[1:])
    assert np.allclose(group_norm(GroupNorm(1), IMAGE, one, zero), layer_norm(LayerNorm(1), IMAGE, plane), atol=1e-12)


def test_normalized_values_have_mean_bias_and_deviation_scale():
    scale, bias = DRAWS.uniform(0.5, 2, 12), DRAWS.standard_normal(12)
    y = instance_norm(InstanceNorm(0.0), IMAGE + 100, scale, bias)
    assert np.allclose(y.mean(axis=(2, 3)), bias, atol=1e-9)
    assert np.allclose(y.std(axis=(2, 3)), scale, atol=1e-9)


def test_top_k_is_sorted_and_the_lower_index_comes_first():
    x = DRAWS.integers(-3, 3, (4, 50)).astype(np.int8)
    for largest in (True, False):
        values, places = (f(op(20, 1, largest), x) for f, op in ((top_k_values, TopKValues), (top_k_indices, TopKIndices)))
        for row, value, place in zip(x.tolist(), values.tolist(), places.tolist(), strict=True):
            wanted = sorted(range(50), key=lambda i, row=row: (-row[i] if largest else row[i], i))[:20]
            assert place == wanted
            assert value == [row[i] for i in wanted]


def test_the_last_of_equals_and_the_least_number():
    x = np.array([[-128, 5, 5, -128, 2]], np.int8)
    places = [arg_max(ArgMax(1, False, last), x)[0] for last in (False, True)] + [
        arg_min(ArgMin(1, False, last), x)[0] for last in (False, True)
    ]
    assert places == [1, 2, 0, 3]


def test_whole_sums_wrap_in_their_own_type():
    x = np.full((3,), 2**30, np.int32)
    assert reduce_sum(ReduceSum(), x).dtype == np.int32
    assert reduce_sum(ReduceSum(), x).tolist() == [3 * 2**30 - 2**32]


def test_quantization_rounds_half_to_even_and_saturates():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, np.inf, -np.inf])
    assert quantize_linear(QuantizeLinear(), x, np.array(1.0), np.array(1, np.int8)).tolist() == [1, 3, 3, 1, -1, 127, -128, 127, -128]
    assert quantize_linear(QuantizeLinear(), x, np.array(1.0), np.array(1, np.uint8)).tolist() == [1, 3, 3, 1, 0, 255, 0, 255, 0]
    sums = np.array([2**31 - 1, -(2**31)], np.int32)
    assert dequantize_linear(DequantizeLinear(0), sums, np.array(2.0), np.array(-1, np.int32)).tolist() == [2.0**32, -(2.0**32) + 2]


@pytest.mark.parametrize("a", [-0.75, -0.5])
def test_a_cubic_keeps_lines_inside_and_constants_everywhere(a):
    """Keys 1981: every a reproduces a constant, a = -1/2 a parabola too."""
    line = np.arange(9.0)[None, None, :, None] * np.ones((1, 1, 1, 9))
    at = (np.arange(18) + 0.5) / 2 - 0.5
    op = Resize((2.0, 1.0), "cubic", cubic_coeff_a=a)
    assert np.allclose(resize(op, np.ones((1, 1, 9, 9))), 1)
    assert np.allclose(resize(op, line)[0, 0, 4:-4, 0], at[4:-4]) == (a == -0.5)
    assert np.allclose(resize(op, line**2)[0, 0, 4:-4, 0], at[4:-4] ** 2) == (a == -0.5)


def test_a_filter_that_shrinks_sees_every_pixel_and_keeps_constants_and_means():
    for op in (Resize((0.25,), "bilinear", antialias=True), Resize((0.25,), "cubic", antialias=True, exclude_outside=True)):
        assert np.allclose(resize(op, np.ones((1, 1, 40))), 1)
        seen = np.stack([resize(op, pixel[None, None])[0, 0] for pixel in np.eye(40)])
        assert (abs(seen).sum(axis=1) > 0).all()
        assert not (abs(resize(Resize((0.125,), op.mode), np.eye(40)[:, None])).sum(axis=(1, 2)) > 0).all()
    ramp = np.arange(40.0)[None, None]
    assert np.allclose(resize(Resize((0.25,), "bilinear", antialias=True), ramp)[0, 0, 1:-1], np.arange(1, 9) * 4 + 1.5)


def test_a_tiny_scale_takes_no_more_than_the_image_has():
    """A filter is as long as the image, however small the scale: one that leaves nothing is not built."""
    x = np.ones((1, 1, 50))
    assert resize(Resize((1e-300,), "cubic", antialias=True), x).shape == (1, 1, 0)
    assert np.allclose(resize(Resize((0.02,), "cubic", antialias=True), x), 1)


def test_a_filter_as_long_as_a_great_image_takes_a_block_of_memory():
    """It sees a million pixels for one result: as lists of places and weights they were a hundred times the image."""
    x = np.arange(1e6, dtype=np.float64)[None, None]
    tracemalloc.start()
    for op in (Resize(sizes=(1,), mode="bilinear", antialias=True), Resize(sizes=(2,), mode="cubic", antialias=True)):
        assert np.allclose(resize(op, x).mean(), 499999.5)
        assert (resize_magnitude(op, x) >= resize(op, x)).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_the_ratio_is_kept():
    assert type_of("resize(%a) {sizes=[9,8], policy=not_larger}", "f32[N,1,6,7]") == "f32[N,1,7,8]"
    assert type_of("resize(%a) {sizes=[9,8], policy=not_smaller}", "f32[N,1,6,7]") == "f32[N,1,9,11]"
    type_ = TensorType("f32", (1, 1, 10, 41))
    assert RESIZE.facts.identity(Resize(sizes=(10, 41), policy="not_larger"), (type_,), type_)
    assert not RESIZE.facts.identity(Resize(sizes=(10, 42), policy="not_smaller"), (type_,), type_)  # by 42/41 it is 10.2 rows


def test_named_sizes_reach_expand():
    graph = typed_graph("graph @g(%x: f32[N,1,H]) { %y = expand(%x) {shape=[N,2,H]} %t = tile(%x) {repeats=[1,3,1]} return %y, %t }")
    assert "shape=[N,2,H]" in print_graph(graph)
    got = reference.run(graph, {"x": np.ones((3, 1, 5), np.float32)})
    assert {name: value.shape for name, value in got.items()} == {"y": (3, 2, 5), "t": (3, 3, 5)}


def test_a_network_of_these_layers():
    @cc.network(image="N,3,8,8")
    def small(image):
        x = cc.group_norm(cc.conv(image, 8, 3, pad="same"), groups=4)
        x = cc.pixel_shuffle(cc.instance_norm(x), 2)
        x = cc.space_to_depth(cc.depth_to_space(cc.space_to_depth(x, 4), 2), 2)
        x = cc.layer_norm(cc.flatten(cc.reduce_max(cc.reduce_sum(x, 2), 3)), name="last")
        return cc.arg_max(x)

    graph = small()
    assert str(graph.outputs[0].typed) == "i64[N]"
    assert {"gn1.scale", "in1.bias", "last.scale"} <= {node.name for node in graph.params}

    @cc.network(image="N,3")
    def wrong(image):
        return cc.layer_norm(image, axis=3)

    with pytest.raises(ShapeError, match=r"test_structure_ops.py:\d+: axis 3 is outside the 2 axes"):
        wrong()
