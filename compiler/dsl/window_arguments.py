"""What users write for the kernel, stride and pads of a window, as numbers for each axis of space."""

from __future__ import annotations

import math

from ...ir.errors import ShapeError
from ...ir.ops.window import MOST_AXES, Borders, PerAxis, dilated
from .trace import Value
from .user_line import naming_line

__all__ = ["Padding", "Size", "axes_of", "each", "pads_of"]

Size = int | PerAxis
Padding = str | int | Borders


def axes_of(x: Value) -> int:
    """How many axes of space a value has: one as a sequence, two as an image, three as a volume; whatever else passes for an image."""
    return x.rank - 2 if 1 <= x.rank - 2 <= MOST_AXES else 2


def each(size: Size, axes: int) -> PerAxis:
    """One number is that of every axis.

    Raises: ShapeError for another number of them than there are axes.
    """
    numbers = (size,) * axes if isinstance(size, int) else size
    if len(numbers) != axes:
        raise ShapeError(naming_line(f"{numbers} has {len(numbers)} numbers, expected one, or {axes}, for {axes} axes"))
    return numbers


def pads_of(pad: Padding, x: Value, kernel: PerAxis, strides: PerAxis, dilations: PerAxis) -> Borders:
    """Pads from the user's word. "same" gives ceil(n/stride) positions, the odd pixel after, or before with "same_lower" (ONNX auto_pad).

    Raises: ShapeError for another word, or "same" with a stride over a named size.
    """
    axes = len(kernel)
    if isinstance(pad, int):
        return (pad,) * (2 * axes)
    if not isinstance(pad, str):
        return pad
    if pad == "valid":
        return (0, 0) * axes
    if pad not in ("same", "same_lower"):
        ends = "(top, left, bottom, right)" if axes == 2 else "numbers before each axis and after each"
        raise ShapeError(naming_line(f"pad is '{pad}', expected 'same', 'same_lower', 'valid', a number or {ends}"))
    if x.rank != axes + 2:
        raise ShapeError(naming_line(f"{x.node.where} is {x.node.type}; a window needs 4 axes (N,C,H,W)"))
    totals: list[int] = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        extent = dilated(k, dilation)
        if stride == 1:
            totals.append(extent - 1)
        elif isinstance(size, int):
            totals.append(max((math.ceil(size / stride) - 1) * stride + extent - size, 0))
        else:
            raise ShapeError(naming_line(f"'{pad}' with stride {stride} depends on the named size {size}; give the pads as numbers"))
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (*small, *large) if pad == "same" else (*large, *small)
