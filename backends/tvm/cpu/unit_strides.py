"""Convolutions of stride 1, their gradients among them: that by the input is a convolution with its filters turned about."""

from __future__ import annotations

from dataclasses import dataclass

from ....ir.graph import Node
from ....ir.ops.conv import CONV2D
from ....ir.ops.conv_transpose import CONV_TRANSPOSE2D
from ....ir.ops.conv_weight_gradient import CONV2D_WEIGHT_GRADIENT
from ....ir.ops.window import Pads, Pair
from ....ir.types import Array

__all__ = ["UNIT_STRIDES", "UnitStrides", "turned", "unit_strides"]

UNIT_STRIDES = (CONV2D, CONV_TRANSPOSE2D, CONV2D_WEIGHT_GRADIENT)


@dataclass(frozen=True, slots=True)
class UnitStrides:
    """The convolution that a node of 2-d filters is, or of whose weights it is the gradient. Its filters may lie `is_turned`."""

    kernel: Pair
    pads: Pads
    dilations: Pair
    groups: int
    is_turned: bool


def unit_strides(node: Node) -> UnitStrides | None:
    """None where there is none."""
    if node.kind not in UNIT_STRIDES or node.op.strides != (1, 1):
        return None
    if node.kind is CONV2D_WEIGHT_GRADIENT:
        return UnitStrides(node.op.kernel, node.op.pads, node.op.dilations, node.op.groups, False)
    op, kernel = node.op, node.inputs[1].typed.concrete()[2:]
    if node.kind is CONV2D:
        return UnitStrides((kernel[0], kernel[1]), op.pads, op.dilations, op.groups, False)
    rows, cols = ((k - 1) * d for k, d in zip(kernel, op.dilations, strict=True))
    (top, left, bottom, right), (more_rows, more_cols) = op.pads, op.output_padding
    pads = rows - top, cols - left, rows - bottom + more_rows, cols - right + more_cols
    return UnitStrides((kernel[0], kernel[1]), pads, op.dilations, op.groups, True) if min(pads) >= 0 else None


def turned(w: Array) -> Array:
    """[C,O,KH,KW] of a transposed convolution as [O,C,KH,KW] of the convolution that it is, in one group."""
    return w[:, :, ::-1, ::-1].swapaxes(0, 1)
