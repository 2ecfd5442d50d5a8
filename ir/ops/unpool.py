"""Where a max pool found its values, and values put back there: max_pool_indices, max_unpool. Channels are on axis 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef, elementwise_cost, no_rounding
from ..terms import Term, where
from ..types import Array, TensorType
from .check import need_float
from .pool import MaxPool, fill_window, infer_pool, max_pool, pool_arithmetic, windows_of
from .window import MOST_AXES, Borders, PerAxis, check_window, need_kernel, taps_of

__all__ = ["MAX_POOL_INDICES", "MAX_UNPOOL", "OPS", "MaxPoolIndices", "MaxUnpool", "may_be_greatest", "values_pool"]


@dataclass(frozen=True, slots=True)
class MaxPoolIndices:
    """The places of the values that a max_pool of these windows returns. ONNX MaxPool, second result.

    A place counts all elements of x before it, images and channels too, in row-major order, or with `column_major` each channel's in
    the reverse order of its axes. Of equals, and of NaNs, the first in row-major order. Shapes: x[N,C,H,W] -> i64[N,C,H',W'].
    """

    kernel: PerAxis
    strides: PerAxis = ()
    pads: Borders = ()
    dilations: PerAxis = ()
    ceil_mode: bool = False
    column_major: bool = False

    def __post_init__(self) -> None:
        fill_window(self)


@dataclass(frozen=True, slots=True)
class MaxUnpool:
    """x at the places that `indices` name, zeros elsewhere: what a max pool left, put back. Zeiler & Fergus 2014, sec. 2.1; ONNX MaxUnpool.

    Places count the elements of the result in row-major order. Its size is what such a window makes x's of, or `sizes`. Of several
    values for one place the last stays. A place beyond the result is refused by the reference; a compiled kernel writes the nearest.
    Shapes: x[N,C,H,W], indices i64[N,C,H,W] -> [N,C,H',W'], and over one axis or three likewise.
    """

    kernel: PerAxis
    strides: PerAxis = ()
    pads: Borders = ()
    sizes: tuple[Dim, ...] = ()

    def __post_init__(self) -> None:
        fill_window(self)


def values_pool(op: MaxPoolIndices) -> MaxPool:
    """The pool whose values lie at these places."""
    return MaxPool(op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode)


def infer_indices(op: MaxPoolIndices, x: TensorType) -> TensorType:
    """Raises: ShapeError as max_pool, or for taps so far apart that a window may lie in the padding alone, where no place is."""
    out = infer_pool(values_pool(op), x)
    for axis, (size, dilation) in enumerate(zip(x.shape[2:], op.dilations, strict=True)):
        if isinstance(size, int) and op.pads[axis] and size < dilation:
            raise ShapeError(
                f"input is {x}, and taps {dilation} apart may straddle the {size} of axis {2 + axis}; such a window has no place"
            )
    return TensorType("i64", out.shape)


def infer_unpool(op: MaxUnpool, x: TensorType, indices: TensorType) -> TensorType:
    """Raises: ShapeError for a place too many or too few, or a size that is none."""
    axes = len(op.kernel)
    if not 1 <= axes <= MOST_AXES or x.rank != axes + 2:
        raise ShapeError(f"kernel {list(op.kernel)} has {axes} axes for an input of {x}; windows have 1 to {MOST_AXES}, the input two more")
    check_window("unpool", axes, op.strides, op.pads, (1,) * axes)
    need_float(x)
    need_kernel(op.kernel)
    if indices != TensorType("i64", x.shape):
        raise ShapeError(f"indices are {indices}, expected a place for each value, {TensorType('i64', x.shape)}")
    if len(op.sizes) not in (0, axes):
        raise ShapeError(f"sizes {list(map(str, op.sizes))} must be {axes} numbers, for {axes} axes")
    sizes = op.sizes or _sizes(op, x.shape[2:])
    if any(isinstance(size, int) and size < 1 for size in sizes):
        raise ShapeError(f"sizes {list(map(str, sizes))} must be at least 1")
    return TensorType(x.dtype, (*x.shape[:2], *sizes))


def _sizes(op: MaxUnpool, pooled: Sequence[Dim]) -> tuple[Dim, ...]:
    axes = len(op.kernel)
    ends = zip(pooled, op.kernel, op.strides, op.pads[:axes], op.pads[axes:], strict=True)
    return tuple((count - 1) * stride + kernel - before - after for count, kernel, stride, before, after in ends)


def max_pool_indices(op: MaxPoolIndices, x: Array) -> Array:
    """Tap by tap, as max_pool: a later one wins if it is greater, or the first NaN."""
    axes, sizes = len(op.kernel), x.shape[2:]
    windows, places = windows_of(op, x, -np.inf), windows_of(op, _places(sizes, column_major=op.column_major), -1)
    best = np.full(windows.shape[: axes + 2], -np.inf, x.dtype)
    found = np.full(best.shape, -1, np.int64)
    for tap in taps_of(op.kernel):
        value, place = windows[(..., *tap)], places[(..., *tap)]
        is_better = (place >= 0) & ((found < 0) | (value > best) | (np.isnan(value) & ~np.isnan(best)))
        best, found = np.where(is_better, value, best), np.where(is_better, place, found)
    return found + _before(x)


def may_be_greatest(op: MaxPoolIndices, low: Array, high: Array, places: Array) -> Array:
    """Whether each of `places` is one of its window's and may hold the greatest value, if values lie between `low` and `high`."""
    windows, known = windows_of(op, high, -np.inf), windows_of(op, _places(high.shape[2:], column_major=op.column_major), -1)
    least, own = max_pool(values_pool(op), low), places - _before(high)
    found = np.zeros(least.shape, bool)
    for tap in taps_of(op.kernel):
        found |= (known[(..., *tap)] == own) & (windows[(..., *tap)] >= least)
    return found


def _before(x: Array) -> Array:
    """How many elements stand before each channel."""
    count: Array = np.arange(math.prod(x.shape[:2]), dtype=np.int64) * math.prod(x.shape[2:])
    return count.reshape(*x.shape[:2], *(1,) * (x.ndim - 2))


def _places(sizes: tuple[int, ...], *, column_major: bool) -> Array:
    """Of one channel, [1,1,*sizes]."""
    count: Array = np.arange(math.prod(sizes), dtype=np.int64)
    return count.reshape(sizes, order="F" if column_major else "C")[None, None]


def max_unpool(op: MaxUnpool, x: Array, indices: Array) -> Array:
    """Raises: ShapeError naming the first place that the result does not have."""
    sizes = op.sizes or _sizes(op, x.shape[2:])
    shape = (*x.shape[:2], *(size for size in sizes if isinstance(size, int)))
    out = np.zeros(math.prod(shape), x.dtype)
    outside = (indices < 0) | (indices >= out.size)
    if outside.any():
        raise ShapeError(f"place {indices[outside].flat[0]} is outside 0 to {out.size - 1}, the elements of the result")
    out[indices.ravel()] = x.ravel()
    return out.reshape(shape)


def max_unpool_gradient(op: MaxUnpool, g: Term, y: Term, x: Term, indices: Term) -> Term:
    """Read where it was put, by the value that stayed there: the last of several."""
    count, size = x.type.numel, y.type.numel
    places, number = indices.reshape(count), indices.number(0).op("range", 1, count=count)
    stayed = number.full((size,), 0).op("scatter_elements", places, number, axis=0).op("gather", places, axis=0)
    return where(stayed.equals(number), g.reshape(size).op("gather", places, axis=0), 0).reshape(*x.shape)


MAX_POOL_INDICES = OpDef(
    "max_pool_indices", MaxPoolIndices, (1, 1), infer_indices, max_pool_indices, pool_arithmetic, roundings=no_rounding, facts=Facts()
)
MAX_UNPOOL = OpDef(
    "max_unpool",
    MaxUnpool,
    (2, 2),
    infer_unpool,
    max_unpool,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(sizes=("sizes",)),
    gradient=(max_unpool_gradient, None),
)
OPS = (MAX_POOL_INDICES, MAX_UNPOOL)
