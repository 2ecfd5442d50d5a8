"""onnxruntime's own times, by the nodes that each operator computes."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest

from convc.backends.onnx.kernel_times import operator_times
from convc.backends.onnx.write.export import to_model
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.optimize import optimize
from convc.compiler.files.inputs import random_inputs
from convc.ir.binding import specialize
from convc.ir.errors import UsageError
from convc.ir.ops.leaf import PARAM
from convc.ir.parser import parse_graph
from convc.models import ZOO
from convc.passes.analysis.cost import graph_cost

CONVS = """graph @g(%x: f32[1,16,14,14]) {
  %w = param : f32[16,16,3,3]
  %v = param : f32[16,16,3,3]
"""


def times(text: str, runs: int = 2):
    graph, _ = optimize(parse_graph(text), 0)
    return graph, operator_times(graph, to_model(graph), 1, random_inputs(graph), runs)


def computed(text: str) -> list[tuple[str, str]]:
    """Operator and nodes of what computes."""
    _, found = times(text)
    return [(time.part.op, " ".join(node.name for node in time.part.nodes)) for time in found if not time.part.moves]


def moved(text: str) -> list[tuple[str, str]]:
    _, found = times(text)
    return [(time.part.op, " ".join(node.name for node in time.part.nodes)) for time in found if time.part.moves]


def test_an_activation_is_in_its_convolution():
    text = CONVS + "  %a = conv2d(%x, %w) {pads=[1,1,1,1]}\n  %r = relu(%a)\n  %b = conv2d(%r, %v)\n  return %b\n}"
    assert computed(text) == [("Conv (nchwc)", "a r"), ("Conv (nchwc)", "b")]
    assert moved(text) == [("ReorderInput", "x"), ("ReorderOutput", "b")]


def test_a_sum_is_in_the_last_convolution_that_it_needs():
    text = (
        CONVS
        + """  %a = conv2d(%x, %w) {pads=[1,1,1,1]}
  %r = relu(%a)
  %b = conv2d(%r, %v) {pads=[1,1,1,1]}
  %s = add(%b, %r)
  %t = relu(%s)
  %c = conv2d(%t, %w)
  return %c
}"""
    )
    assert computed(text) == [("Conv (nchwc)", "a r"), ("Conv (nchwc)", "b s t"), ("Conv (nchwc)", "c")]


def test_a_product_between_reshapes_of_onnxruntime():
    """A matrix product of three axes and a bias is a Gemm there, whose own name says nothing, between views of what it reads and writes."""
    text = """graph @g(%x: f32[1,4,8]) {
  %w = param : f32[8,6]
  %b = param : f32[6]
  %n = relu(%x)
  %p = matmul(%n, %w)
  %y = add(%p, %b)
  %z = softmax(%y) {axis=2}
  return %z
}"""
    assert computed(text) == [("Relu", "n"), ("Gemm", "p y"), ("Softmax", "z")]
    assert moved(text) == [("Reshape", "n"), ("Reshape", "y")]


def test_a_function_that_is_expanded_is_one_node_in_several_operators():
    graph, found = times("graph @g(%x: f32[1,64]) {\n  %a = relu(%x)\n  %y = hard_swish(%a)\n  return %y\n}")
    assert [(time.part.op, [node.name for node in time.part.nodes]) for time in found] == [
        ("Relu", ["a"]),
        ("HardSigmoid", ["y"]),
        ("Mul", ["y"]),
    ]
    assert sum(time.macs for time in found) == graph_cost(graph).macs


def test_products_of_8_bits_count_a_fourth():
    _, found = times("graph @g(%x: i8[16,32], %w: i8[32,8]) {\n  %y = matmul_integer(%x, %w)\n  return %y\n}")
    assert [(time.part.op, time.macs, time.products) for time in found] == [("MatMulInteger", 4096, 1024)]


@pytest.mark.parametrize("network", ["mobilenet_v3_small", "shufflenet_v2"])
def test_every_node_has_a_time_and_multiply_adds_are_told_once(network: str):
    entry = ZOO[network].network
    graph, _ = optimize(specialize(entry(image="N,3,64,64"), {"N": 1}), 2, prices=ONNXRUNTIME.prices)
    found = operator_times(graph, to_model(graph), 1, random_inputs(graph), 1)
    nodes = {node for time in found if not time.part.moves for node in time.part.nodes}
    assert nodes == set(graph.ops)
    assert sum(time.macs for time in found) == graph_cost(graph).macs
    assert all(time.microseconds >= 0 and time.bytes > 0 for time in found)
    assert not any(node.kind is PARAM for time in found for node in time.part.nodes)


def test_a_network_of_nothing_but_views():
    assert computed("graph @g(%x: f32[1,4]) {\n  %y = identity(%x)\n  return %y\n}") == [("Identity", "y")]


def test_a_folder_without_room_for_the_weights_is_told_before_they_are_written(monkeypatch: pytest.MonkeyPatch):
    """onnxruntime writes the model that it made, whole, and would die of a full disk."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 30, 1 << 30, 1 << 20))
    with pytest.raises(UsageError, match=r"^cannot write temporary files.*: No space left on device; set TMPDIR to a folder with room"):
        times(CONVS + "  %a = conv2d(%x, %w)\n  return %a\n}")
