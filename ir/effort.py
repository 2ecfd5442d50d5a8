"""What computing one node by its meaning takes on the way to a result that its type and cost do not tell of.

Pads are held and taps are walked: a file of a few bytes may ask for any number of them, and for one element in the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .graph import Node
from .ops.resize import RESIZE, scales_of

__all__ = ["Effort", "effort_of"]

CALL_FLOPS = 1 << 10  # NumPy is called for every tap, which takes as long as so many operations


@dataclass(frozen=True, slots=True)
class Effort:
    """Units: `nbytes` of the largest array on the way, in float64; `flops` as long as calls take."""

    nbytes: int = 0
    flops: int = 0


def effort_of(node: Node) -> Effort:
    """Of a node whose types have sizes in numbers; of another nothing is told, since nobody computes it as it is."""
    if node.typed.symbols or any(operand.typed.symbols for operand in node.inputs):
        return Effort()
    if node.kind is RESIZE:
        return Effort(flops=CALL_FLOPS * _neighbours(node))
    op: Any = node.op
    if not hasattr(op, "pads") or not hasattr(op, "strides"):
        return Effort()
    kernel: tuple[int, ...] = op.kernel if hasattr(op, "kernel") else node.inputs[1].typed.concrete()[2:]
    return Effort(8 * _padded(node, op.pads), CALL_FLOPS * math.prod(kernel))


def _padded(node: Node, pads: tuple[int, ...]) -> int:
    """Elements of the operand with its pads, or of what a transposed convolution makes before it crops them."""
    axes = len(pads) // 2
    borders = [0, 0, *(before + after for before, after in zip(pads[:axes], pads[axes:], strict=True))]
    shapes = node.inputs[0].typed.concrete(), node.typed.concrete()
    return max(math.prod(size + border for size, border in zip(shape, borders, strict=True)) for shape in shapes)


def _neighbours(node: Node) -> int:
    """Of one place, along all axes: a filter that is stretched sees the more of them the more it shrinks."""
    op = RESIZE.of(node)
    scales = scales_of(op, node.inputs[0].typed) if op.antialias else None
    return sum(4 * math.ceil(1 / min(scale, 1.0)) for scale in scales or ())
