"""Ops that move, repeat or count values by a rule: depth_to_space, space_to_depth, center_crop_pad, expand, tile, range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts, follows, is_same_type
from ..op import OpDef, elementwise_cost, no_rounding, rounded
from ..terms import Term, of_one, of_two
from ..types import MAX_RANK, Array, TensorType
from .adjoint import stepped
from .check import broadcast, need_axis, need_rank, need_same_dtype

__all__ = [
    "CENTER_CROP_PAD",
    "DEPTH_TO_SPACE",
    "EXPAND",
    "OPS",
    "RANGE",
    "SPACE_TO_DEPTH",
    "TILE",
    "CenterCropPad",
    "DepthToSpace",
    "Expand",
    "Range",
    "SpaceToDepth",
    "Tile",
]


@dataclass(frozen=True, slots=True)
class DepthToSpace:
    """Channels to a `block` by `block` square of pixels; `mode` says whether the place in the block (DCR) or the channel
    (CRD, a pixel shuffle) is the slower index. Shi et al. 2016; ONNX DepthToSpace. Shapes: x[N,C*b*b,H,W] -> [N,C,H*b,W*b].
    """

    block: int
    mode: str = "DCR"


@dataclass(frozen=True, slots=True)
class SpaceToDepth:
    """Squares of pixels to channels, the place in the block slower: undoes depth_to_space DCR. ONNX SpaceToDepth.

    Shapes: x[N,C,H*b,W*b] -> [N,b*b*C,H,W].
    """

    block: int


@dataclass(frozen=True, slots=True)
class CenterCropPad:
    """The middle of x along each of `axes`, as many elements as `shape` says, or x in the middle of that many, with zeros around it.

    Of an odd number that go or come the larger half is after x. ONNX CenterCropPad; no axes mean all of them.
    """

    shape: tuple[Dim, ...]
    axes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Expand:
    """x broadcast against `shape`, both ways: a 1 in `shape` keeps the dimension of x. ONNX Expand."""

    shape: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """x repeated `repeats[i]` times along axis i. ONNX Tile."""

    repeats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """start, start + delta, and so on: `count` numbers. ONNX Range, whose limit is start + count * delta.

    Shapes: start[], delta[] -> [count].
    """

    count: Dim


def infer_depth_to_space(op: DepthToSpace, x: TensorType) -> TensorType:
    """Raises: ShapeError for an unknown mode, or channels that are no multiple of the block's pixels."""
    need_rank("input", x, 4)
    _need_block(op.block)
    if op.mode not in ("DCR", "CRD"):
        raise ShapeError(f"unknown mode '{op.mode}'; known are DCR, CRD")
    n, c, rows, cols = x.shape
    channels = _divided("channels", c, op.block * op.block)
    return TensorType(x.dtype, (n, channels, rows * op.block, cols * op.block))


def infer_space_to_depth(op: SpaceToDepth, x: TensorType) -> TensorType:
    """Raises: ShapeError unless rows and columns are multiples of the block."""
    need_rank("input", x, 4)
    _need_block(op.block)
    n, c, rows, cols = x.shape
    return TensorType(x.dtype, (n, c * (op.block * op.block), _divided("rows", rows, op.block), _divided("columns", cols, op.block)))


def _need_block(block: int) -> None:
    if block < 1:
        raise ShapeError(f"block {block} must be at least 1")


def _divided(what: str, size: Dim, by: int) -> Dim:
    quotient = size // by
    if quotient * by != size:
        hint = "" if isinstance(size, int) else " for every value of its names; give them values, or a multiple"
        raise ShapeError(f"{size} {what} do not divide by {by}{hint}")
    return quotient


def infer_center_crop_pad(op: CenterCropPad, x: TensorType) -> TensorType:
    """Raises: ShapeError unless there is one size that is not negative for each axis, none of them twice."""
    axes = _centred_axes(op, x.rank)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"axes {list(op.axes)} name an axis twice")
    if len(op.shape) != len(axes):
        raise ShapeError(f"it has {len(op.shape)} sizes, expected one for each of {len(axes)} axes")
    for dim in op.shape:
        if isinstance(dim, int) and dim < 0:
            raise ShapeError(f"crop to a dimension of {dim}")
    sizes = dict(zip(axes, op.shape, strict=True))
    return TensorType(x.dtype, tuple(sizes.get(axis, dim) for axis, dim in enumerate(x.shape)))


def _centred_axes(op: CenterCropPad, rank: int) -> tuple[int, ...]:
    return tuple(need_axis(axis, rank) for axis in op.axes) or tuple(range(rank))


def infer_expand(op: Expand, x: TensorType) -> TensorType:
    """Raises: ShapeError for a negative dimension, too many axes, or shapes that do not broadcast."""
    if len(op.shape) > MAX_RANK:
        raise ShapeError(f"expand to {len(op.shape)} axes; at most {MAX_RANK} are supported")
    for dim in op.shape:
        if isinstance(dim, int) and dim < 0:
            raise ShapeError(f"expand to a dimension of {dim}")
    return TensorType(x.dtype, broadcast(x, TensorType(x.dtype, op.shape)))


def infer_tile(op: Tile, x: TensorType) -> TensorType:
    """Raises: ShapeError unless there is one repeat of at least 1 for each axis."""
    if len(op.repeats) != x.rank:
        raise ShapeError(f"tile has {len(op.repeats)} repeats, expected one for each of {x.rank} axes")
    if min(op.repeats, default=1) < 1:
        raise ShapeError(f"repeats {list(op.repeats)} must be at least 1")
    return TensorType(x.dtype, tuple(dim * times for dim, times in zip(x.shape, op.repeats, strict=True)))


def infer_range(op: Range, start: TensorType, delta: TensorType) -> TensorType:
    """Raises: ShapeError unless start and delta are single numbers of one type, and `count` is not negative."""
    need_rank("start", start, 0)
    need_rank("delta", delta, 0)
    need_same_dtype(start, delta)
    if start.dtype == "bool":
        raise ShapeError(f"range from {start}; expected a number")
    if isinstance(op.count, int) and op.count < 0:
        raise ShapeError(f"range of {op.count} numbers")
    return TensorType(start.dtype, (op.count,))


def depth_to_space(op: DepthToSpace, x: Array) -> Array:
    n, c, rows, cols = x.shape
    b, channels = op.block, c // (op.block * op.block)
    if op.mode == "DCR":
        parts = x.reshape(n, b, b, channels, rows, cols).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, channels, b, b, rows, cols).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, channels, rows * b, cols * b)


def space_to_depth(op: SpaceToDepth, x: Array) -> Array:
    n, c, rows, cols = x.shape
    b = op.block
    parts = x.reshape(n, c, rows // b, b, cols // b, b).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * b * b, rows // b, cols // b)


def center_crop_pad(op: CenterCropPad, x: Array) -> Array:
    """The interpreter has put numbers for named sizes before it calls this."""
    shape, taken, filled = list(x.shape), [slice(None)] * x.ndim, [slice(None)] * x.ndim
    for axis, size in zip(_centred_axes(op, x.ndim), op.shape, strict=True):
        assert isinstance(size, int)
        kept, shape[axis] = min(size, x.shape[axis]), size
        taken[axis], filled[axis] = (slice((whole - kept) // 2, (whole - kept) // 2 + kept) for whole in (x.shape[axis], size))
    y = np.zeros(shape, x.dtype)
    y[tuple(filled)] = x[tuple(taken)]
    return y


def expand(op: Expand, x: Array) -> Array:
    """The interpreter has put numbers for named sizes before it calls this."""
    shape = tuple(dim if isinstance(dim, int) else 1 for dim in op.shape)
    return np.array(np.broadcast_to(x, np.broadcast_shapes(x.shape, shape)), order="C")


def tile(op: Tile, x: Array) -> Array:
    return np.tile(x, op.repeats)


def range_(op: Range, start: Array, delta: Array) -> Array:
    """The interpreter has put a number for `count` before it calls this."""
    assert isinstance(op.count, int)
    return start + np.arange(op.count).astype(start.dtype) * delta


def range_magnitude(op: Range, start: Array, delta: Array) -> Array:
    return range_(op, abs(start), abs(delta))


def depth_to_space_gradient(op: DepthToSpace, g: Term, y: Term, x: Term) -> Term:
    if op.mode == "DCR":
        return g.op("space_to_depth", block=op.block)
    (n, c, _, _), (_, _, rows, cols), b = y.shape, x.shape, op.block
    return g.reshape(n, c, rows, b, cols, b).transpose(0, 1, 3, 5, 2, 4).reshape(*x.shape)


def center_crop_pad_gradient(op: CenterCropPad, g: Term, y: Term, x: Term) -> Term:
    """What was kept has it, and zeros are around that."""
    for axis, size in zip(_centred_axes(op, x.rank), op.shape, strict=True):
        whole = x.shape[axis]
        if size == whole:
            continue
        if not isinstance(size, int) or not isinstance(whole, int):
            raise ShapeError(f"whether axis {axis} of {whole} is cut or padded to {size} depends on a named size")
        kept = min(size, whole)
        first = (size - kept) // 2
        g = stepped(g.cut(axis, first, first + kept), axis, (whole - kept) // 2, 1, whole)
    return g


def tile_gradient(op: Tile, g: Term, y: Term, x: Term) -> Term:
    for axis, (times, size) in enumerate(zip(op.repeats, x.shape, strict=True)):
        if times > 1:
            g = g.reshape(*g.shape[:axis], times, size, *g.shape[axis + 1 :]).sum(axis)
    return g


def _counted(op: Range, g: Term) -> Term:
    return g.number(0).op("range", 1, count=op.count)


# Elements go to places that have not been read yet, so none lies in place.
MOVED: Facts[object] = Facts(identity=is_same_type, narrow=follows)

DEPTH_TO_SPACE = OpDef(
    "depth_to_space",
    DepthToSpace,
    (1, 1),
    infer_depth_to_space,
    depth_to_space,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=MOVED,
    gradient=(depth_to_space_gradient,),
)
SPACE_TO_DEPTH = OpDef(
    "space_to_depth",
    SpaceToDepth,
    (1, 1),
    infer_space_to_depth,
    space_to_depth,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=MOVED,
    gradient=of_one(lambda op, g, y, x: g.op("depth_to_space", block=op.block)),
)
CENTER_CROP_PAD = OpDef(
    "center_crop_pad",
    CenterCropPad,
    (1, 1),
    infer_center_crop_pad,
    center_crop_pad,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(identity=is_same_type, narrow=follows, sizes=("shape",)),
    gradient=(center_crop_pad_gradient,),
)
EXPAND = OpDef(
    "expand",
    Expand,
    (1, 1),
    infer_expand,
    expand,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(identity=is_same_type, narrow=follows, sizes=("shape",)),
    gradient=of_one(lambda op, g, y, x: g.fit(x)),
)
TILE = OpDef(
    "tile",
    Tile,
    (1, 1),
    infer_tile,
    tile,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=MOVED,
    gradient=(tile_gradient,),
)
RANGE = OpDef(
    "range",
    Range,
    (2, 2),
    infer_range,
    range_,
    elementwise_cost(2),
    range_magnitude,
    rounded(2),
    facts=Facts(sizes=("count",)),
    gradient=of_two(lambda op, g, y, start, delta: g.sum(0), lambda op, g, y, start, delta: (g * _counted(op, g)).sum(0)),
)
OPS = (DEPTH_TO_SPACE, SPACE_TO_DEPTH, CENTER_CROP_PAD, EXPAND, TILE, RANGE)
