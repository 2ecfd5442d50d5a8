"""What work costs in an engine, for passes that trade one kind of it for another.

A layer takes the longer of its arithmetic and its traffic (the roofline; Williams, Waterman & Patterson 2009), and the time
to start it. That is coarse, and enough to see which of two forms of a network is cheaper. The numbers are the engines', who hand them
down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...ir.dims import Dim
from ...ir.graph import Graph, Node
from ...ir.op import OpDef
from ...ir.ops.shape import SLICE, Slice
from ...ir.types import TensorType
from .cost import numbered

__all__ = ["Prices", "duration"]


@dataclass(frozen=True, slots=True)
class Prices:
    """What one core does, or the `machine` that is named. Units: `macs` multiply-adds a second, `bytes` bytes a second, `layer` seconds.

    `cut` is how often a slice of channels copies what it takes. `appends` are computed where the convolution before them stores its result;
    what they read besides, a sum its other operand, they read there. `sizes` are the numbers that stand for named sizes; others count as 1.
    `folds` where what depends on constants alone is computed once, as the network is loaded: a file need not hold it.
    `integers`: a product between dequantize and quantize is computed in integers, from constants as they are stored. `in_place` cost
    nothing: what they read is written where it belongs.
    """

    macs: float
    bytes: float
    layer: float
    cut: int
    appends: frozenset[OpDef[Any]]
    folds: bool = False
    integers: bool = False
    in_place: frozenset[OpDef[Any]] = frozenset()
    machine: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])

    def at(self, sizes: Mapping[str, int]) -> Prices:
        """The same prices where these numbers stand for named sizes."""
        return replace(self, sizes=sizes)

    def of(self, kind: OpDef[Any], op: Any, inputs: Iterable[TensorType], out: TensorType) -> float:
        """Seconds for one op on values of these types."""
        if kind.facts.is_view or kind in self.in_place:
            return 0.0
        inputs, out = tuple(self._numbered(operand) for operand in inputs), self._numbered(out)
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

    def _numbered(self, type_: TensorType) -> TensorType:
        return numbered(type_, {**dict.fromkeys(type_.symbols, 1), **self.sizes}) if type_.symbols else type_


def duration(seconds: float) -> str:
    """For people: three digits, in ms or us."""
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def _is_cut(kind: OpDef[Any], op: Slice) -> bool:
    return kind is SLICE and op.axes in ((1,), (-3,))


def _number(dim: Dim) -> int:
    assert isinstance(dim, int)  # every named size has a number
    return dim
