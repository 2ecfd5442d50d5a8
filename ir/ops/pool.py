"""Pooling: max_pool, avg_pool, global_avg_pool, global_max_pool. NCHW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts, is_same_type
from ..op import OpDef, no_rounding
from ..types import Array, TensorType
from .check import need_elements, need_float, need_rank
from .window import Pads, Pair, check_window, dilated, pad_spatial, window_count, window_view

__all__ = ["AVG_POOL", "GLOBAL_AVG_POOL", "GLOBAL_MAX_POOL", "MAX_POOL", "OPS", "AvgPool", "GlobalAvgPool", "GlobalMaxPool", "MaxPool"]


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Greatest value of each window; padding never wins. ONNX MaxPool.

    Shapes: x[N,C,H,W] -> [N,C,H',W'].
    """

    kernel: Pair
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    ceil_mode: bool = False


@dataclass(frozen=True, slots=True)
class AvgPool:
    """Mean of each window, over the input's elements or, with `count_include_pad`, over the pads too. ONNX AveragePool.

    Positions that only ceil_mode adds beyond the pads are never counted. Shapes: x[N,C,H,W] -> [N,C,H',W'].
    """

    kernel: Pair
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    ceil_mode: bool = False
    count_include_pad: bool = False


@dataclass(frozen=True, slots=True)
class GlobalAvgPool:
    """Mean of each channel. ONNX GlobalAveragePool; Lin et al. 2013, sec. 3.2. Shapes: x[N,C,H,W] -> [N,C,1,1]."""


@dataclass(frozen=True, slots=True)
class GlobalMaxPool:
    """Greatest value of each channel. ONNX GlobalMaxPool. Shapes: x[N,C,H,W] -> [N,C,1,1]."""


def infer_pool(op: MaxPool | AvgPool, x: TensorType) -> TensorType:
    """Raises: ShapeError when the window does not fit, or a window could lie in the padding alone."""
    check_window("pool", op.strides, op.pads, op.dilations)
    need_rank("input", x, 4)
    need_float(x)
    if min(op.kernel) < 1:
        raise ShapeError(f"kernel {op.kernel[0]}x{op.kernel[1]} is empty")
    extents = [dilated(k, d) for k, d in zip(op.kernel, op.dilations, strict=True)]
    if any(pad >= extent for pad, extent in zip(op.pads, extents * 2, strict=True)):
        raise ShapeError(f"pads {list(op.pads)} reach the kernel's extent {extents[0]}x{extents[1]}: a window would hold padding only")
    out = [window_count(x.shape[2 + i], extents[i], op.strides[i], op.pads[i], op.pads[i + 2], ceil=op.ceil_mode) for i in (0, 1)]
    return TensorType(x.dtype, (*x.shape[:2], *out))


def _windows(op: MaxPool | AvgPool, x: Array, fill: float) -> Array:
    """Windows [N,C,H',W',KH,KW] over the padded input, enlarged where ceil_mode reaches further."""
    out: list[int] = []
    grown = list(op.pads)
    for axis in (0, 1):
        extent = dilated(op.kernel[axis], op.dilations[axis])
        size = x.shape[2 + axis]
        count = window_count(size, extent, op.strides[axis], op.pads[axis], op.pads[axis + 2], ceil=op.ceil_mode)
        assert isinstance(count, int)
        out.append(count)
        reach = (count - 1) * op.strides[axis] + extent
        grown[axis + 2] = max(op.pads[axis + 2], reach - size - op.pads[axis])
    top, left, bottom, right = grown
    padded = pad_spatial(x, (top, left, bottom, right), fill)
    return window_view(padded, op.kernel, op.strides, op.dilations, (out[0], out[1]))


def _reduce_taps(windows: Array, ufunc: np.ufunc) -> Array:
    """Reduce KH and KW one tap at a time: whole-image operations instead of tiny inner loops."""
    k_rows, k_cols = windows.shape[-2:]
    total = windows[..., 0, 0].copy()
    for tap in range(1, k_rows * k_cols):
        ufunc(total, windows[..., tap // k_cols, tap % k_cols], out=total)
    return total


def max_pool(op: MaxPool, x: Array) -> Array:
    return _reduce_taps(_windows(op, x, -np.inf), np.maximum)


def avg_pool(op: AvgPool, x: Array) -> Array:
    total = _reduce_taps(_windows(op, x, 0.0), np.add)
    counted = np.ones((1, 1, *x.shape[2:]), dtype=x.dtype)
    if op.count_include_pad:
        counted = pad_spatial(counted, op.pads, 1.0)
        unpadded = AvgPool(op.kernel, op.strides, (0, 0, 0, 0), op.dilations, op.ceil_mode)
        counts = _reduce_taps(_clipped(_windows(unpadded, counted, 0.0), total), np.add)
    else:
        counts = _reduce_taps(_windows(op, counted, 0.0), np.add)
    return total / counts


def _clipped(windows: Array, like: Array) -> Array:
    """The first H' x W' windows: without its pads to tell, ceil_mode may keep one more."""
    return windows[:, :, : like.shape[2], : like.shape[3]]


def avg_pool_magnitude(op: AvgPool, x: Array) -> Array:
    return avg_pool(op, abs(x))


def is_single_pixel(op: MaxPool | AvgPool, inputs: tuple[TensorType, ...], out: TensorType) -> bool:
    return op.kernel == (1, 1) and op.strides == (1, 1) and not any(op.pads)


def pool_arithmetic(op: MaxPool | AvgPool, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, out.numel * (op.kernel[0] * op.kernel[1])


def infer_global(op: Any, x: TensorType) -> TensorType:
    need_rank("input", x, 4)
    need_float(x)
    need_elements(x, 2, 3)
    return TensorType(x.dtype, (*x.shape[:2], 1, 1))


def global_avg_pool(op: GlobalAvgPool, x: Array) -> Array:
    return x.mean(axis=(2, 3), keepdims=True)


def global_avg_pool_magnitude(op: GlobalAvgPool, x: Array) -> Array:
    return abs(x).mean(axis=(2, 3), keepdims=True)


def global_max_pool(op: GlobalMaxPool, x: Array) -> Array:
    return x.max(axis=(2, 3), keepdims=True)


def global_arithmetic(op: Any, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, inputs[0].numel


def avg_roundings(op: AvgPool, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return op.kernel[0] * op.kernel[1] + 1


def global_roundings(op: GlobalAvgPool, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return inputs[0].shape[2] * inputs[0].shape[3] + 1


# Windows read an element again after results near it have been written, so no pool lies in place.
WINDOWED: Facts[MaxPool | AvgPool] = Facts(identity=is_single_pixel)
GLOBAL: Facts[object] = Facts(identity=is_same_type)

MAX_POOL = OpDef("max_pool", MaxPool, (1, 1), infer_pool, max_pool, pool_arithmetic, roundings=no_rounding, facts=WINDOWED)
AVG_POOL = OpDef("avg_pool", AvgPool, (1, 1), infer_pool, avg_pool, pool_arithmetic, avg_pool_magnitude, avg_roundings, facts=WINDOWED)
GLOBAL_AVG_POOL = OpDef(
    "global_avg_pool",
    GlobalAvgPool,
    (1, 1),
    infer_global,
    global_avg_pool,
    global_arithmetic,
    global_avg_pool_magnitude,
    global_roundings,
    facts=GLOBAL,
)
GLOBAL_MAX_POOL = OpDef(
    "global_max_pool", GlobalMaxPool, (1, 1), infer_global, global_max_pool, global_arithmetic, roundings=no_rounding, facts=GLOBAL
)
OPS = (MAX_POOL, AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL)
