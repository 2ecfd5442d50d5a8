"""Convolutions over one axis, two or three: one meaning, an op for every number of axes. Channels are on axis 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts, gains
from ..op import Computed, OpDef
from ..terms import Term
from ..types import Array, TensorType
from .adjoint import spread
from .check import need_rank, need_same_dtype, static
from .window import Borders, Pads, Pair, PerAxis, check_window, dilated, need_kernel, pad_spatial, window_count, window_view

__all__ = [
    "CONV1D",
    "CONV2D",
    "CONV3D",
    "CONVS",
    "OPS",
    "Conv",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "by_channel",
    "conv_bias_gradient",
    "conv_of",
    "need_bias",
    "product_of",
    "weight_gradient",
]

BLOCK_BYTES = 16 << 20  # of unfolded windows held at once: large enough for BLAS, small enough for the cache


@dataclass(frozen=True, slots=True)
class Conv:
    """What convolutions of every number of axes have; the records below say how many there are."""

    strides: PerAxis
    pads: Borders
    dilations: PerAxis
    groups: int


@dataclass(frozen=True, slots=True)
class Conv1d(Conv):
    """Grouped 1-D cross-correlation plus optional bias. ONNX Conv; van den Oord et al. 2016, sec. 2.1.

    Shapes: x[N,C,L], w[O,C/groups,K], b[O] -> [N,O,L'].
    """

    strides: tuple[int] = (1,)
    pads: Pair = (0, 0)
    dilations: tuple[int] = (1,)
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Conv2d(Conv):
    """Grouped 2-D cross-correlation plus optional bias. ONNX Conv; Dumoulin & Visin 2016, sec. 2.

    Shapes: x[N,C,H,W], w[O,C/groups,KH,KW], b[O] -> [N,O,H',W'].
    """

    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Conv3d(Conv):
    """Grouped 3-D cross-correlation plus optional bias. ONNX Conv; Tran et al. 2015, sec. 3.

    Shapes: x[N,C,D,H,W], w[O,C/groups,KD,KH,KW], b[O] -> [N,O,D',H',W'].
    """

    strides: tuple[int, int, int] = (1, 1, 1)
    pads: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)
    dilations: tuple[int, int, int] = (1, 1, 1)
    groups: int = 1


def infer_conv(op: Conv, x: TensorType, w: TensorType, b: TensorType | None = None) -> TensorType:
    """Raises: ShapeError on channel, bias or window disagreement."""
    axes = len(op.strides)
    check_window(f"conv{axes}d", axes, op.strides, op.pads, op.dilations)
    need_rank("input", x, axes + 2)
    need_rank("weight", w, axes + 2)
    need_same_dtype(x, w, b)
    batch, c_in, *sizes = x.shape
    c_out, per_group, *kernel = static("weight", w)
    if op.groups < 1 or c_out % op.groups:
        raise ShapeError(f"{c_out} filters do not divide into {op.groups} groups")
    if c_in != per_group * op.groups:
        fitting = c_in // per_group if isinstance(c_in, int) and per_group and c_in % per_group == 0 else 0
        groups = f"{fitting} groups, or " if fitting and c_out % fitting == 0 else ""
        way_out = f"give {groups}a weight or an input of as many channels as the other has"
        raise ShapeError(f"weight covers {per_group}*{op.groups} channels, input has {c_in}; {way_out}")
    need_bias(b, c_out)
    need_kernel(tuple(kernel))
    ends = zip(sizes, kernel, op.strides, op.dilations, op.pads[:axes], op.pads[axes:], strict=True)
    out = [window_count(size, dilated(k, d), stride, before, after) for size, k, stride, d, before, after in ends]
    return TensorType(x.dtype, (batch, c_out, *out))


def conv(op: Conv, x: Array, w: Array, b: Array | None = None) -> Array:
    """One BLAS product per image and block along the first axis of space, over windows unfolded into a bounded buffer."""
    padded = pad_spatial(x, op.pads)
    c_out, _, *kernel = w.shape
    axes = len(kernel)
    out = tuple((size - dilated(k, d)) // s + 1 for size, k, s, d in zip(padded.shape[2:], kernel, op.strides, op.dilations, strict=True))
    length, inner = out[0], math.prod(out[1:])
    y = np.empty((x.shape[0], c_out, *out), dtype=x.dtype)
    filters = w.reshape(op.groups, c_out // op.groups, math.prod(w.shape[1:]))
    windows = window_view(padded, tuple(kernel), op.strides, op.dilations, out)
    taps = filters.shape[2]
    block = max(1, min(length, BLOCK_BYTES // max(1, x.itemsize * taps * op.groups * inner)))
    taps_first = (0, *range(axes + 1, 2 * axes + 1), *range(1, axes + 1))
    for image in range(x.shape[0]):
        for first in range(0, length, block):
            taken = windows[image, :, first : first + block]  # [C,h,*out[1:],*kernel]
            height = taken.shape[1]
            unfolded = taken.transpose(taps_first).reshape(op.groups, taps, height * inner)
            product = np.matmul(filters, unfolded)
            y[image, :, first : first + height] = product.reshape(c_out, height, *out[1:])
    if b is not None:
        y += by_channel(b, axes)
    return y


def conv_magnitude(op: Conv, x: Array, w: Array, b: Array | None = None) -> Array:
    return conv(op, abs(x), abs(w), None if b is None else abs(b))


def conv_arithmetic(op: Conv, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    _, per_group, *kernel = inputs[1].shape
    macs = product_of(out.numel * per_group, kernel)
    return macs, macs * 2 + (out.numel if len(inputs) > 2 else 0)


def conv_roundings(op: Conv, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """A product per tap and channel of the group, and the bias. Winograd needs a bound of its own."""
    return product_of(1, inputs[1].shape[1:]) + 1


def need_bias(b: TensorType | None, c_out: int) -> None:
    """Raises: ShapeError unless the bias, where there is one, has one value per filter."""
    if b is not None and b.shape != (c_out,):
        raise ShapeError(f"bias is {b}, expected one value for each of {c_out} filters")


def by_channel(b: Array, axes: int) -> Array:
    """A value a channel, as it is added where there are so many axes of space."""
    return b.reshape(-1, *(1,) * axes)


def product_of(count: Dim, sizes: Sequence[Dim]) -> Dim:
    """`count` times every size."""
    for size in sizes:
        count = count * size
    return count


def conv_input_gradient(op: Conv, g: Term, y: Term, x: Term, w: Term, *bias: Term) -> Term:
    """The transposed convolution with the same weights. Dumoulin & Visin 2016, sec. 4."""
    return spread(g, w, op.strides, op.pads, op.dilations, op.groups, x.shape[2:])


def conv_weight_gradient(op: Conv, g: Term, y: Term, x: Term, w: Term, *bias: Term) -> Term:
    return weight_gradient(op, x, g, w)


def weight_gradient(op: Any, x: Term, g: Term, w: Term) -> Term:
    """Of a convolution of x with w whose result adds g, by w."""
    kernel = static("weight", w.type)[2:]
    window = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations, "groups": op.groups}
    return x.op(f"conv{len(kernel)}d_weight_gradient", g, kernel=kernel, **window)


def conv_bias_gradient(op: Any, g: Term, y: Term, *operands: Term) -> Term:
    return g.sum(0, *range(2, g.rank))


PRODUCT: Facts[Any] = Facts(narrow=gains)  # an element is read again after results near it have been written, so it cannot lie in place


def _conv(name: str, Attrs: type[Any]) -> OpDef[Any]:
    rules = (infer_conv, conv, conv_arithmetic, conv_magnitude, conv_roundings)
    return OpDef(name, Attrs, (2, 3), *rules, facts=PRODUCT, gradient=(conv_input_gradient, conv_weight_gradient, conv_bias_gradient))


# By the number of axes, from one on.
CONVS = CONV1D, CONV2D, CONV3D = _conv("conv1d", Conv1d), _conv("conv2d", Conv2d), _conv("conv3d", Conv3d)
OPS = CONVS


def conv_of(node: Computed) -> Conv:
    """The attributes of a convolution over however many axes.

    Raises: TypeError for a node of another kind, which is a fault in the caller.
    """
    if node.kind not in CONVS:
        raise TypeError(f"{node.where} is not a convolution")
    return node.op
