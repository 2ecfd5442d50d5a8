"""Cost of a graph: per node and in total, for any batch; shared parameters once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...ir.dims import evaluate
from ...ir.graph import Graph, Node
from ...ir.op import Cost
from ...ir.types import TensorType

__all__ = ["GraphCost", "graph_cost", "intensity", "node_cost", "numbered"]


@dataclass(frozen=True, slots=True)
class GraphCost:
    """Totals. Units: `params` and `activations` elements (results of ops, inputs included), `weight_bytes` bytes.

    `bytes_moved`: every op reads its operands from memory and writes its result there, a parameter read by several comes
    from memory once, and a view moves nothing. So weights weigh less in a larger batch.
    """

    macs: int
    flops: int
    params: int
    weight_bytes: int
    activations: int
    bytes_moved: int

    @property
    def intensity(self) -> float:
        """FLOPs per byte moved: what a roofline is read at. Williams, Waterman & Patterson 2009."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0


def node_cost(node: Node, sizes: Mapping[str, int]) -> Cost:
    """The cost of computing one node with these named sizes; an operand read twice is one operand.

    Raises: InvalidModel where sizes that are left make an expression that is too long.
    """
    inputs, out = {operand: numbered(operand.typed, sizes) for operand in node.inputs}, numbered(node.typed, sizes)
    cost = node.kind.cost(node.op, tuple(inputs[operand] for operand in node.inputs), out)
    if node.kind.facts.is_view:
        return replace(cost, bytes_read=0, bytes_written=0)
    return replace(cost, bytes_read=sum((type_.nbytes for type_ in inputs.values()), 0)) if len(inputs) < len(node.inputs) else cost


def numbered(type_: TensorType, sizes: Mapping[str, int]) -> TensorType:
    """The type with numbers for named sizes; what they make negative has no element."""
    if not type_.symbols:
        return type_
    extents = (evaluate(dim, sizes) for dim in type_.shape)
    return TensorType(type_.dtype, tuple(max(extent, 0) if isinstance(extent, int) else extent for extent in extents))


def intensity(node: Node, sizes: Mapping[str, int]) -> float:
    """FLOPs of one node per byte that it reads and writes; 0 where it moves nothing."""
    cost = node_cost(node, sizes)
    moved = _int(cost.bytes_read) + _int(cost.bytes_written)
    return _int(cost.flops) / moved if moved else 0.0


def graph_cost(graph: Graph, sizes: Mapping[str, int] | None = None, known: dict[Node, Cost] | None = None) -> GraphCost:
    """Totals of a typed graph; a named size without a number counts as 1.

    `known` are costs of nodes at these sizes, as other graphs have them too; what is new is put there.
    """
    numbers = {**dict.fromkeys((*graph.symbols, *graph.found_symbols), 1), **(sizes or {})}
    known = {} if known is None else known
    for node in graph.ops:
        if node not in known:
            known[node] = node_cost(node, numbers)
    costs = [known[node] for node in graph.ops]
    produced = [*graph.inputs, *graph.ops]
    return GraphCost(
        macs=sum(_int(cost.macs) for cost in costs),
        flops=sum(_int(cost.flops) for cost in costs),
        params=sum(_int(node.typed.numel) for node in graph.params),
        weight_bytes=sum(_int(node.typed.nbytes) for node in graph.params),
        activations=sum(_int(evaluate(node.typed.numel, numbers)) for node in produced),
        bytes_moved=sum(_int(cost.bytes_read) + _int(cost.bytes_written) for cost in costs) - _read_again(graph),
    )


def _read_again(graph: Graph) -> int:
    """Bytes of parameters that more than one op reads, for every reader but the first."""
    total = 0
    for param in graph.params:
        readers = {reader for reader in graph.readers[param] if not reader.kind.facts.is_view}
        total += max(len(readers) - 1, 0) * _int(param.typed.nbytes)
    return total


def _int(dim: object) -> int:
    assert isinstance(dim, int)  # every named size has a number by now
    return dim
