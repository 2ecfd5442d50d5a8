"""Export of functions and gates at every opset: named where ONNX has the name, written out below; the same values either way."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.onnx.write.export import newest_opset, to_model
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.onnx_files import hold_onnxruntime


@pytest.mark.parametrize(
    ("text", "opset", "wanted"),
    [
        ("gelu(%x)", 20, ["Gelu"]),
        ("gelu(%x)", 19, ["Div", "Erf", "Add", "Mul", "Mul"]),
        ("gelu(%x) {approximate=tanh}", 20, ["Gelu"]),
        ("gelu(%x) {approximate=tanh}", 19, ["Mul", "Mul", "Mul", "Add", "Mul", "Tanh", "Add", "Mul", "Mul"]),
        ("mish(%x)", 18, ["Mish"]),
        ("mish(%x)", 17, ["Softplus", "Tanh", "Mul"]),
        ("hard_swish(%x)", 14, ["HardSwish"]),
        ("hard_swish(%x)", 13, ["HardSigmoid", "Mul"]),
    ],
)
def test_a_gate_is_named_where_the_opset_has_it(text, opset, wanted):
    graph = typed_graph(f"graph @g(%x: f32[N,40]) {{ %y = {text} return %y }}")
    model = to_model(graph, opset)
    assert [node.op_type for node in model.graph.node] == wanted
    for made in {opset, newest_opset()}:
        inputs = normal_inputs(graph, N=3)
        inputs["x"] = inputs["x"] * np.float32(3)
        hold_onnxruntime(graph, to_model(graph, made), inputs)


@pytest.mark.parametrize("text", ["gelu(%x) {approximate=tanh}", "hard_swish(%x)"])
def test_float64_is_written_out_since_onnx_has_the_constants_in_float32(text):
    graph = typed_graph(f"graph @g(%x: f64[N,40]) {{ %y = {text} return %y }}")
    model = to_model(graph)
    assert len(model.graph.node) > 1
    inputs = normal_inputs(graph, N=3)
    hold_onnxruntime(graph, model, inputs)
