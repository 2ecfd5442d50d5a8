"""Random networks with a loss: their gradients are a graph like any other, which every pass of -O3 leaves as it is."""

from __future__ import annotations

import pytest

from convc.compiler.checking.pass_check import PassCheck
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.errors import InvalidModel, UnsupportedOp
from convc.ir.graph import Graph
from convc.ir.ops.activation import TANH, Tanh
from convc.ir.ops.reduce import REDUCE_MEAN, ReduceMean
from convc.ir.verifier import verify_graph
from convc.passes.differentiate import with_gradients
from convc.passes.manager import run_passes
from convc.passes.pipelines import LEVELS
from convc.tests.fuzz.random_networks import random_network
from convc.tests.support.graphs import made

SAID = ("has no gradient", "does not change with", "only for sizes in numbers")


def with_loss(graph: Graph) -> Graph | None:
    """The mean of a bent floating output; None where there is none."""
    output = next((node for node in graph.outputs if node.typed.dtype == "f32"), None)
    if output is None:
        return None
    bent = made("bent", TANH, Tanh(), output)
    return Graph.of(graph.name, graph.inputs, [made("the_loss", REDUCE_MEAN, ReduceMean((), keepdims=False), bent)], graph.nodes)


def differentiated(seed: int) -> Graph | None:
    """By a few parameters and inputs that the loss depends on; None where nothing is left that it does."""
    graph = with_loss(random_network(seed))
    if graph is None:
        return None
    below = set(Graph.of(graph.name, (), graph.outputs).nodes)
    known = [node.name for node in graph.nodes if not node.inputs and node.typed.is_float and node in below]
    for name in known[-3:]:
        try:
            graph = with_gradients(graph, "the_loss", [name])
        except (UnsupportedOp, InvalidModel) as refusal:
            if not any(words in str(refusal) for words in SAID):
                raise
    return graph if len(graph.outputs) > 1 else None


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_gradients_survive_every_pass(first):
    tried = 0
    for seed in range(first, first + 20):
        graph = differentiated(seed)
        if graph is None:
            continue
        tried += 1
        verify_graph(graph)
        _, trace = run_passes(graph, LEVELS[3], ONNXRUNTIME.prices, check=PassCheck(graph))
        assert [(stage.name, stage.problem) for stage in trace if stage.problem] == [], f"seed {seed}"
    assert tried > 10
