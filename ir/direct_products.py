"""Products that no direct sum can leave out: those of taps that lie within the image. Counts of cost have those with padding, too."""

from __future__ import annotations

from collections.abc import Iterator

from .graph import Node
from .ops.conv import CONVS
from .ops.conv_transpose import CONV_TRANSPOSES
from .ops.conv_weight_gradient import CONV_WEIGHT_GRADIENTS

__all__ = ["direct_products"]


def direct_products(node: Node) -> int:
    """Multiply-adds that a kernel without Winograd's tiles or quarters does at the least, of a node without named sizes."""
    macs = node.kind.cost(node.op, tuple(operand.typed for operand in node.inputs), node.typed).macs
    assert isinstance(macs, int)
    for inside, counted in _windows(node):
        macs = macs * inside // counted
    return macs


def _windows(node: Node) -> Iterator[tuple[int, int]]:
    """Along each axis of a convolution the pairs of a window and a tap that meet the image, and all pairs.

    A transposed one spreads its input over the result, whose borders are cut off: its windows lie in the result.
    """
    if node.kind in CONVS:
        windows, image, kernel = node, node.inputs[0], node.inputs[1].typed.concrete()[2:]
    elif node.kind in CONV_TRANSPOSES:
        windows, image, kernel = node.inputs[0], node, node.inputs[1].typed.concrete()[2:]
    elif node.kind in CONV_WEIGHT_GRADIENTS:
        windows, image, kernel = node.inputs[1], node.inputs[0], node.op.kernel
    else:
        return
    sizes = windows.typed.concrete()[2:], image.typed.concrete()[2:], kernel
    moves = node.op.strides, node.op.dilations, node.op.pads[: len(kernel)]
    for count, size, taps, stride, dilation, before in zip(*sizes, *moves, strict=True):
        if count * taps:
            yield sum(_met(tap * dilation - before, stride, count, size) for tap in range(taps)), count * taps


def _met(first: int, stride: int, count: int, size: int) -> int:
    """Of the places first, first + stride, ... so many that lie within `size`."""
    begin = max(0, -(first // stride))
    return max(0, min(count, (size - 1 - first) // stride + 1) - begin)
