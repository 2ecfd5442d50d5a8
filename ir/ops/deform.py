"""Convolutions whose taps lie where another value says: deform_conv2d. Channels are on axis 1."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef
from ..terms import NoGradient
from ..types import Array, TensorType
from .check import need_float, need_rank, need_same_dtype, static
from .conv import Conv2d, infer_conv
from .window import Pads, Pair, taps_of

__all__ = ["DEFORM_CONV2D", "OPS", "OPTIONAL", "DeformConv2d", "given_operands"]

OPTIONAL = ("bias", "mask")  # in this order


@dataclass(frozen=True, slots=True)
class DeformConv2d:
    """A convolution whose taps are moved, each by an offset, and weighed by a mask. Dai et al. 2017; Zhu et al. 2019; ONNX DeformConv.

    A tap between pixels is blended of the four around it; what lies outside is zero. Channels form `offset_groups`, each with offsets of
    its own: (row, column) for every tap in row-major order. `given` names operands that follow, in order: bias[O], mask.
    Shapes: x[N,C,H,W], w[O,C/groups,KH,KW], offset[N,G*KH*KW*2,H',W'], mask[N,G*KH*KW,H',W'] -> [N,O,H',W'] for G offset groups.
    """

    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1
    offset_groups: int = 1
    given: tuple[str, ...] = ()


def given_operands(op: DeformConv2d, operands: Sequence[Any]) -> Mapping[str, Any]:
    """The optional operands by name."""
    return dict(zip(op.given, operands, strict=True))


def infer_deform_conv(op: DeformConv2d, x: TensorType, w: TensorType, offset: TensorType, *more: TensorType) -> TensorType:
    """Raises: ShapeError as conv2d, or for offsets or a mask that are not one for each tap of each window."""
    if op.given not in ((), *((name,) for name in OPTIONAL), OPTIONAL) or len(more) != len(op.given):
        raise ShapeError(f"given {list(op.given)} for {len(more)} operands more; known are {', '.join(OPTIONAL)}, in this order")
    need_rank("input", x, 4)
    need_float(x)
    need_same_dtype(x, offset, *more)
    given = given_operands(op, more)
    out = infer_conv(Conv2d(op.strides, op.pads, op.dilations, op.groups), x, w, given.get("bias"))
    channels, (_, _, rows, cols) = x.shape[1], static("weight", w)
    if op.offset_groups < 1 or not isinstance(channels, int) or channels % op.offset_groups:
        raise ShapeError(f"{channels} channels do not divide into {op.offset_groups} offset groups")
    for what, type_, count in (("offset", offset, 2), ("mask", given.get("mask", None), 1)):
        wanted = (x.shape[0], op.offset_groups * rows * cols * count, *out.shape[2:])
        if type_ is not None and type_.shape != wanted:
            raise ShapeError(f"{what} is {type_}, expected {TensorType(x.dtype, wanted)}: {count} for each tap of each window")
    return out


def deform_conv(op: DeformConv2d, x: Array, w: Array, offset: Array, *more: Array) -> Array:
    """Tap by tap: what it reads of all channels, then a product with its weights."""
    given = given_operands(op, more)
    y = np.zeros((x.shape[0], w.shape[0], *offset.shape[2:]), x.dtype)
    for at, places in _taps(op, w, offset):
        y += _product(op, w[(..., *at)], _masked(op, _read(op, x, places), w, at, given))
    return y if "bias" not in given else y + given["bias"][:, None, None]


Places = list[tuple[Array, Array]]  # of each offset group, rows and columns [N,H',W']


def _taps(op: DeformConv2d, w: Array, offset: Array) -> Iterator[tuple[Pair, Places]]:
    """Each tap of the kernel, and where it lies."""
    starts = [_every(n) * step - before for n, step, before in zip(offset.shape[2:], op.strides, op.pads[:2], strict=True)]
    for i, j in taps_of(w.shape[2:]):
        rows, cols = (starts[0] + i * op.dilations[0])[:, None], (starts[1] + j * op.dilations[1])[None, :]
        numbers = [2 * number for number in _numbers(op, w, (i, j))]
        yield (i, j), [(rows + offset[:, k], cols + offset[:, k + 1]) for k in numbers]


def _numbers(op: DeformConv2d, w: Array, at: Pair) -> list[int]:
    """How a tap counts in each offset group."""
    rows, cols = w.shape[2:]
    return [(group * rows + at[0]) * cols + at[1] for group in range(op.offset_groups)]


def _read(op: DeformConv2d, x: Array, places: Places) -> Array:
    """[N,C,H',W']: each offset group's channels at its places."""
    groups = np.split(np.moveaxis(x, 1, -1), op.offset_groups, axis=-1)
    read = [_blended(group, rows, cols) for group, (rows, cols) in zip(groups, places, strict=True)]
    return np.moveaxis(np.concatenate(read, axis=-1), -1, 1)


def _blended(x: Array, rows: Array, cols: Array) -> Array:
    """x[N,H,W,C] at places between its pixels."""
    images = _every(x.shape[0])
    total: Array = np.zeros((*rows.shape, x.shape[-1]), x.dtype)
    if 0 in x.shape[1:3]:  # no pixel that an index could be held to
        return total
    for (row, v), (col, u) in itertools.product(_pair(rows, x.shape[1]), _pair(cols, x.shape[2])):
        total = total + x[images[:, None, None], row, col] * (v * u).astype(x.dtype)[..., None]
    return total


def _every(count: int) -> Array:
    numbers: Array = np.arange(count)
    return numbers


def _pair(at: Array, size: int) -> list[tuple[Array, Array]]:
    """The two pixels around a place on one axis, and what they weigh; one outside weighs nothing."""
    at = np.clip(np.where(np.isnan(at), -1, at), -1, size)  # beyond these nothing is
    low = np.floor(at)
    part = at - low
    ends = ((low, 1 - part), (low + 1, part))
    return [(np.clip(i, 0, size - 1).astype(np.int64), np.where((i < 0) | (i >= size), 0, weight)) for i, weight in ends]


def _masked(op: DeformConv2d, read: Array, w: Array, at: Pair, given: Mapping[str, Array]) -> Array:
    if "mask" not in given:
        return read
    mask = given["mask"][:, _numbers(op, w, at)]  # [N,G,H',W']
    return read * np.repeat(mask, read.shape[1] // op.offset_groups, axis=1)


def _product(op: DeformConv2d, w: Array, read: Array) -> Array:
    """One tap's weights [O,C/groups] times what it read [N,C,H',W']."""
    (images, channels, *out), filters = read.shape, w.shape[0]
    columns = read.reshape(images, op.groups, channels // op.groups, math.prod(out))
    product = np.matmul(w.reshape(op.groups, filters // op.groups, -1), columns)
    return product.reshape(images, filters, *out)


def deform_magnitude(op: DeformConv2d, x: Array, w: Array, offset: Array, *more: Array) -> Array:
    """A place is rounded as a number of its size is, and moves what is read by as much as neighbours differ: at most twice the greatest."""
    given = {name: abs(value) for name, value in given_operands(op, more).items()}
    greatest = abs(x).max(axis=(2, 3), initial=0)[:, :, None, None]
    most, w = np.array(x.shape[2:]) + 1, abs(w)
    y = np.zeros((x.shape[0], w.shape[0], *offset.shape[2:]), x.dtype)
    for at, places in _taps(op, w, offset):
        reach = [sum(np.minimum(np.nan_to_num(abs(p)), n) for p, n in zip(place, most, strict=True)) for place in places]
        spread = np.repeat(np.stack(reach, axis=1), x.shape[1] // op.offset_groups, axis=1)
        y += _product(op, w[(..., *at)], _masked(op, greatest * (4 + 2 * spread), w, at, given))
    return y if "bias" not in given else y + given["bias"][:, None, None]


def deform_arithmetic(op: DeformConv2d, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    """A product as of conv2d; for each channel and tap four pixels blended, and weighed by the mask."""
    _, per_group, rows, cols = static("weight", inputs[1])
    macs = out.numel * (per_group * rows * cols)
    read = inputs[2].shape[0] * inputs[0].shape[1] * (rows * cols) * out.shape[2] * out.shape[3]
    bias = out.numel if "bias" in op.given else 0
    return macs, macs * 2 + read * (8 if "mask" in op.given else 7) + bias


def deform_roundings(op: DeformConv2d, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return math.prod(static("weight", inputs[1])[1:]) + 16


NO_GRADIENT = NoGradient("where it reads depends on its offsets, and the way back there is not written")

DEFORM_CONV2D = OpDef(
    "deform_conv2d",
    DeformConv2d,
    (3, 5),
    infer_deform_conv,
    deform_conv,
    deform_arithmetic,
    deform_magnitude,
    deform_roundings,
    facts=Facts(),
    gradient=NO_GRADIENT,
)
OPS = (DEFORM_CONV2D,)
