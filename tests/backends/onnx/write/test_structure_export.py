"""What export decides for the ops on structure: shared TopK nodes, forms before an opset, refusals."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from convc.backends.onnx.write.export import to_model
from convc.ir.errors import UnsupportedOp
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.onnx_files import hold_onnxruntime


def types_of(model):
    return [node.op_type for node in model.graph.node]


def test_values_and_indices_of_one_top_k_are_one_node():
    graph = typed_graph("""graph @g(%x: f32[N,9]) {
        %v = top_k_values(%x) {k=3}
        %r = relu(%x)
        %i = top_k_indices(%x) {k=3}
        %other = top_k_indices(%x) {k=3, largest=false}
        %again = top_k_values(%x) {k=3}
        return %r, %i, %v, %other, %again }""")
    model = to_model(graph)
    onnx.checker.check_model(model, full_check=True)
    assert types_of(model).count("TopK") == 3
    assert [list(node.output) for node in model.graph.node if node.op_type == "TopK"] == [
        ["v", "i"],
        ["other.values", "other"],
        ["again", "again.indices"],
    ]
    inputs = normal_inputs(graph, N=2)
    hold_onnxruntime(graph, model, inputs)


def test_the_indices_may_come_first():
    graph = typed_graph("graph @g(%x: f32[9]) { %i = top_k_indices(%x) {k=3} %v = top_k_values(%x) {k=3} return %v, %i }")
    model = to_model(graph)
    assert [list(node.output) for node in model.graph.node] == [["v", "i"]]
    inputs = normal_inputs(graph)
    hold_onnxruntime(graph, model, inputs)


@pytest.mark.parametrize(
    ("text", "opset", "wanted"),
    [
        ("%y = layer_norm(%x, %w)", 17, ["LayerNormalization"]),
        ("%y = layer_norm(%x, %w)", 16, ["ReduceMean", "Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Mul"]),
        ("%y = group_norm(%x, %w, %w) {groups=2}", 21, ["GroupNormalization"]),
        ("%y = expand(%x) {shape=[N,4,1]}", 13, ["Expand"]),
    ],
)
def test_a_named_form_where_the_opset_has_it(text, opset, wanted):
    graph = typed_graph(f"graph @g(%x: f32[N,4,4]) {{ %w = param : f32[4] {text} return %y }}")
    assert types_of(to_model(graph, opset)) == wanted


@pytest.mark.parametrize(
    ("text", "opset", "why"),
    [
        (
            "(%x: i8[N]) { %s = param : f64[] %z = param {init=ones} : i8[] %y = dequantize_linear(%x, %s, %z) return %y }",
            21,
            "no scale of f64",
        ),
        (
            "(%x: i8[N]) { %s = param : f16[] %z = param {init=ones} : i8[] %y = dequantize_linear(%x, %s, %z) return %y }",
            18,
            "f16 at opset 18",
        ),
        (
            "(%x: f64[N]) { %s = param : f64[] %z = param {init=ones} : i8[] %y = quantize_linear(%x, %s, %z) return %y }",
            None,
            "has no f64",
        ),
        ("(%x: i8[N]) { %y = reduce_sum(%x) return %y }", None, "has no i8"),
        (
            "(%x: f32[N,1,5,5]) { %y = resize(%x) {scales=[0.7,1.0], coordinates=half_pixel_symmetric} return %y }",
            18,
            "needs ONNX opset 19",
        ),
        ("(%x: f32[N,1,5,5]) { %y = resize(%x) {scales=[0.7,1.0], mode=cubic, antialias=true} return %y }", 17, "needs ONNX opset 18"),
        ("(%x: f32[N,1,5,5]) { %y = resize(%x) {sizes=[3,9], policy=not_larger} return %y }", 17, "needs ONNX opset 18"),
    ],
)
def test_what_onnx_cannot_say_is_refused(text, opset, why):
    with pytest.raises(UnsupportedOp, match=f"%y = .*{why}"):
        to_model(typed_graph(f"graph @g{text}"), opset)


def test_half_precision_runs_in_onnxruntime():
    """Whole steps: onnxruntime before 1.24 does not round those of float16 to the nearest."""
    graph = typed_graph("""graph @g(%x: f16[N,4]) {
        %s = param {init=full, value=0.5} : f16[] %z = param {init=ones} : u8[]
        %q = quantize_linear(%x, %s, %z) %y = dequantize_linear(%q, %s, %z) return %y }""")
    inputs = {"x": np.array([[0.0, 0.5, 1.5, -3.0]], np.float16)}
    hold_onnxruntime(graph, to_model(graph, 22), inputs)


@pytest.mark.parametrize("kind", ["reduce_mean", "reduce_sum", "reduce_max", "reduce_min", "reduce_prod"])
@pytest.mark.parametrize("opset", [7, 13, 18])
def test_a_scalar_has_no_axes_to_write(kind: str, opset: int):
    graph = typed_graph(f"graph @g(%x: f32[]) {{ %y = {kind}(%x) return %y }}")
    inputs = normal_inputs(graph)
    hold_onnxruntime(graph, to_model(graph, opset), inputs)


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
def test_a_norm_that_onnx_defines_with_float32_alone(dtype, opset):
    """The checker takes the function's word: a constant of float32 beside another type is refused."""
    graph = typed_graph(f"graph @g(%x: {dtype}[2,3,4,5]) {{ %y = mean_variance_norm(%x) return %y }}")
    model = to_model(graph, opset)
    onnx.checker.check_model(model, full_check=True)
    if dtype != "bf16":  # for which onnxruntime has no input
        hold_onnxruntime(graph, model, normal_inputs(graph))
