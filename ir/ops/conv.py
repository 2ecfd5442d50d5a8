"""Convolutions: conv2d and conv_transpose2d. NCHW."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef
from ..types import Array, TensorType
from .check import need_rank, need_same_dtype, static
from .window import Pads, Pair, check_window, dilated, pad_spatial, window_count, window_view

__all__ = ["CONV2D", "CONV_TRANSPOSE2D", "OPS", "Conv2d", "ConvTranspose2d"]

BLOCK_BYTES = 16 << 20  # of unfolded windows held at once: large enough for BLAS, small enough for the cache


@dataclass(frozen=True, slots=True)
class Conv2d:
    """Grouped 2-D cross-correlation plus optional bias. ONNX Conv; Dumoulin & Visin 2016, sec. 2.

    Shapes: x[N,C,H,W], w[O,C/groups,KH,KW], b[O] -> [N,O,H',W'].
    """

    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1


def infer_conv2d(op: Conv2d, x: TensorType, w: TensorType, b: TensorType | None = None) -> TensorType:
    """Raises: ShapeError on channel, bias or window disagreement."""
    check_window("conv2d", op.strides, op.pads, op.dilations)
    need_rank("input", x, 4)
    need_rank("weight", w, 4)
    need_same_dtype(x, w, b)
    batch, c_in, rows, cols = x.shape
    c_out, per_group, k_rows, k_cols = static("weight", w)
    if op.groups < 1 or c_out % op.groups:
        raise ShapeError(f"{c_out} filters do not divide into {op.groups} groups")
    if c_in != per_group * op.groups:
        raise ShapeError(f"weight covers {per_group}*{op.groups} channels, input has {c_in}")
    need_bias(b, c_out)
    (s_rows, s_cols), (d_rows, d_cols), (top, left, bottom, right) = op.strides, op.dilations, op.pads
    need_kernel(k_rows, k_cols)
    out_rows = window_count(rows, dilated(k_rows, d_rows), s_rows, top, bottom)
    out_cols = window_count(cols, dilated(k_cols, d_cols), s_cols, left, right)
    return TensorType(x.dtype, (batch, c_out, out_rows, out_cols))


def conv2d(op: Conv2d, x: Array, w: Array, b: Array | None = None) -> Array:
    """One BLAS product per image and block of output rows, over windows unfolded into a bounded buffer."""
    padded = pad_spatial(x, op.pads)
    c_out, _, *kernel = w.shape
    out = tuple((size - dilated(k, d)) // s + 1 for size, k, s, d in zip(padded.shape[2:], kernel, op.strides, op.dilations, strict=True))
    rows, cols = out
    y = np.empty((x.shape[0], c_out, rows, cols), dtype=x.dtype)
    filters = w.reshape(op.groups, c_out // op.groups, math.prod(w.shape[1:]))
    windows = window_view(padded, (kernel[0], kernel[1]), op.strides, op.dilations, (rows, cols))
    taps = filters.shape[2]
    block = max(1, min(rows, BLOCK_BYTES // max(1, x.itemsize * taps * op.groups * cols)))
    for image in range(x.shape[0]):
        for top in range(0, rows, block):
            taken = windows[image, :, top : top + block]  # [C,h,W',KH,KW]
            height = taken.shape[1]
            unfolded = taken.transpose(0, 3, 4, 1, 2).reshape(op.groups, taps, height * cols)
            product = np.matmul(filters, unfolded)
            y[image, :, top : top + height] = product.reshape(c_out, height, cols)
    if b is not None:
        y += b[:, None, None]
    return y


def conv2d_magnitude(op: Conv2d, x: Array, w: Array, b: Array | None = None) -> Array:
    return conv2d(op, abs(x), abs(w), None if b is None else abs(b))


def conv2d_arithmetic(op: Conv2d, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    _, per_group, k_rows, k_cols = inputs[1].shape
    macs = out.numel * per_group * k_rows * k_cols
    return macs, macs * 2 + (out.numel if len(inputs) > 2 else 0)


def conv_roundings(op: Conv2d | ConvTranspose2d, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """A product per tap and channel of the group, and the bias. Winograd needs a bound of its own."""
    w = inputs[1].shape
    channels = w[1] if isinstance(op, Conv2d) else w[0] // op.groups
    return channels * w[2] * w[3] + 1


@dataclass(frozen=True, slots=True)
class ConvTranspose2d:
    """The adjoint of conv2d in its input, plus optional bias. ONNX ConvTranspose; Dumoulin & Visin 2016, sec. 4.

    Shapes: x[N,C,H,W], w[C,O/groups,KH,KW], b[O] -> [N,O,H',W'] with
    H' = strides*(H-1) + output_padding + dilations*(KH-1)+1 - top - bottom.
    """

    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1
    output_padding: Pair = (0, 0)


def infer_conv_transpose2d(op: ConvTranspose2d, x: TensorType, w: TensorType, b: TensorType | None = None) -> TensorType:
    """Raises: ShapeError on channel, bias, padding or size disagreement."""
    check_window("conv_transpose2d", op.strides, op.pads, op.dilations)
    need_rank("input", x, 4)
    need_rank("weight", w, 4)
    need_same_dtype(x, w, b)
    batch, c_in, *extents = x.shape
    w_in, per_group, *kernel = static("weight", w)
    if c_in != w_in:
        raise ShapeError(f"weight covers {w_in} channels, input has {c_in}")
    if op.groups < 1 or w_in % op.groups:
        raise ShapeError(f"{w_in} input channels do not divide into {op.groups} groups")
    need_bias(b, per_group * op.groups)
    need_kernel(*kernel)
    if any(not 0 <= extra < max(s, d) for extra, s, d in zip(op.output_padding, op.strides, op.dilations, strict=True)):
        raise ShapeError(f"output_padding {list(op.output_padding)} must be smaller than the stride or the dilation")
    sizes: list[Dim] = []
    for axis in (0, 1):
        grown = (extents[axis] - 1) * op.strides[axis] + op.output_padding[axis] + dilated(kernel[axis], op.dilations[axis])
        size = grown - op.pads[axis] - op.pads[axis + 2]
        if isinstance(size, int) and size < 1:
            raise ShapeError(f"pads {list(op.pads)} crop the whole result of extent {grown}")
        sizes.append(size)
    return TensorType(x.dtype, (batch, per_group * op.groups, *sizes))


def conv_transpose2d(op: ConvTranspose2d, x: Array, w: Array, b: Array | None = None) -> Array:
    """Each input pixel adds its scaled kernel to the result: a product per kernel tap, then a strided sum."""
    batch, c_in, rows, cols = x.shape
    _, per_group, k_rows, k_cols = w.shape
    c_out = per_group * op.groups
    (s_rows, s_cols), (d_rows, d_cols), (top, left, bottom, right) = op.strides, op.dilations, op.pads
    full_rows = (rows - 1) * s_rows + dilated(k_rows, d_rows) + op.output_padding[0]
    full_cols = (cols - 1) * s_cols + dilated(k_cols, d_cols) + op.output_padding[1]
    full = np.zeros((batch, c_out, full_rows, full_cols), dtype=x.dtype)
    pixels = x.reshape(batch, op.groups, c_in // op.groups, rows * cols)
    filters = w.reshape(op.groups, c_in // op.groups, per_group, k_rows, k_cols)
    for i in range(k_rows):
        for j in range(k_cols):
            tap = np.ascontiguousarray(filters[..., i, j].transpose(0, 2, 1))
            part = np.matmul(tap, pixels).reshape(batch, c_out, rows, cols)
            at_row, at_col = i * d_rows, j * d_cols
            full[:, :, at_row : at_row + s_rows * rows : s_rows, at_col : at_col + s_cols * cols : s_cols] += part
    y = np.ascontiguousarray(full[:, :, top : full_rows - bottom, left : full_cols - right])
    if b is not None:
        y += b[:, None, None]
    return y


def conv_transpose2d_magnitude(op: ConvTranspose2d, x: Array, w: Array, b: Array | None = None) -> Array:
    return conv_transpose2d(op, abs(x), abs(w), None if b is None else abs(b))


def conv_transpose2d_arithmetic(op: ConvTranspose2d, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    _, per_group, k_rows, k_cols = inputs[1].shape
    macs = inputs[0].numel * per_group * k_rows * k_cols
    return macs, macs * 2 + (out.numel if len(inputs) > 2 else 0)


def need_bias(b: TensorType | None, c_out: int) -> None:
    """Raises: ShapeError unless the bias, where there is one, has one value per filter."""
    if b is not None and b.shape != (c_out,):
        raise ShapeError(f"bias is {b}, expected one value for each of {c_out} filters")


def need_kernel(k_rows: int, k_cols: int) -> None:
    if k_rows < 1 or k_cols < 1:
        raise ShapeError(f"kernel {k_rows}x{k_cols} is empty")


PRODUCT = Facts()  # an element is read again after results near it have been written, so it cannot lie in place

CONV2D = OpDef("conv2d", Conv2d, (2, 3), infer_conv2d, conv2d, conv2d_arithmetic, conv2d_magnitude, conv_roundings, facts=PRODUCT)
CONV_TRANSPOSE2D = OpDef(
    "conv_transpose2d",
    ConvTranspose2d,
    (2, 3),
    infer_conv_transpose2d,
    conv_transpose2d,
    conv_transpose2d_arithmetic,
    conv_transpose2d_magnitude,
    conv_roundings,
    facts=PRODUCT,
)
OPS = (CONV2D, CONV_TRANSPOSE2D)
