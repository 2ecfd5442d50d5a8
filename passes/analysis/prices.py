"""What work costs in an engine, for passes that trade one kind of it for another.

A layer takes the longer of its arithmetic and its traffic (the roofline; Williams, Waterman & Patterson 2009), and the time
to start it. That is coarse, and enough to see which of two forms of a network is cheaper. The numbers are the engines', who hand them
down.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...ir.dims import Dim, dim_names, evaluate
from ...ir.graph import Graph, Node
from ...ir.op import OpDef
from ...ir.ops.shape import SLICE, Slice
from ...ir.types import TensorType

__all__ = ["Prices", "duration"]


@dataclass(frozen=True, slots=True)
class Prices:
    """What one core does. Units: `macs` multiply-adds a second, `bytes` bytes a second, `layer` seconds.

    `cut` is how often a slice of channels copies what it takes. `appends` are computed where the convolution before them stores its result;
    what they read besides, a sum its other operand, they read there.
    """

    macs: float
    bytes: float
    layer: float
    cut: int
    appends: frozenset[OpDef[Any]]

    def of(self, kind: OpDef[Any], op: Any, inputs: Iterable[TensorType], out: TensorType) -> float:
        """Seconds for one op on values of these types. A named size counts as 1."""
        if kind.facts.is_view:
            return 0.0
        inputs = tuple(inputs)
        if kind in self.appends and all(operand == out for operand in inputs):  # a broadcast is a layer
            return (len(inputs) - 1) * _number(out.nbytes) / self.bytes
        cost = kind.cost(op, inputs, out)
        traffic = _number(out.nbytes) * 2 * self.cut if _is_cut(kind, op) else _number(cost.bytes_read + cost.bytes_written)
        return max(_number(cost.macs) / self.macs, traffic / self.bytes) + self.layer

    def seconds(self, *nodes: Node) -> float:
        """Seconds for nodes of a typed graph, one after another."""
        return sum(self.of(node.kind, node.op, (operand.typed for operand in node.inputs), node.typed) for node in nodes)

    def whole(self, graph: Graph) -> float:
        return self.seconds(*graph.ops)


def duration(seconds: float) -> str:
    """For people: three digits, in ms or us."""
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def _is_cut(kind: OpDef[Any], op: Slice) -> bool:
    return kind is SLICE and op.axes in ((1,), (-3,))


def _number(dim: Dim) -> int:
    number = evaluate(dim, dict.fromkeys(dim_names(dim), 1))
    assert isinstance(number, int)  # every named size has a number
    return number
