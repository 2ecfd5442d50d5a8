"""Pooling over one to three axes: max_pool, avg_pool, lp_pool, global_avg_pool, global_max_pool. Channels are on axis 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts, fixed, follows, is_same_type
from ..op import OpDef, no_rounding
from ..terms import Term, where
from ..types import Array, TensorType
from .adjoint import spread
from .check import need_elements, need_float, need_rank, static
from .conv import product_of
from .window import MOST_AXES, Borders, PerAxis, check_window, dilated, need_kernel, pad_spatial, taps_of, window_count, window_view

__all__ = [
    "AVG_POOL",
    "GLOBAL_AVG_POOL",
    "GLOBAL_MAX_POOL",
    "LP_POOL",
    "MAX_POOL",
    "OPS",
    "AvgPool",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "LpPool",
    "MaxPool",
    "Pool",
    "Windowed",
    "fill_window",
    "infer_pool",
    "max_pool",
    "pool_arithmetic",
    "windows_of",
]


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Greatest value of each window; padding never wins. ONNX MaxPool.

    The kernel says over how many axes. Strides and dilations left out are 1 along each, pads 0.
    Shapes: x[N,C,H,W] -> [N,C,H',W'], x[N,C,L] -> [N,C,L'], x[N,C,D,H,W] -> [N,C,D',H',W'].
    """

    kernel: PerAxis
    strides: PerAxis = ()
    pads: Borders = ()
    dilations: PerAxis = ()
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        fill_window(self)


@dataclass(frozen=True, slots=True)
class AvgPool:
    """Mean of each window, over the input's elements or, with `count_include_pad`, over the pads too. ONNX AveragePool.

    Positions that only ceil_mode adds beyond the pads are never counted. Shapes and what is left out: as max_pool.
    """

    kernel: PerAxis
    strides: PerAxis = ()
    pads: Borders = ()
    dilations: PerAxis = ()
    ceil_mode: bool = False
    count_include_pad: bool = False

    def __post_init__(self) -> None:
        fill_window(self)


@dataclass(frozen=True, slots=True)
class LpPool:
    """The p-th root of the sum of |x|^p in each window. ONNX LpPool; Sermanet et al. 2012, sec. 2.2.

    Shapes and what is left out: as max_pool.
    """

    kernel: PerAxis
    strides: PerAxis = ()
    pads: Borders = ()
    dilations: PerAxis = ()
    ceil_mode: bool = False
    p: int = 2

    def __post_init__(self) -> None:
        fill_window(self)


Pool = MaxPool | AvgPool | LpPool


class Windowed(Protocol):
    """The attributes of a pool, or of what goes by its windows."""

    @property
    def kernel(self) -> PerAxis: ...
    @property
    def strides(self) -> PerAxis: ...
    @property
    def pads(self) -> Borders: ...
    @property
    def dilations(self) -> PerAxis: ...
    @property
    def ceil_mode(self) -> bool: ...


def fill_window(op: Any) -> None:
    """What was left out of a frozen record, for as many axes as the kernel has."""
    axes = len(op.kernel)
    for name, values in (("strides", (1,) * axes), ("pads", (0, 0) * axes), ("dilations", (1,) * axes)):
        if getattr(op, name, values) == ():
            object.__setattr__(op, name, values)


@dataclass(frozen=True, slots=True)
class GlobalAvgPool:
    """Mean of each channel. ONNX GlobalAveragePool; Lin et al. 2013, sec. 3.2. Shapes: x[N,C,...] -> [N,C,1,...]."""


@dataclass(frozen=True, slots=True)
class GlobalMaxPool:
    """Greatest value of each channel. ONNX GlobalMaxPool. Shapes: x[N,C,...] -> [N,C,1,...]."""


def infer_pool(op: Pool, x: TensorType) -> TensorType:
    """Raises: ShapeError when the window does not fit, or a window could lie in the padding alone."""
    axes = len(op.kernel)
    if not 1 <= axes <= MOST_AXES:
        raise ShapeError(f"kernel {list(op.kernel)} has {axes} axes; windows have 1 to {MOST_AXES}")
    check_window("pool", axes, op.strides, op.pads, op.dilations)
    need_rank("input", x, axes + 2)
    need_float(x)
    need_kernel(op.kernel)
    extents = tuple(dilated(k, d) for k, d in zip(op.kernel, op.dilations, strict=True))
    if any(pad >= extent for pad, extent in zip(op.pads, extents * 2, strict=True)):
        window = "x".join(map(str, extents))
        raise ShapeError(f"pads {list(op.pads)} reach the kernel's extent {window}: a window would hold padding only")
    return TensorType(x.dtype, (*x.shape[:2], *_counts(op, x.shape[2:])))


def _counts(op: Windowed, sizes: tuple[Dim, ...]) -> list[Dim]:
    """How many windows there are along each axis."""
    axes = len(op.kernel)
    ends = zip(sizes, op.kernel, op.dilations, op.strides, op.pads[:axes], op.pads[axes:], strict=True)
    return [window_count(size, dilated(k, d), step, before, after, ceil=op.ceil_mode) for size, k, d, step, before, after in ends]


def windows_of(op: Windowed, x: Array, fill: float) -> Array:
    """Windows [N,C,*out,*kernel] over the padded input, enlarged where ceil_mode reaches further."""
    axes, sizes = len(op.kernel), x.shape[2:]
    out = tuple(count for count in _counts(op, sizes) if isinstance(count, int))
    grown = list(op.pads)
    for axis, count in enumerate(out):
        reach = (count - 1) * op.strides[axis] + dilated(op.kernel[axis], op.dilations[axis])
        grown[axis + axes] = max(op.pads[axis + axes], reach - sizes[axis] - op.pads[axis])
    return window_view(pad_spatial(x, tuple(grown), fill), op.kernel, op.strides, op.dilations, out)


def _reduce_taps(windows: Array, kernel: PerAxis, ufunc: np.ufunc) -> Array:
    """Reduce the kernel's axes one tap at a time: whole-image operations instead of tiny inner loops."""
    taps = taps_of(kernel)
    total = windows[(..., *next(taps))].copy()
    for tap in taps:
        ufunc(total, windows[(..., *tap)], out=total)
    return total


def max_pool(op: MaxPool, x: Array) -> Array:
    return _reduce_taps(windows_of(op, x, -np.inf), op.kernel, np.maximum)


def avg_pool(op: AvgPool, x: Array) -> Array:
    total = _reduce_taps(windows_of(op, x, 0.0), op.kernel, np.add)
    return total / _counted(op, np.ones((1, 1, *x.shape[2:]), dtype=x.dtype), total.shape[2:])


def _counted(op: AvgPool, ones: Array, out: tuple[int, ...]) -> Array:
    """How many elements each window's mean is taken of, [1,1,*out]."""
    if op.count_include_pad:
        unpadded = AvgPool(op.kernel, op.strides, (), op.dilations, op.ceil_mode)
        windows = windows_of(unpadded, pad_spatial(ones, op.pads, 1.0), 0.0)
        windows = windows[tuple(map(slice, (1, 1, *out)))]  # without its pads to tell, ceil_mode may keep one more
    else:
        windows = windows_of(op, ones, 0.0)
    return _reduce_taps(windows, op.kernel, np.add)


def avg_pool_magnitude(op: AvgPool, x: Array) -> Array:
    return avg_pool(op, abs(x))


def infer_lp_pool(op: LpPool, x: TensorType) -> TensorType:
    """Raises: ShapeError for a p below 1, and as the other pools."""
    if op.p < 1:
        raise ShapeError(f"p is {op.p}, expected at least 1")
    return infer_pool(op, x)


def lp_pool(op: LpPool, x: Array) -> Array:
    total = _reduce_taps(windows_of(op, abs(x) ** op.p, 0.0), op.kernel, np.add)
    return np.sqrt(total) if op.p == 2 else total ** x.dtype.type(1 / op.p)


def is_single_pixel(op: Pool, inputs: tuple[TensorType, ...], out: TensorType) -> bool:
    return max(*op.kernel, *op.strides) == 1 and not any(op.pads)


def pool_arithmetic(op: Windowed, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, out.numel * math.prod(op.kernel)


def infer_global(op: Any, x: TensorType) -> TensorType:
    """Raises: ShapeError without positions, or where there are none to choose from."""
    if x.rank < 3:
        raise ShapeError(f"input is {x}, expected channels on axis 1 and positions after it")
    need_float(x)
    need_elements(x, *range(2, x.rank))
    return TensorType(x.dtype, (*x.shape[:2], *(1,) * (x.rank - 2)))


def _space(x: Array) -> tuple[int, ...]:
    """The axes after the channels."""
    return tuple(range(2, x.ndim))


def global_avg_pool(op: GlobalAvgPool, x: Array) -> Array:
    return x.mean(axis=_space(x), keepdims=True)


def global_avg_pool_magnitude(op: GlobalAvgPool, x: Array) -> Array:
    return abs(x).mean(axis=_space(x), keepdims=True)


def global_max_pool(op: GlobalMaxPool, x: Array) -> Array:
    return x.max(axis=_space(x), keepdims=True)


def global_arithmetic(op: Any, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, inputs[0].numel


def avg_roundings(op: AvgPool, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return math.prod(op.kernel) + 1


def lp_roundings(op: LpPool, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """Powers of p factors, their sum, and a root whose exponent is rounded: of numbers up to 2^128, that is 89 at most."""
    return math.prod(op.kernel) + op.p + (4 if op.p <= 2 else 89 // op.p + 4)


def global_roundings(op: GlobalAvgPool, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return product_of(1, inputs[0].shape[2:]) + 1


def max_pool_gradient(op: MaxPool, g: Term, y: Term, x: Term) -> Term:
    """Where the window's greatest value was."""
    window = {"kernel": op.kernel, "strides": op.strides, "pads": op.pads, "dilations": op.dilations, "ceil_mode": op.ceil_mode}
    return x.op("max_pool_gradient", g, **window)


def avg_pool_gradient(op: AvgPool, g: Term, y: Term, x: Term) -> Term:
    """Each window's share to all that it read: a transposed convolution with ones, a group a channel."""
    (channels,) = static("channels", TensorType(x.type.dtype, x.shape[1:2]))
    ones = g.maker.full(TensorType(g.type.dtype, (channels, 1, *op.kernel)), 1.0)
    return spread(_shares(op, g, x), ones, op.strides, _reached(op, g, x), op.dilations, channels, x.shape[2:])


def _shares(op: AvgPool, g: Term, x: Term) -> Term:
    """g over the number of elements that each window's mean was taken of."""
    if not op.ceil_mode and (op.count_include_pad or not any(op.pads)):
        return g / float(math.prod(op.kernel))
    sizes, out = (static("input", TensorType(x.type.dtype, each.shape[2:])) for each in (x, g))
    return g / g.table((1, 1, *out), lambda: _counted(op, np.ones((1, 1, *sizes)), out))


def _reached(op: AvgPool | LpPool, g: Term, x: Term) -> Borders:
    """The pads up to where the last windows reach: with these as many fit when rounding down."""
    axes = len(op.kernel)
    if not op.ceil_mode:
        return op.pads
    sizes, out = (static("input", TensorType(x.type.dtype, each.shape[2:])) for each in (x, g))
    ends = zip(out, op.strides, op.kernel, op.dilations, sizes, op.pads[:axes], strict=True)
    return (*op.pads[:axes], *(max(0, (count - 1) * s + dilated(k, d) - size - before) for count, s, k, d, size, before in ends))


def lp_pool_gradient(op: LpPool, g: Term, y: Term, x: Term) -> Term:
    """x^(p-1) times what its windows say, each divided by its result to that power; of a window of zeros nothing, as in PyTorch."""
    (channels,) = static("channels", TensorType(x.type.dtype, x.shape[1:2]))
    ones = g.maker.full(TensorType(g.type.dtype, (channels, 1, *op.kernel)), 1.0)
    share = where(y > 0, g / where(y > 0, y, 1).op("pow", op.p - 1), 0) if op.p > 1 else g
    whole = spread(share, ones, op.strides, _reached(op, g, x), op.dilations, channels, x.shape[2:])
    return whole * (x if op.p == 2 else x.sign() * x.op("abs").op("pow", op.p - 1))


def global_avg_pool_gradient(op: GlobalAvgPool, g: Term, y: Term, x: Term) -> Term:
    return (g / x.count(*range(2, x.rank))).expand(x.shape)


def global_max_pool_gradient(op: GlobalMaxPool, g: Term, y: Term, x: Term) -> Term:
    """The first of equals has it."""
    places = product_of(1, x.shape[2:])
    best = x.reshape(*x.shape[:2], places).op("arg_max", axis=2, keepdims=True)
    here = best.equals(best.number(0.0).op("range", 1.0, count=places))
    return where(here, g.reshape(*x.shape[:2], 1), 0.0).reshape(*x.shape)


# Windows read an element again after results near it have been written, so no pool lies in place.
SUMMED: Facts[Pool] = Facts(identity=is_single_pixel)
CHOSEN: Facts[Pool] = Facts(identity=is_single_pixel, narrow=follows)

MAX_POOL = OpDef(
    "max_pool", MaxPool, (1, 1), infer_pool, max_pool, pool_arithmetic, roundings=no_rounding, facts=CHOSEN, gradient=(max_pool_gradient,)
)
AVG_POOL = OpDef(
    "avg_pool",
    AvgPool,
    (1, 1),
    infer_pool,
    avg_pool,
    pool_arithmetic,
    avg_pool_magnitude,
    avg_roundings,
    facts=SUMMED,
    gradient=(avg_pool_gradient,),
)
LP_POOL = OpDef(
    "lp_pool",
    LpPool,
    (1, 1),
    infer_lp_pool,
    lp_pool,
    pool_arithmetic,
    roundings=lp_roundings,
    facts=Facts(least=fixed(0.0)),
    gradient=(lp_pool_gradient,),
)
GLOBAL_AVG_POOL = OpDef(
    "global_avg_pool",
    GlobalAvgPool,
    (1, 1),
    infer_global,
    global_avg_pool,
    global_arithmetic,
    global_avg_pool_magnitude,
    global_roundings,
    facts=Facts(identity=is_same_type),
    gradient=(global_avg_pool_gradient,),
)
GLOBAL_MAX_POOL = OpDef(
    "global_max_pool",
    GlobalMaxPool,
    (1, 1),
    infer_global,
    global_max_pool,
    global_arithmetic,
    roundings=no_rounding,
    facts=Facts(identity=is_same_type, narrow=follows),
    gradient=(global_max_pool_gradient,),
)
OPS = (MAX_POOL, AVG_POOL, LP_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL)
