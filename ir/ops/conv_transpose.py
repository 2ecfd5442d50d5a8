"""Transposed convolutions over one axis, two or three: one meaning, an op for every number of axes. Channels are on axis 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts, gains
from ..op import Computed, OpDef
from ..terms import Term
from ..types import Array, TensorType
from .check import need_rank, need_same_dtype, static
from .conv import by_channel, conv_bias_gradient, need_bias, product_of, weight_gradient
from .window import Borders, Pads, Pair, PerAxis, check_window, dilated, need_kernel, taps_of

__all__ = [
    "CONV_TRANSPOSE1D",
    "CONV_TRANSPOSE2D",
    "CONV_TRANSPOSE3D",
    "CONV_TRANSPOSES",
    "OPS",
    "ConvTranspose",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "conv_transpose_of",
]


@dataclass(frozen=True, slots=True)
class ConvTranspose:
    """What transposed convolutions of every number of axes have."""

    strides: PerAxis
    pads: Borders
    dilations: PerAxis
    groups: int
    output_padding: PerAxis


@dataclass(frozen=True, slots=True)
class ConvTranspose1d(ConvTranspose):
    """The adjoint of conv1d in its input, plus optional bias. ONNX ConvTranspose; Dumoulin & Visin 2016, sec. 4.

    Shapes: x[N,C,L], w[C,O/groups,K], b[O] -> [N,O,L'] with L' = strides*(L-1) + output_padding + dilations*(K-1)+1 - before - after.
    """

    strides: tuple[int] = (1,)
    pads: Pair = (0, 0)
    dilations: tuple[int] = (1,)
    groups: int = 1
    output_padding: tuple[int] = (0,)


@dataclass(frozen=True, slots=True)
class ConvTranspose2d(ConvTranspose):
    """The adjoint of conv2d in its input, plus optional bias. ONNX ConvTranspose; Dumoulin & Visin 2016, sec. 4.

    Shapes: x[N,C,H,W], w[C,O/groups,KH,KW], b[O] -> [N,O,H',W'] with
    H' = strides*(H-1) + output_padding + dilations*(KH-1)+1 - top - bottom.
    """

    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1
    output_padding: Pair = (0, 0)


@dataclass(frozen=True, slots=True)
class ConvTranspose3d(ConvTranspose):
    """The adjoint of conv3d in its input, plus optional bias. ONNX ConvTranspose; Dumoulin & Visin 2016, sec. 4.

    Shapes: x[N,C,D,H,W], w[C,O/groups,KD,KH,KW], b[O] -> [N,O,D',H',W'], each axis as in conv_transpose2d.
    """

    strides: tuple[int, int, int] = (1, 1, 1)
    pads: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)
    dilations: tuple[int, int, int] = (1, 1, 1)
    groups: int = 1
    output_padding: tuple[int, int, int] = (0, 0, 0)


def infer_conv_transpose(op: ConvTranspose, x: TensorType, w: TensorType, b: TensorType | None = None) -> TensorType:
    """Raises: ShapeError on channel, bias, padding or size disagreement."""
    axes = len(op.strides)
    check_window(f"conv_transpose{axes}d", axes, op.strides, op.pads, op.dilations)
    need_rank("input", x, axes + 2)
    need_rank("weight", w, axes + 2)
    need_same_dtype(x, w, b)
    batch, c_in, *extents = x.shape
    w_in, per_group, *kernel = static("weight", w)
    if c_in != w_in:
        raise ShapeError(f"weight covers {w_in} channels, input has {c_in}; give a weight or an input of as many channels as the other has")
    if op.groups < 1 or w_in % op.groups:
        raise ShapeError(f"{w_in} input channels do not divide into {op.groups} groups")
    need_bias(b, per_group * op.groups)
    need_kernel(tuple(kernel))
    if any(not 0 <= extra < max(s, d) for extra, s, d in zip(op.output_padding, op.strides, op.dilations, strict=True)):
        raise ShapeError(f"output_padding {list(op.output_padding)} must be smaller than the stride or the dilation")
    sizes: list[Dim] = []
    for axis in range(axes):
        grown = (extents[axis] - 1) * op.strides[axis] + op.output_padding[axis] + dilated(kernel[axis], op.dilations[axis])
        size = grown - op.pads[axis] - op.pads[axis + axes]
        if isinstance(size, int) and size < 1:
            raise ShapeError(f"pads {list(op.pads)} crop the whole result of extent {grown}")
        sizes.append(size)
    return TensorType(x.dtype, (batch, per_group * op.groups, *sizes))


def conv_transpose(op: ConvTranspose, x: Array, w: Array, b: Array | None = None) -> Array:
    """Each input pixel adds its scaled kernel to the result: a product per kernel tap, then a strided sum."""
    batch, c_in, *sizes = x.shape
    _, per_group, *kernel = w.shape
    axes, c_out = len(sizes), per_group * op.groups
    grown = zip(sizes, op.strides, kernel, op.dilations, op.output_padding, strict=True)
    extents = [(size - 1) * stride + dilated(k, dilation) + extra for size, stride, k, dilation, extra in grown]
    full = np.zeros((batch, c_out, *extents), dtype=x.dtype)
    pixels = x.reshape(batch, op.groups, c_in // op.groups, math.prod(sizes))
    filters = w.reshape(op.groups, c_in // op.groups, per_group, *kernel)
    for place in taps_of(kernel):
        tap = np.ascontiguousarray(filters[(..., *place)].transpose(0, 2, 1))
        part = np.matmul(tap, pixels).reshape(batch, c_out, *sizes)
        starts = [k * dilation for k, dilation in zip(place, op.dilations, strict=True)]
        reached = (slice(at, at + stride * size, stride) for at, stride, size in zip(starts, op.strides, sizes, strict=True))
        full[(slice(None), slice(None), *reached)] += part
    kept = (slice(op.pads[axis], extents[axis] - op.pads[axis + axes]) for axis in range(axes))
    y = np.ascontiguousarray(full[(slice(None), slice(None), *kept)])
    if b is not None:
        y += by_channel(b, axes)
    return y


def conv_transpose_magnitude(op: ConvTranspose, x: Array, w: Array, b: Array | None = None) -> Array:
    return conv_transpose(op, abs(x), abs(w), None if b is None else abs(b))


def conv_transpose_arithmetic(op: ConvTranspose, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    _, per_group, *kernel = inputs[1].shape
    macs = product_of(inputs[0].numel * per_group, kernel)
    return macs, macs * 2 + (out.numel if len(inputs) > 2 else 0)


def conv_transpose_roundings(op: ConvTranspose, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """A product per tap and channel of the group, and the bias."""
    c_in, _, *kernel = inputs[1].shape
    return product_of(c_in // op.groups, kernel) + 1


def conv_transpose_input_gradient(op: ConvTranspose, g: Term, y: Term, x: Term, w: Term, *bias: Term) -> Term:
    """The convolution that it is the adjoint of; an output padding of a stride or more, which a dilation allows, has windows of its own."""
    read = g.op(f"conv{g.rank - 2}d", w, strides=op.strides, pads=op.pads, dilations=op.dilations, groups=op.groups)
    for axis, size in enumerate(x.shape[2:], 2):
        read = read.cut(axis, 0, size)
    return read


def conv_transpose_weight_gradient(op: ConvTranspose, g: Term, y: Term, x: Term, w: Term, *bias: Term) -> Term:
    """That of the convolution which it is the adjoint of: operand and result change places."""
    axes, after, read = len(op.strides), list[int](), g
    for axis, (extra, stride) in enumerate(zip(op.output_padding, op.strides, strict=True)):
        beyond = extra // stride * stride - op.pads[axis + axes]  # an output padding of a stride or more has windows of no pixel
        after.append(max(0, -beyond) if extra >= stride else op.pads[axis + axes])
        read = read.cut(2 + axis, 0, g.shape[2 + axis] - (max(0, beyond) if extra >= stride else 0))
    return weight_gradient(replace(op, pads=(*op.pads[:axes], *after)), read, x, w)


GRADIENT = (conv_transpose_input_gradient, conv_transpose_weight_gradient, conv_bias_gradient)


def _conv_transpose(name: str, Attrs: type[Any]) -> OpDef[Any]:
    rules = (infer_conv_transpose, conv_transpose, conv_transpose_arithmetic, conv_transpose_magnitude, conv_transpose_roundings)
    # a pixel is read again after results near it have been written
    return OpDef(name, Attrs, (2, 3), *rules, facts=Facts(narrow=gains), gradient=GRADIENT)


# By the number of axes, from one on.
CONV_TRANSPOSES = CONV_TRANSPOSE1D, CONV_TRANSPOSE2D, CONV_TRANSPOSE3D = (
    _conv_transpose("conv_transpose1d", ConvTranspose1d),
    _conv_transpose("conv_transpose2d", ConvTranspose2d),
    _conv_transpose("conv_transpose3d", ConvTranspose3d),
)
OPS = CONV_TRANSPOSES


def conv_transpose_of(node: Computed) -> ConvTranspose:
    """The attributes of a transposed convolution over however many axes.

    Raises: TypeError for a node of another kind, which is a fault in the caller.
    """
    if node.kind not in CONV_TRANSPOSES:
        raise TypeError(f"{node.where} is not a transposed convolution")
    return node.op
