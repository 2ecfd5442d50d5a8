"""Gradients of convolutions by their weights over one axis, two or three: of any number of images. Channels are on axis 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef
from ..terms import Term
from ..types import Array, TensorType
from .adjoint import spread
from .check import need_float, need_rank, need_same_dtype, static
from .conv import product_of
from .window import Borders, Pads, Pair, PerAxis, check_window, dilated, need_kernel, pad_spatial, taps_of, window_count

__all__ = [
    "CONV1D_WEIGHT_GRADIENT",
    "CONV2D_WEIGHT_GRADIENT",
    "CONV3D_WEIGHT_GRADIENT",
    "CONV_WEIGHT_GRADIENTS",
    "OPS",
    "Conv1dWeightGradient",
    "Conv2dWeightGradient",
    "Conv3dWeightGradient",
    "ConvWeightGradient",
    "by_taps",
]


@dataclass(frozen=True, slots=True)
class ConvWeightGradient:
    """What weight gradients of every number of axes have: the window of the convolution, and its kernel."""

    kernel: PerAxis
    strides: PerAxis
    pads: Borders
    dilations: PerAxis
    groups: int


@dataclass(frozen=True, slots=True)
class Conv1dWeightGradient(ConvWeightGradient):
    """What conv1d(x, w) adds to a loss as w changes, if it adds g as its result does. LeCun et al. 1998, sec. II; no operator of ONNX.

    Shapes: x[N,C,L], g[N,O,L'] -> [O,C/groups,K]. The window is that of the convolution.
    """

    kernel: tuple[int]
    strides: tuple[int] = (1,)
    pads: Pair = (0, 0)
    dilations: tuple[int] = (1,)
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Conv2dWeightGradient(ConvWeightGradient):
    """What conv2d(x, w) adds to a loss as w changes, if it adds g as its result does. LeCun et al. 1998, sec. II; no operator of ONNX.

    Each tap has the sum over images and windows of g times what the window had there.
    Shapes: x[N,C,H,W], g[N,O,H',W'] -> [O,C/groups,KH,KW]. The window is that of the convolution.
    """

    kernel: Pair
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True, slots=True)
class Conv3dWeightGradient(ConvWeightGradient):
    """What conv3d(x, w) adds to a loss as w changes, if it adds g as its result does. LeCun et al. 1998, sec. II; no operator of ONNX.

    Shapes: x[N,C,D,H,W], g[N,O,D',H',W'] -> [O,C/groups,KD,KH,KW]. The window is that of the convolution.
    """

    kernel: tuple[int, int, int]
    strides: tuple[int, int, int] = (1, 1, 1)
    pads: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)
    dilations: tuple[int, int, int] = (1, 1, 1)
    groups: int = 1


def infer_weight_gradient(op: ConvWeightGradient, x: TensorType, g: TensorType) -> TensorType:
    """Raises: ShapeError unless g is of as many images as x, and of as many places as x has windows; or for channels without a number."""
    axes = len(op.strides)
    check_window(f"conv{axes}d_weight_gradient", axes, op.strides, op.pads, op.dilations)
    need_rank("input", x, axes + 2)
    need_rank("gradient", g, axes + 2)
    need_float(x)
    need_same_dtype(x, g)
    if len(op.kernel) != axes:
        raise ShapeError(f"kernel {list(op.kernel)} must be {axes} numbers, for {axes} axes")
    need_kernel(op.kernel)
    c_in, c_out = static("channels", TensorType(x.dtype, (x.shape[1], g.shape[1])))
    if op.groups < 1 or c_in % op.groups or c_out % op.groups:
        raise ShapeError(f"{c_in} channels and {c_out} filters do not divide into {op.groups} groups")
    ends = zip(x.shape[2:], op.kernel, op.strides, op.dilations, op.pads[:axes], op.pads[axes:], strict=True)
    windows = (x.shape[0], *(window_count(size, dilated(k, d), stride, b, a) for size, k, stride, d, b, a in ends))
    if (g.shape[0], *g.shape[2:]) != windows:
        raise ShapeError(f"gradient is {g}, expected {windows[0]} images of {'x'.join(map(str, windows[1:]))} windows, as {x} has")
    return TensorType(x.dtype, (c_out, c_in // op.groups, *op.kernel))


def weight_gradient(op: ConvWeightGradient, x: Array, g: Array) -> Array:
    """A product for each tap, over all images and places at once."""
    padded, out, axes = pad_spatial(x, op.pads), g.shape[2:], len(op.kernel)
    c_in, c_out = x.shape[1] // op.groups, g.shape[1] // op.groups
    last = (1, 2, 0, *range(3, axes + 3))  # images beside places
    terms = x.shape[0] * math.prod(out)
    wanted = g.reshape(g.shape[0], op.groups, c_out, *out).transpose(last).reshape(op.groups, c_out, terms)
    found = np.empty((op.groups, c_out, c_in, *op.kernel), x.dtype)
    for tap in taps_of(op.kernel):
        starts = [place * dilation for place, dilation in zip(tap, op.dilations, strict=True)]
        read = (slice(at, at + (count - 1) * step + 1, step) for at, count, step in zip(starts, out, op.strides, strict=True))
        had = padded[(slice(None), slice(None), *read)].reshape(x.shape[0], op.groups, c_in, *out).transpose(last)
        found[(..., *tap)] = np.matmul(wanted, had.reshape(op.groups, c_in, terms).transpose(0, 2, 1))
    return found.reshape(g.shape[1], c_in, *op.kernel)


def weight_gradient_magnitude(op: ConvWeightGradient, x: Array, g: Array) -> Array:
    return weight_gradient(op, abs(x), abs(g))


def weight_gradient_arithmetic(op: ConvWeightGradient, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    macs = out.numel * _terms(inputs[1])
    return macs, macs * 2


def weight_gradient_roundings(op: ConvWeightGradient, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return _terms(inputs[1]) + 1


def _terms(g: TensorType) -> Dim:
    """Images times windows: of as many products is each sum."""
    return product_of(g.shape[0], g.shape[2:])


def input_gradient(op: ConvWeightGradient, g: Term, y: Term, x: Term, of_result: Term) -> Term:
    """It is linear in x, as the convolution is in its weights: that one's way back, with what is to be added for weights."""
    return spread(of_result, g, op.strides, op.pads, op.dilations, op.groups, x.shape[2:])


def result_gradient(op: ConvWeightGradient, g: Term, y: Term, x: Term, of_result: Term) -> Term:
    return x.op(f"conv{len(op.kernel)}d", g, strides=op.strides, pads=op.pads, dilations=op.dilations, groups=op.groups)


def by_taps(op: ConvWeightGradient, x: Term, g: Term) -> Term:
    """In other ops, for those who have no such: tap by tap a product for each image, and the sum over images."""
    batch, axes, out = x.shape[0], len(op.kernel), g.shape[2:]
    c_in, c_out = static("channels", TensorType(x.type.dtype, (x.shape[1], g.shape[1])))
    per_group, places = c_in // op.groups, product_of(1, out)
    padded = x.pad((0, 0, *op.pads[:axes]), (0, 0, *op.pads[axes:]))
    wanted = g.reshape(batch, op.groups, c_out // op.groups, places)
    taps: list[Term] = []
    for place in taps_of(op.kernel):
        read = padded
        for axis, tap in enumerate(place):
            start = tap * op.dilations[axis]
            read = read.cut(2 + axis, start, start + (out[axis] - 1) * op.strides[axis] + 1, op.strides[axis])
        had = read.reshape(batch, op.groups, per_group, places).transpose(0, 1, 3, 2)
        taps.append(wanted.op("matmul", had).sum(0).reshape(c_out, per_group, 1))
    whole = taps[0] if len(taps) == 1 else taps[0].op("concat", *taps[1:], axis=2)
    return whole.reshape(c_out, per_group, *op.kernel)


def _weight_gradient(name: str, Attrs: type[Any]) -> OpDef[Any]:
    rules = (infer_weight_gradient, weight_gradient, weight_gradient_arithmetic, weight_gradient_magnitude, weight_gradient_roundings)
    return OpDef(name, Attrs, (2, 2), *rules, facts=Facts(), gradient=(input_gradient, result_gradient))


# By the number of axes, from one on.
CONV_WEIGHT_GRADIENTS = CONV1D_WEIGHT_GRADIENT, CONV2D_WEIGHT_GRADIENT, CONV3D_WEIGHT_GRADIENT = (
    _weight_gradient("conv1d_weight_gradient", Conv1dWeightGradient),
    _weight_gradient("conv2d_weight_gradient", Conv2dWeightGradient),
    _weight_gradient("conv3d_weight_gradient", Conv3dWeightGradient),
)
OPS = CONV_WEIGHT_GRADIENTS
