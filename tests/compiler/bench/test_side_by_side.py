"""Rows of several engines for the same nodes."""

from __future__ import annotations

from convc.compiler.bench.layer_times import LayerTime
from convc.compiler.bench.side_by_side import SameNodes, same_nodes


def layer(kernel: str, nodes: str, microseconds: float, moves: bool = False) -> LayerTime:
    return LayerTime(kernel, nodes.split(), microseconds, 0.1, 0, 0, 0.0, 0, 0.0, False, moves)


def test_kernels_that_overlap_are_one_row():
    first = [layer("pack", "x", 1, True), layer("direct", "a b", 10), layer("direct", "c d", 20), layer("softmax", "e", 3)]
    second = [
        layer("Conv", "a", 4),
        layer("Conv", "b c", 5),
        layer("Reorder", "c", 1, True),
        layer("Relu", "d", 6),
        layer("Reorder", "", 2, True),
        layer("Softmax", "e", 7),
    ]
    assert same_nodes({"one": first, "two": second}) == [
        SameNodes(["a", "b", "c", "d"], {"one": ["direct", "direct"], "two": ["Conv", "Conv", "Relu"]}, {"one": 30, "two": 15}),
        SameNodes(["e"], {"one": ["softmax"], "two": ["Softmax"]}, {"one": 3, "two": 7}),
        SameNodes([], {"one": ["pack"]}, {"one": 1}),
        SameNodes([], {"two": ["Reorder", "Reorder"]}, {"two": 3}),
    ]


def test_what_one_engine_has_alone_is_a_row_too():
    assert same_nodes({"one": [layer("direct", "a", 1)], "two": [layer("Conv", "b", 2)]}) == [
        SameNodes(["a"], {"one": ["direct"]}, {"one": 1}),
        SameNodes(["b"], {"two": ["Conv"]}, {"two": 2}),
    ]


def test_two_kernels_of_one_node_are_one_row():
    row = SameNodes(["swish"], {"one": ["HardSigmoid", "Mul"]}, {"one": 3})
    assert same_nodes({"one": [layer("HardSigmoid", "swish", 1), layer("Mul", "swish", 2)]}) == [row]
