"""The way back of slices with steps: zeros between elements are no pad of the innermost axis, which onnxruntime does one by one."""

from __future__ import annotations

import pytest

from convc.backends.onnx.write.export import to_model
from convc.ir.gradient import gradients
from convc.ir.graph import Graph
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.onnx_files import hold_onnxruntime


def way_back(text: str) -> Graph:
    """Of the sum of the result, times itself, by x."""
    graph = typed_graph(f"graph @g({text} %q = mul(%y, %y) %s = reduce_sum(%q) {{keepdims=false}} return %s }}")
    found = gradients(graph, graph.by_name["s"], [graph.by_name["x"]])
    return Graph.of("g", graph.inputs, [found.of[graph.by_name["x"]]], [*graph.nodes, *found.made])


@pytest.mark.parametrize(
    ("text", "transposed", "pads"),
    [
        ("%x: f32[N,3,8,6]) { %y = slice(%x) {starts=[0,0], ends=[8,6], axes=[2,3], steps=[2,2]}", 1, 1),
        ("%x: f32[N,3,8,7]) { %y = slice(%x) {starts=[1,0], ends=[8,7], axes=[2,3], steps=[2,3]}", 1, 2),
        ("%x: f32[2,9]) { %y = slice(%x) {starts=[0], ends=[9], axes=[1], steps=[3]}", 1, 0),
        ("%x: f32[N,9]) { %y = slice(%x) {starts=[0], ends=[9], axes=[1], steps=[3]}", 0, 1),  # rows have no number
        ("%x: f64[2,9]) { %y = slice(%x) {starts=[0], ends=[9], axes=[1], steps=[3]}", 0, 1),
    ],
)
def test_elements_are_spread_apart(text, transposed, pads):
    graph = way_back(text)
    model = to_model(graph)
    types = [node.op_type for node in model.graph.node]
    assert (types.count("ConvTranspose"), types.count("Pad")) == (transposed, pads)
    hold_onnxruntime(graph, model, normal_inputs(graph, N=2))


def test_the_last_axis_is_spread_first():
    """So that rows of zeros are not spread apart once more."""
    graph = way_back("%x: f32[2,3,8,6]) { %y = slice(%x) {starts=[0,0], ends=[8,6], axes=[2,3], steps=[2,2]}")
    assert [node.typed.shape for node in graph.nodes if node.kind.name == "pad"] == [(2, 3, 4, 3, 2), (2, 3, 4, 2, 6)]


def test_a_pad_that_is_no_way_back_stays():
    graph = typed_graph('graph @g(%x: f32[2,3,1]) { %y = pad(%x) {pads=[0,0,0,0,0,1], mode="constant"} return %y }')
    assert [node.op_type for node in to_model(graph).graph.node] == ["Pad"]
