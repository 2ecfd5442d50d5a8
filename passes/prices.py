"""What work costs on a target, for passes that trade one kind of it for another.

A layer takes the longer of its arithmetic and its traffic (the roofline; Williams, Waterman & Patterson 2009), and the time
to start it. That is coarse, and enough to see which of two forms of a network is cheaper.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..ir.dims import Dim, dim_names, evaluate
from ..ir.graph import Graph, Node
from ..ir.op import OpDef
from ..ir.ops import activation_variants
from ..ir.ops.activation import CLIP, LEAKY_RELU, RELU, SIGMOID, TANH
from ..ir.ops.elementwise import ADD
from ..ir.ops.shape import SLICE, Slice
from ..ir.types import TensorType

__all__ = ["ACTIVATIONS", "ONNXRUNTIME", "TVM", "Prices", "shown"]

# Computed where the layer before them stores its result; so is a sum, which reads its other operand there.
ACTIVATIONS = (RELU, LEAKY_RELU, CLIP, SIGMOID, TANH, activation_variants.HARD_SIGMOID, activation_variants.HARD_SWISH)


@dataclass(frozen=True, slots=True)
class Prices:
    """What one core of a target does. Units: `macs` multiply-adds a second, `bytes` bytes a second, `layer` seconds.

    `cut` is how often a slice of channels copies what it takes.
    """

    target: str
    macs: float
    bytes: float
    layer: float
    cut: int

    def of(self, kind: OpDef[Any], op: Any, inputs: Iterable[TensorType], out: TensorType) -> float:
        """Seconds for one op on values of these types. A named size counts as 1."""
        if kind in ACTIVATIONS or kind.facts.is_view:
            return 0.0
        inputs = tuple(inputs)
        if kind is ADD and inputs == (out, out):
            return _number(out.nbytes) / self.bytes
        cost = kind.cost(op, inputs, out)
        traffic = _number(out.nbytes) * 2 * self.cut if _is_cut(kind, op) else _number(cost.bytes_read + cost.bytes_written)
        return max(_number(cost.macs) / self.macs, traffic / self.bytes) + self.layer

    def seconds(self, *nodes: Node) -> float:
        """Seconds for nodes of a typed graph, one after another."""
        return sum(self.of(node.kind, node.op, (operand.typed for operand in node.inputs), node.typed) for node in nodes)

    def whole(self, graph: Graph) -> float:
        return self.seconds(*graph.ops)


# From measurements of ours, on AVX-512: 1x1 and 3x3 layers reach 116 GF/s a core in both; values of layers lie in caches.
# onnxruntime leaves its blocked layout for a slice, cuts, and goes back.
ONNXRUNTIME = Prices("onnxruntime", macs=58e9, bytes=20e9, layer=4e-6, cut=3)
TVM = Prices("tvm", macs=58e9, bytes=20e9, layer=2e-6, cut=1)


def shown(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"


def _is_cut(kind: OpDef[Any], op: Slice) -> bool:
    return kind is SLICE and op.axes in ((1,), (-3,))


def _number(dim: Dim) -> int:
    number = evaluate(dim, dict.fromkeys(dim_names(dim), 1))
    assert isinstance(number, int)  # every named size has a number
    return number
