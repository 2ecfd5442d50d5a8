"""Resampling along one to three axes of space: resize, nearest, bilinear or cubic. Channels are on axis 1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef
from ..types import Array, TensorType
from .check import need_elements, need_float, need_rank
from .window import MOST_AXES

__all__ = ["COORDINATES", "MODES", "OPS", "RESIZE", "ROUNDINGS", "Resize"]

MODES = ("nearest", "bilinear", "cubic")
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")

MOST_PARTS = 64  # of a scale of a named size, such as 3/2
LONGEST = 2.0**53  # beyond it a product is no whole number any more


@dataclass(frozen=True, slots=True)
class Resize:
    """Every axis of space resampled by `scales`, or to `sizes` where given. ONNX Resize-19 without antialias and exclude_outside.

    Scales left out are 1 along each axis of `sizes`; bilinear and cubic go along one axis after the other, however many there are.
    `coordinates` and `rounding` are ONNX's coordinate_transformation_mode and nearest_mode; `cubic_coeff_a` is the a of
    Keys 1981, of which -0.5 and -0.75 are usual. Shapes: x[N,C,H,W] -> [N,C,floor(H*scale),floor(W*scale)], x[N,C,L], x[N,C,D,H,W].
    """

    scales: tuple[float, ...] = ()
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    sizes: tuple[Dim, ...] = ()
    cubic_coeff_a: float = -0.75

    def __post_init__(self) -> None:
        if not self.scales:
            object.__setattr__(self, "scales", (1.0,) * (len(self.sizes) or 2))


def infer_resize(op: Resize, x: TensorType) -> TensorType:
    """Raises: ShapeError for an unknown mode, or a scale that is not positive."""
    axes = len(op.scales)
    if axes > MOST_AXES:
        raise ShapeError(f"scales {list(op.scales)} are for {axes} axes; 1 to {MOST_AXES} are resized")
    need_rank("input", x, axes + 2)
    need_float(x)
    for what, value, known in (
        ("mode", op.mode, MODES),
        ("coordinates", op.coordinates, COORDINATES),
        ("rounding", op.rounding, ROUNDINGS),
    ):
        if value not in known:
            raise ShapeError(f"unknown {what} '{value}'; known are {', '.join(known)}")
    if not math.isfinite(op.cubic_coeff_a):
        raise ShapeError(f"cubic_coeff_a is {op.cubic_coeff_a}, expected a number")
    if op.sizes and (len(op.sizes) != axes or any(isinstance(size, int) and size < 1 for size in op.sizes)):
        count = ("one positive number", "two positive numbers", "three positive numbers")[axes - 1]
        raise ShapeError(f"sizes {list(map(str, op.sizes))} must be {count}")
    if not all(math.isfinite(scale) and scale > 0 for scale in op.scales):
        raise ShapeError(f"scales {list(op.scales)} must be positive")
    if op.sizes:
        need_elements(x, *range(2, x.rank))
    out = op.sizes or tuple(_scaled(size, scale) for size, scale in zip(x.shape[2:], op.scales, strict=True))
    return TensorType(x.dtype, (*x.shape[:2], *out))


def _scaled(size: Dim, scale: float) -> Dim:
    if isinstance(size, int):
        if not size * scale < LONGEST:
            raise ShapeError(f"a size of {size} times {scale} is beyond any tensor")
        return math.floor(size * scale)
    times, parts = float(scale).as_integer_ratio()
    if parts > MOST_PARTS:  # 0.34 is no ratio of small numbers: where the product falls below a whole one depends on the number
        raise ShapeError(f"the named size {size} times {scale} is not whole; give it a value")
    return size * times // parts


def resize(op: Resize, x: Array) -> Array:
    """Separable: rows first, then columns."""
    for axis in range(2, x.ndim):
        at = _positions(op, axis, x.shape[axis])
        if op.mode == "nearest":
            x = _nearest(x, axis, at, op.rounding)
        else:
            x = _linear(x, axis, at) if op.mode == "bilinear" else _cubic(x, axis, at, op.cubic_coeff_a)
    return x


def _positions(op: Resize, axis: int, before: int) -> Array:
    """The interpreter has put numbers for named sizes before it asks for this."""
    if not op.sizes:
        return _source(op.coordinates, before, math.floor(before * op.scales[axis - 2]), op.scales[axis - 2])
    after = op.sizes[axis - 2]
    assert isinstance(after, int)
    return _source(op.coordinates, before, after, after / before)


def _source(coordinates: str, before: int, after: int, scale: float) -> Array:
    """Where each result position lies on the input's axis, in elements."""
    to = np.arange(after, dtype=np.float64)
    if coordinates == "asymmetric":
        return to / scale
    if coordinates == "align_corners":
        return to * ((before - 1) / (after - 1)) if after > 1 else to * 0
    if coordinates == "pytorch_half_pixel" and after == 1:
        return to * 0
    half = (to + 0.5) / scale - 0.5
    if coordinates == "half_pixel_symmetric":  # what rounding the size down cut off is shared by both ends
        return half + (before / 2) * (1 - after / (scale * before))
    return half


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


def _cubic(x: Array, axis: int, at: Array, a: float) -> Array:
    """Four neighbours by the weights of Keys 1981, eq. 4; beyond an edge its element is repeated."""
    total = np.zeros((*x.shape[:axis], len(at), *x.shape[axis + 1 :]), x.dtype)
    for places, weights in _taps(x, axis, at, a):
        total += np.take(x, places, axis=axis) * weights
    return total


def _taps(x: Array, axis: int, at: Array, a: float) -> Iterator[tuple[Array, Array]]:
    """Where each of the four neighbours lies, and its weight, shaped to multiply along the axis."""
    floor = np.floor(at)
    t = at - floor
    for shift, weights in zip((-1, 0, 1, 2), (_far(1 + t, a), _near(t, a), _near(1 - t, a), _far(2 - t, a)), strict=True):
        places = np.clip(floor + shift, 0, x.shape[axis] - 1).astype(np.int64)
        yield places, weights.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1 - axis))


def _near(d: Array, a: float) -> Array:
    """The weight of a neighbour at a distance of up to 1."""
    return ((a + 2) * d - (a + 3)) * d * d + 1


def _far(d: Array, a: float) -> Array:
    """The same from 1 to 2."""
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a


def resize_magnitude(op: Resize, x: Array) -> Array:
    """Of a cubic: every neighbour counts, however small its weight, since that is found from a rounded position."""
    x = abs(x)
    if op.mode != "cubic":
        return resize(op, x)
    for axis in range(2, x.ndim):
        x = sum((np.take(x, places, axis=axis) for places, _ in _taps(x, axis, _positions(op, axis, x.shape[axis]), 0.0)), np.zeros(()))
    return x * (1 + abs(op.cubic_coeff_a)) ** len(op.scales)


def resize_arithmetic(op: Resize, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    axes = len(op.scales)
    return 0, out.numel * {"nearest": 0, "bilinear": 2 ** (axes + 1) - 1, "cubic": 7 * (4**axes - 1) // 3}[op.mode]


def resize_roundings(op: Resize, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """Engines find source positions in float32, so the shares of two neighbours are off by the position's rounding."""
    total: Dim = 0
    for size in inputs[0].shape[2:]:
        total = total + size
    return 0 if op.mode == "nearest" else total * 4 + 8


def keeps_image(op: Resize, inputs: tuple[TensorType, ...], out: TensorType) -> bool:
    """A scale near 1 may keep the size and still move the pixels."""
    return inputs[0] == out and (op.sizes != () or all(scale == 1.0 for scale in op.scales))


RESIZE = OpDef(
    "resize",
    Resize,
    (1, 1),
    infer_resize,
    resize,
    resize_arithmetic,
    resize_magnitude,
    resize_roundings,
    facts=Facts(identity=keeps_image, sizes=("sizes",)),
)
OPS = (RESIZE,)
