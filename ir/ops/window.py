"""Window arithmetic along one axis, shared by convolution and pooling. Dumoulin & Visin 2016."""

from __future__ import annotations

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..types import Array

__all__ = ["Pads", "Pair", "check_window", "dilated", "pad_spatial", "unread", "window_count", "window_view"]

Pair = tuple[int, int]  # rows, columns
Pads = tuple[int, int, int, int]  # top, left, bottom, right: ONNX order


def check_window(what: str, strides: Pair, pads: Pads, dilations: Pair) -> None:
    """Raises: ShapeError for a stride or dilation below 1, or a negative pad."""
    if min(strides) < 1:
        raise ShapeError(f"{what} strides {list(strides)} must be at least 1; 1 moves the window to every position")
    if min(dilations) < 1:
        raise ShapeError(f"{what} dilations {list(dilations)} must be at least 1; 1 leaves no gaps between taps")
    if min(pads) < 0:
        raise ShapeError(f"{what} pads {list(pads)} must not be negative; use slice to crop")


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
    if ceil and (after > 0 or stride > kernel):  # whether the last window starts too late depends on the number
        raise ShapeError(f"ceil_mode with padding, or a stride over the kernel, needs a known extent, not {extent}; give the size a number")
    return (padded - kernel + (stride - 1 if ceil else 0)) // stride + 1


def unread(extent: int, kernel: int, stride: int, before: int, after: int) -> tuple[int, int]:
    """What a window that rounds down leaves over: (positions of the padded axis, elements of the input)."""
    left = (extent + before + after - kernel) % stride
    return left, max(0, left - after)


def pad_spatial(x: Array, pads: Pads, value: float = 0.0) -> Array:
    """Pad the last two axes; the same array when there is nothing to pad."""
    top, left, bottom, right = pads
    if not any(pads):
        return x
    rows, cols = x.shape[-2:]
    shape = (*x.shape[:-2], rows + top + bottom, cols + left + right)
    padded = np.full(shape, value, dtype=x.dtype)
    padded[..., top : top + rows, left : left + cols] = x
    return padded


def window_view(x: Array, kernel: Pair, strides: Pair, dilations: Pair, out: Pair) -> Array:
    """Windows of the last two axes as a read-only view [..., H', W', KH, KW]; nothing is copied."""
    row, col = x.strides[-2:]
    shape = (*x.shape[:-2], *out, *kernel)
    steps = (*x.strides[:-2], row * strides[0], col * strides[1], row * dilations[0], col * dilations[1])
    return np.lib.stride_tricks.as_strided(x, shape, steps, writeable=False)
