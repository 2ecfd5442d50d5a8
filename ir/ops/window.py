"""Window arithmetic, shared by convolution and pooling over one to three axes. Dumoulin & Visin 2016."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..types import Array

__all__ = [
    "MOST_AXES",
    "Borders",
    "Pads",
    "Pair",
    "PerAxis",
    "check_window",
    "dilated",
    "need_kernel",
    "pad_spatial",
    "taps_of",
    "unread",
    "window_count",
    "window_view",
]

MOST_PADDED = 1 << 27  # elements, with borders that are nearly all of them; an image that is large itself may have its border
MOSTLY = 8  # times the image
MOST_AXES = 3  # of space: a sequence has one, an image two, a volume or a film three

PerAxis = tuple[int, ...]  # a number for each axis of space, the slowest first: depth, rows, columns
Borders = tuple[int, ...]  # before each axis, then after each: ONNX order
Pair = tuple[int, int]  # rows, columns
Pads = tuple[int, int, int, int]  # top, left, bottom, right


def check_window(what: str, axes: int, strides: PerAxis, pads: Borders, dilations: PerAxis) -> None:
    """Raises: ShapeError for another number of values than of axes, a stride or dilation below 1, or a negative pad."""
    for name, values, count in (("strides", strides, axes), ("pads", pads, 2 * axes), ("dilations", dilations, axes)):
        if len(values) != count:
            raise ShapeError(f"{what} {name} {list(values)} must be {count} numbers, for {axes} axes")
    if min(strides) < 1:
        raise ShapeError(f"{what} strides {list(strides)} must be at least 1; 1 moves the window to every position")
    if min(dilations) < 1:
        raise ShapeError(f"{what} dilations {list(dilations)} must be at least 1; 1 leaves no gaps between taps")
    if min(pads) < 0:
        raise ShapeError(f"{what} pads {list(pads)} must not be negative; use slice to crop")


def need_kernel(kernel: PerAxis) -> None:
    """Raises: ShapeError for a kernel without taps."""
    if min(kernel) < 1:
        raise ShapeError(f"kernel {'x'.join(map(str, kernel))} is empty")


def dilated(kernel: int, dilation: int) -> int:
    """Extent of a kernel whose taps are `dilation` apart."""
    return dilation * (kernel - 1) + 1


def window_count(extent: Dim, kernel: int, stride: int, before: int, after: int, *, ceil: bool = False) -> Dim:
    """Positions of a window along one axis, rounding down, or up with `ceil`.

    A last window that would start in the padding after the input is dropped when rounding up
    (ONNX MaxPool-22, ceil_mode). Units: elements of that axis. `kernel` is the dilated extent.

    Raises: ShapeError if the kernel is larger than the padded extent.
    """
    padded = extent + before + after
    if isinstance(padded, int) and isinstance(extent, int):
        if kernel > padded:
            raise ShapeError(
                f"kernel of extent {kernel} is larger than its padded input of {padded}; "
                f"pad by at least {kernel - padded} more or use a smaller kernel"
            )
        count = (padded - kernel + (stride - 1 if ceil else 0)) // stride + 1
        if ceil and (count - 1) * stride >= extent + before:
            count -= 1
        return count
    if not ceil:
        return (padded - kernel) // stride + 1
    if after > kernel:  # a second window may lie in the padding alone, and it stays
        raise ShapeError(
            f"ceil_mode with {after} pads after a kernel of {kernel} needs a known extent, not {extent}; give the size a number"
        )
    # A window starts at every stride before the end of what may be covered and, as the last must not start in the padding, of the input.
    return (extent + before + min(after - kernel + stride, 0) + (stride - 1)) // stride


def unread(extent: int, kernel: int, stride: int, before: int, after: int) -> tuple[int, int]:
    """What a window that rounds down leaves over: (positions of the padded axis, elements of the input)."""
    left = (extent + before + after - kernel) % stride
    return left, max(0, left - after)


def pad_spatial(x: Array, pads: Borders, value: float = 0.0) -> Array:
    """Pad the last axes, as many as there are pairs of pads; the same array when there is nothing to pad.

    Raises: ShapeError for a border that is most of a tensor too large to hold: a file may ask for any, and for one element in the end.
    """
    if not any(pads):
        return x
    axes = len(pads) // 2
    before, after, sizes = pads[:axes], pads[axes:], x.shape[-axes:]
    shape = (*x.shape[:-axes], *(size + b + a for size, b, a in zip(sizes, before, after, strict=True)))
    if math.prod(shape) > max(MOST_PADDED, MOSTLY * x.size):
        raise ShapeError(f"pads {list(pads)} make {math.prod(shape):,} elements of {x.size:,}, too many to hold; use smaller pads")
    padded = np.full(shape, value, dtype=x.dtype)
    padded[(..., *(slice(b, b + size) for size, b in zip(sizes, before, strict=True)))] = x
    return padded


def window_view(x: Array, kernel: PerAxis, strides: PerAxis, dilations: PerAxis, out: PerAxis) -> Array:
    """Windows of the last axes as a read-only view [..., *out, *kernel]; nothing is copied."""
    axes = len(kernel)
    own = x.strides[-axes:]
    shape = (*x.shape[:-axes], *out, *kernel)
    steps = (*(o * s for o, s in zip(own, strides, strict=True)), *(o * d for o, d in zip(own, dilations, strict=True)))
    return np.lib.stride_tricks.as_strided(x, shape, (*x.strides[:-axes], *steps), writeable=False)


def taps_of(kernel: Sequence[int]) -> Iterator[PerAxis]:
    """The place of every tap, the last axis fastest; one at a time, since a file may ask for a kernel of any extent."""
    if not kernel:
        yield ()
        return
    for place in range(kernel[0]):
        for rest in taps_of(kernel[1:]):
            yield (place, *rest)
