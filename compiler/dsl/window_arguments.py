"""What users write for the kernel, stride and pads of a window, as numbers for rows and columns."""

from __future__ import annotations

import math

from ...ir.errors import ShapeError
from ...ir.ops.window import Pads, Pair, dilated
from .trace import Value
from .user_line import naming_line

__all__ = ["Padding", "Size", "pads_of", "pair"]

Size = int | Pair
Padding = str | int | Pads


def pair(size: Size) -> Pair:
    return (size, size) if isinstance(size, int) else size


def pads_of(pad: Padding, x: Value, kernel: Pair, strides: Pair, dilations: Pair) -> Pads:
    """Four pads from the user's word. "same" gives ceil(n/stride) positions, the odd pixel after (ONNX SAME_UPPER).

    Raises: ShapeError for another word, or "same" with a stride over a named size.
    """
    if isinstance(pad, int):
        return (pad, pad, pad, pad)
    if not isinstance(pad, str):
        return pad
    if pad == "valid":
        return (0, 0, 0, 0)
    if pad != "same":
        raise ShapeError(naming_line(f"pad is '{pad}', expected 'same', 'valid', a number or (top, left, bottom, right)"))
    if x.rank != 4:
        raise ShapeError(naming_line(f"{x.node.where} is {x.node.type}; a window needs 4 axes (N,C,H,W)"))
    totals: list[int] = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        extent = dilated(k, dilation)
        if stride == 1:
            totals.append(extent - 1)
        elif isinstance(size, int):
            totals.append(max((math.ceil(size / stride) - 1) * stride + extent - size, 0))
        else:
            raise ShapeError(naming_line(f"'same' with stride {stride} depends on the named size {size}; give the pads as numbers"))
    rows, cols = totals
    return (rows // 2, cols // 2, rows - rows // 2, cols - cols // 2)
