"""Which networks keep the images of a batch apart: what is said is held to runs in which the other image changes."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.ir.apart import ALONG, joining_node, the_batch
from convc.ir.graph import Graph
from convc.models import ZOO
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.op_cases import CASES, text_of
from convc.tests.support.tiers import small


def _joins(graph: Graph) -> bool:
    """Whether the first image's result changes with the second, or there is none for each."""
    batch = the_batch(graph)
    assert batch is not None
    one, other = normal_inputs(graph, 0, **{batch: 2}), normal_inputs(graph, 1, **{batch: 2})
    mixed = {node.name: one[node.name] for node in graph.inputs}
    for node in graph.inputs:
        if batch in node.typed.symbols:
            mixed[node.name] = np.concatenate([one[node.name][:1], other[node.name][1:]])
    results = [reference.run(graph, inputs, "f64") for inputs in (one, mixed)]
    pairs = [tuple(result[node.name] for result in results) for node in graph.outputs]
    return any(a.ndim == 0 or len(a) != 2 or not np.allclose(a[:1], b[:1], rtol=1e-12, equal_nan=True) for a, b in pairs)


WITH_WEIGHT = "graph @g(%x: f32[N,4]) { %w = param : f32[4,3] %y = matmul(%x, %w) return %y }"
NAMED = [name for name in CASES if the_batch(typed_graph(text_of(name)))]


def _each(name: str) -> list[Graph]:
    """A graph for each result of a case, with what it needs."""
    graph = typed_graph(text_of(name))
    return [Graph.of(graph.name, graph.inputs, (node,)) for node in graph.outputs]


@pytest.mark.parametrize("name", NAMED)
def test_no_op_joins_images_that_are_said_to_be_apart(name: str) -> None:
    for graph in _each(name):
        if joining_node(graph, "N") is None:
            assert not _joins(graph), graph.outputs


def test_every_op_of_the_table_keeps_images_apart_somewhere() -> None:
    graphs = [typed_graph(WITH_WEIGHT), *(graph for name in NAMED for graph in _each(name))]
    assert not _joins(graphs[0])
    assert {node.kind for graph in graphs if joining_node(graph, "N") is None for node in graph.ops} >= ALONG.keys()


@pytest.mark.parametrize(
    "line",
    [
        "%y = softmax(%x) {axis=0}",
        "%y = reduce_mean(%x) {axes=[0]}",
        "%y = transpose(%x) {perm=[1,0]}",
        "%y = pad(%x) {pads=[1,0,0,0]}",
        "%y = concat(%x, %x) {axis=0}",
        "%y = cum_sum(%x) {axis=0}",
        "%t = transpose(%x) {perm=[1,0]} %y = matmul(%x, %t)",
        "%w = param : f32[3,4,2] %y = matmul(%x, %w)",
        "%m = reduce_max(%x) {axes=[0], keepdims=true} %y = sub(%x, %m)",
    ],
)
def test_what_joins_is_told(line: str) -> None:
    graph = typed_graph(f"graph @g(%x: f32[N,4]) {{ {line} return %y }}")
    assert joining_node(graph, "N") is not None


@pytest.mark.parametrize(
    "line",
    [
        "%w = param : f32[5,4] %t = transpose(%w) {perm=[1,0]} %y = matmul(%x, %t)",
        "%t = transpose(%x) {perm=[0,2,1]} %y = matmul(%x, %t)",
        "%w = param : f32[1,1,4] %e = expand(%w) {shape=[N,1,1]} %y = concat(%e, %x)",
    ],
)
def test_weights_that_are_turned_or_spread_and_matrices_of_each_image_join_none(line: str) -> None:
    graph = typed_graph(f"graph @g(%x: f32[N,3,4]) {{ {line} return %y }}")
    assert joining_node(graph, "N") is None
    assert not _joins(graph)


@pytest.mark.parametrize("name", ZOO)
def test_networks_of_the_zoo_keep_images_apart(name: str) -> None:
    graph = small(name)
    batch = the_batch(graph)
    assert batch is None or joining_node(graph, batch) is None
