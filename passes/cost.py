"""Cost of a graph: per node and in total, shared parameters once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir.dims import evaluate
from ..ir.graph import Graph, Node
from ..ir.op import Cost

__all__ = ["GraphCost", "graph_cost", "node_cost"]


@dataclass(frozen=True, slots=True)
class GraphCost:
    """Totals. Units: `params` and `activations` elements (results of ops, inputs included), `weight_bytes` bytes."""

    macs: int
    flops: int
    params: int
    weight_bytes: int
    activations: int
    bytes_moved: int


def node_cost(node: Node, sizes: Mapping[str, int]) -> Cost:
    """The cost of computing one node with these named sizes."""
    cost = node.kind.cost(node.op, tuple(operand.typed for operand in node.inputs), node.typed)
    return Cost(*(evaluate(getattr(cost, field), sizes) for field in ("macs", "flops", "bytes_read", "bytes_written")))


def graph_cost(graph: Graph, sizes: Mapping[str, int] | None = None) -> GraphCost:
    """Totals of a typed graph; a named size without a number counts as 1."""
    numbers = {**dict.fromkeys(graph.symbols, 1), **(sizes or {})}
    costs = [node_cost(node, numbers) for node in graph.ops]
    produced = [*graph.inputs, *graph.ops]
    return GraphCost(
        macs=sum(_int(cost.macs) for cost in costs),
        flops=sum(_int(cost.flops) for cost in costs),
        params=sum(_int(node.typed.numel) for node in graph.params),
        weight_bytes=sum(_int(node.typed.nbytes) for node in graph.params),
        activations=sum(_int(evaluate(node.typed.numel, numbers)) for node in produced),
        bytes_moved=sum(_int(cost.bytes_read) + _int(cost.bytes_written) for cost in costs),
    )


def _int(dim: object) -> int:
    assert isinstance(dim, int)  # every named size has a number by now
    return dim
