"""Resampling of images: resize, nearest or bilinear. NCHW."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..op import OpDef
from ..types import Array, TensorType
from .check import need_float, need_rank

__all__ = ["COORDINATES", "OPS", "RESIZE", "ROUNDINGS", "Resize"]

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True, slots=True)
class Resize:
    """Rows and columns resampled by `scales`, or to `sizes` where given. ONNX Resize-13 without cubic.

    `mode` is nearest or bilinear; `coordinates` and `rounding` are ONNX's coordinate_transformation_mode
    and nearest_mode. Shapes: x[N,C,H,W] -> [N,C,floor(H*scale),floor(W*scale)].
    """

    scales: tuple[float, float] = (1.0, 1.0)
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    sizes: tuple[int, ...] = ()


def infer_resize(op: Resize, x: TensorType) -> TensorType:
    """Raises: ShapeError for an unknown mode, or a scale that is not positive."""
    need_rank("input", x, 4)
    need_float(x)
    for what, value, known in (
        ("mode", op.mode, ("nearest", "bilinear")),
        ("coordinates", op.coordinates, COORDINATES),
        ("rounding", op.rounding, ROUNDINGS),
    ):
        if value not in known:
            raise ShapeError(f"unknown {what} '{value}'; known are {', '.join(known)}")
    if op.sizes and (len(op.sizes) != 2 or min(op.sizes) < 1):
        raise ShapeError(f"sizes {list(op.sizes)} must be two positive numbers")
    if not all(math.isfinite(scale) and scale > 0 for scale in op.scales):
        raise ShapeError(f"scales {list(op.scales)} must be positive")
    out = op.sizes or tuple(_scaled(size, scale) for size, scale in zip(x.shape[2:], op.scales, strict=True))
    return TensorType(x.dtype, (*x.shape[:2], *out))


def _scaled(size: Dim, scale: float) -> Dim:
    if isinstance(size, int):
        return math.floor(size * scale)
    if scale != int(scale):
        raise ShapeError(f"the named size {size} times {scale} is not whole; give it a value")
    return size * int(scale)


def resize(op: Resize, x: Array) -> Array:
    """Separable: rows first, then columns."""
    for axis in (2, 3):
        before = x.shape[axis]
        after = op.sizes[axis - 2] if op.sizes else math.floor(before * op.scales[axis - 2])
        scale = after / before if op.sizes else op.scales[axis - 2]
        at = _source(op.coordinates, before, after, scale)
        x = _nearest(x, axis, at, op.rounding) if op.mode == "nearest" else _linear(x, axis, at)
    return x


def _source(coordinates: str, before: int, after: int, scale: float) -> Array:
    """Where each result position lies on the input's axis, in elements."""
    to = np.arange(after, dtype=np.float64)
    if coordinates == "asymmetric":
        return to / scale
    if coordinates == "align_corners":
        return to * ((before - 1) / (after - 1)) if after > 1 else to * 0
    if coordinates == "pytorch_half_pixel" and after == 1:
        return to * 0
    return (to + 0.5) / scale - 0.5


def _nearest(x: Array, axis: int, at: Array, rounding: str) -> Array:
    rounded = {
        "round_prefer_floor": np.ceil(at - 0.5),
        "round_prefer_ceil": np.floor(at + 0.5),
        "floor": np.floor(at),
        "ceil": np.ceil(at),
    }[rounding]
    return np.take(x, np.clip(rounded, 0, x.shape[axis] - 1).astype(np.int64), axis=axis)


def _linear(x: Array, axis: int, at: Array) -> Array:
    at = np.clip(at, 0, x.shape[axis] - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    share = (at - low).astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
    return np.take(x, low, axis=axis) * (1 - share) + np.take(x, high, axis=axis) * share


def resize_magnitude(op: Resize, x: Array) -> Array:
    return resize(op, abs(x))


def resize_arithmetic(op: Resize, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, out.numel * (7 if op.mode == "bilinear" else 0)


def resize_roundings(op: Resize, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """Engines find source positions in float32, so the shares of two neighbours are off by the position's rounding."""
    return 0 if op.mode == "nearest" else (inputs[0].shape[2] + inputs[0].shape[3]) * 4 + 8


RESIZE = OpDef("resize", Resize, (1, 1), infer_resize, resize, resize_arithmetic, resize_magnitude, resize_roundings)
OPS = (RESIZE,)
