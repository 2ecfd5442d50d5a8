"""Convolutions whose taps are moved: against their definition, and in files."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.write.export import to_model
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.engines.table import ENGINES
from convc.ir.errors import ShapeError, UnsupportedOp
from convc.ir.ops.conv import Conv2d, conv
from convc.ir.ops.deform import DeformConv2d, deform_conv
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.onnx_files import hold_onnxruntime, model_of, written


def pixel(image, row, col):
    """Dai et al. 2017, eq. 3 and 4, over the pixels that there are."""
    total = 0.0
    for i, j in itertools.product(range(image.shape[0]), range(image.shape[1])):
        total += max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(col - j)) * image[i, j]
    return total


def test_it_follows_its_definition():
    draw = np.random.default_rng(0)
    op = DeformConv2d((2, 1), (1, 0, 1, 2), (1, 2), groups=2, offset_groups=2, given=("bias", "mask"))
    x, w, bias = draw.standard_normal((2, 4, 5, 4)), draw.standard_normal((2, 2, 2, 2)), draw.standard_normal(2)
    offset, mask = draw.normal(0, 3, (2, 16, 3, 4)), draw.random((2, 8, 3, 4))
    got = deform_conv(op, x, w, offset, bias, mask)
    assert got.shape == (2, 2, 3, 4)
    for n, o, i, j in itertools.product(range(2), range(2), range(3), range(4)):
        total = bias[o]
        for c, k, m in itertools.product(range(2), range(2), range(2)):
            number = o * 4 + 2 * k + m  # here groups and offset groups part the channels alike
            row, col = i * 2 - 1 + k + offset[n, 2 * number, i, j], j + 2 * m + offset[n, 2 * number + 1, i, j]
            total += w[o, c, k, m] * mask[n, number, i, j] * pixel(x[n, 2 * o + c], row, col)
        assert got[n, o, i, j] == pytest.approx(total)


def test_without_offsets_it_is_a_convolution():
    draw = np.random.default_rng(1)
    x, w = draw.standard_normal((2, 6, 7, 5)), draw.standard_normal((4, 3, 3, 2))
    window = ((2, 1), (1, 1, 0, 1), (1, 2), 2)
    wanted = conv(Conv2d(*window), x, w)
    got = deform_conv(DeformConv2d(*window, offset_groups=3), x, w, np.zeros((2, 36, *wanted.shape[2:])))
    np.testing.assert_allclose(got, wanted, atol=1e-12)


@pytest.mark.parametrize("far", [np.inf, -np.inf, np.nan, 1e30, -1e30])
def test_a_place_that_is_nowhere_reads_nothing(far):
    graph = typed_graph(
        "graph @g(%x: f32[1,1,3,3], %o: f32[1,2,3,3]) { %w = param {init=ones} : f32[1,1,1,1] %y = deform_conv2d(%x, %w, %o) return %y }"
    )
    offset = np.zeros((1, 2, 3, 3), np.float32)
    offset[0, :, 1, 1] = far
    inputs = {"x": np.ones((1, 1, 3, 3), np.float32), "o": offset}
    for engine in ("reference", "tvm"):
        (y,) = ENGINES[engine].start(graph, None)(inputs).values()
        assert y.sum() == 8


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("deform_conv2d(%x, %w, %o) {pads=[1,1,1,1]}", r"offset is f32\[N,18,3,4\], expected f32\[N,18,5,6\]: 2 for each tap"),
        ("deform_conv2d(%x, %w, %o, %m) {given=[mask]}", r"mask is f32\[N,8,3,4\], expected f32\[N,9,3,4\]: 1 for each tap"),
        ("deform_conv2d(%x, %w, %o) {offset_groups=3}", "4 channels do not divide into 3 offset groups"),
        ("deform_conv2d(%x, %w, %o) {offset_groups=0}", "do not divide into 0 offset groups"),
        ("deform_conv2d(%x, %w, %o, %m, %b) {given=[mask,bias]}", "known are bias, mask, in this order"),
        ("deform_conv2d(%x, %w, %o, %b)", "for 1 operands more"),
        ("deform_conv2d(%x, %w, %d)", "operands have element types f32 and f64"),
        ("deform_conv2d(%x, %b, %o)", "weight is"),
    ],
)
def test_refusals(text, why):
    inputs = "%x: f32[N,4,5,6], %o: f32[N,18,3,4], %m: f32[N,8,3,4], %d: f64[N,18,3,4]"
    with pytest.raises(ShapeError, match=why):
        typed_graph(f"graph @g({inputs}) {{ %w = param : f32[3,4,3,3] %b = param : f32[3] %y = {text} return %y }}")


@pytest.mark.parametrize("given", [(), ("b",), ("", "m"), ("b", "m")])
@pytest.mark.parametrize("opset", [19, 22])
def test_a_file_comes_back_as_it_was(given, opset, tmp_path: Path):
    draw, attributes = (
        np.random.default_rng(2),
        {"strides": [1, 2], "pads": [1, 1, 1, 0], "dilations": [2, 1], "offset_group": 2, "group": 2},
    )
    constants = {"w": draw.standard_normal((6, 2, 2, 2)).astype(np.float32)} | {
        name: draw.standard_normal(6).astype(np.float32) for name in given if name == "b"
    }
    inputs = {"x": ["N", 4, 5, 6], "o": ["N", 16, 5, 3]} | {name: ["N", 8, 5, 3] for name in given if name == "m"}
    node = helper.make_node("DeformConv", ["x", "w", "o", *given], ["y"], kernel_shape=[2, 2], **attributes)
    model = model_of([node], inputs, ["y"], constants, opset)
    graph = read_graph(written(tmp_path, model)).graph
    assert [one.kind.name for one in graph.ops] == ["deform_conv2d"]
    values = normal_inputs(graph, N=2)
    hold_onnxruntime(graph, to_model(graph, opset), values)
    (wanted,) = ReferenceEvaluator(model).run(None, values)
    np.testing.assert_allclose(reference.run(graph, values)["y"], wanted, rtol=1e-4, atol=1e-5)
    (again,) = to_model(graph, opset).graph.node
    said = {attribute.name: helper.get_attribute_value(attribute) for attribute in again.attribute}
    assert said == attributes | {"kernel_shape": [2, 2]}


@pytest.mark.parametrize("engine", ["onnx", "tvm"])
def test_engines_stay_within_the_bound(engine):
    graph = typed_graph("""graph @g(%x: f32[2,8,17,19], %o: f32[2,18,17,19], %m: f32[2,9,17,19]) {
        %w = param : f32[8,8,3,3] %y = deform_conv2d(%x, %w, %o, %m) {pads=[1,1,1,1], given=[mask]} return %y }""")
    check = check_nodes(graph, ENGINES[engine], normal_inputs(graph))
    assert check.agrees, str(check)


def test_an_image_of_no_pixels_is_all_padding():
    """No index may be held inside where there is no inside. TVM's kernel would read there, so it is refused."""
    graph = typed_graph("""graph @g(%x: f32[1,2,0,3], %o: f32[1,2,2,5]) {
        %w = param {init=ones} : f32[1,2,1,1] %b = param {init=ones} : f32[1]
        %y = deform_conv2d(%x, %w, %o, %b) {pads=[1,1,1,1], given=[bias]} return %y }""")
    inputs = {"x": np.zeros((1, 2, 0, 3), np.float32), "o": np.full((1, 2, 2, 5), 0.25, np.float32)}
    (y,) = ENGINES["reference"].start(graph, None)(inputs).values()
    np.testing.assert_array_equal(y, np.ones((1, 1, 2, 5)))
    with pytest.raises(UnsupportedOp, match=r"%y = deform_conv2d reads f32\[1,2,0,3\] of no elements, which TVM cannot"):
        ENGINES["tvm"].start(graph, None)
