"""Resampling along one to three axes of space: resize, nearest, bilinear or cubic. Channels are on axis 1."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts, Narrow
from ..op import OpDef
from ..terms import Term
from ..types import Array, TensorType
from .adjoint import along
from .check import need_elements, need_float, need_rank, static
from .window import MOST_AXES

__all__ = ["COORDINATES", "CROP", "MODES", "OPS", "RESIZE", "ROUNDINGS", "Resize", "is_plain", "scales_of"]

MODES = ("nearest", "bilinear", "cubic")
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
CROP = "tf_crop_and_resize"  # the coordinates of a part of the image
POLICIES = ("stretch", "not_larger", "not_smaller")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")

MOST_PARTS = 64  # of a scale of a named size, such as 3/2
FEW = 32  # neighbours on a side that are taken one by one
MOST_ENTRIES = 1 << 24  # of the matrix of an axis, which the way back multiplies by
BLOCK = 1 << 18  # elements of those that are taken at once
LONGEST = 2.0**53  # beyond it a product is no whole number any more


@dataclass(frozen=True, slots=True)
class Resize:
    """Every axis of space resampled by `scales`, or to `sizes` where given. ONNX Resize-19.

    Scales left out are 1 along each axis of `sizes`; bilinear and cubic go along one axis after the other, however many there are.
    `coordinates` and `rounding` are ONNX's coordinate_transformation_mode and nearest_mode; `cubic_coeff_a` is the a of
    Keys 1981, of which -0.5 and -0.75 are usual. Shapes: x[N,C,H,W] -> [N,C,floor(H*scale),floor(W*scale)], x[N,C,L], x[N,C,D,H,W].

    `antialias` stretches the filter of bilinear and cubic where an axis shrinks; `exclude_outside` shares the weights of pixels that
    are not there among those that are, instead of repeating the edge. A `policy` other than stretch scales all axes alike, so that none
    is larger (smaller) than its size; the sizes are rounded. `roi` is the part that tf_crop_and_resize takes, its starts and then its
    ends, with the first pixel at 0 and the last at 1; `extrapolation` is what lies outside the image there.
    """

    scales: tuple[float, ...] = ()
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    sizes: tuple[Dim, ...] = ()
    cubic_coeff_a: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False
    policy: str = "stretch"
    roi: tuple[float, ...] = ()
    extrapolation: float = 0.0

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
        ("coordinates", op.coordinates, (*COORDINATES, CROP)),
        ("rounding", op.rounding, ROUNDINGS),
        ("policy", op.policy, POLICIES),
    ):
        if value not in known:
            raise ShapeError(f"unknown {what} '{value}'; known are {', '.join(known)}")
    _need_filter(op)
    if op.sizes and (len(op.sizes) != axes or any(isinstance(size, int) and size < 1 for size in op.sizes)):
        count = ("one positive number", "two positive numbers", "three positive numbers")[axes - 1]
        raise ShapeError(f"sizes {list(map(str, op.sizes))} must be {count}")
    if not all(math.isfinite(scale) and scale > 0 for scale in op.scales):
        raise ShapeError(f"scales {list(op.scales)} must be positive")
    if op.sizes:
        need_elements(x, *range(2, x.rank))
    return TensorType(x.dtype, (*x.shape[:2], *_sizes(op, x)))


def _need_filter(op: Resize) -> None:
    """Raises: ShapeError for attributes that contradict each other, or are no numbers."""
    if not math.isfinite(op.cubic_coeff_a):
        raise ShapeError(f"cubic_coeff_a is {op.cubic_coeff_a}, expected a number")
    if op.antialias and (op.mode == "nearest" or op.roi):
        raise ShapeError(f"antialias is for bilinear and cubic of a whole image, not for {op.mode} with {op.coordinates}")
    if op.exclude_outside and op.mode != "cubic" and not op.antialias:
        raise ShapeError(f"exclude_outside is for cubic and antialias, not for {op.mode}")
    expected = 2 * len(op.scales) if op.coordinates == CROP else 0
    if len(op.roi) != expected or not all(map(math.isfinite, (*op.roi, op.extrapolation))):
        raise ShapeError(f"roi {list(op.roi)}, extrapolation {op.extrapolation}: {op.coordinates} takes {expected} numbers")


def _sizes(op: Resize, x: TensorType) -> tuple[Dim, ...]:
    if op.policy == "stretch":
        return op.sizes or tuple(_scaled(size, scale) for size, scale in zip(x.shape[2:], op.scales, strict=True))
    if not op.sizes or not all(isinstance(size, int) for size in (*op.sizes, *x.shape[2:])):
        raise ShapeError(f"{op.policy} needs sizes in numbers, not {list(map(str, op.sizes))} for {x}; give them values")
    sizes = [size for size, _ in _geometry(op, static("input", TensorType(x.dtype, x.shape[2:])))]
    if min(sizes) < 1:
        raise ShapeError(f"{op.policy} makes {sizes} of {x}; each must be at least 1")
    return tuple(sizes)


def _geometry(op: Resize, extents: tuple[int, ...]) -> list[tuple[int, float]]:
    """Of each axis its new size and its scale. The interpreter has put numbers for named sizes before it asks for this."""
    if not op.sizes:
        return [(math.floor(extent * scale), scale) for extent, scale in zip(extents, op.scales, strict=True)]
    wanted = [size for size in op.sizes if isinstance(size, int)]
    scales = [size / extent for size, extent in zip(wanted, extents, strict=True)]
    if op.policy == "stretch":
        return list(zip(wanted, scales, strict=True))
    scale = min(scales) if op.policy == "not_larger" else max(scales)
    return [(math.floor(scale * extent + 0.5), scale) for extent in extents]


def scales_of(op: Resize, x: TensorType) -> tuple[float, ...] | None:
    """The scale of each axis, None where a named size decides it."""
    if not op.sizes:
        return op.scales
    if not all(isinstance(size, int) for size in (*op.sizes, *x.shape[2:])):
        return None
    return tuple(scale for _, scale in _geometry(op, static("input", TensorType(x.dtype, x.shape[2:]))))


def is_plain(op: Resize) -> bool:
    """Whether each axis is a matrix of its own whose rows are one or two neighbours, or four of a cubic, and add up to 1."""
    return not (op.antialias or op.exclude_outside or op.roi) and op.policy == "stretch"


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
    outside: list[Array] = []
    for axis, (after, scale) in enumerate(_geometry(op, x.shape[2:]), 2):
        before = x.shape[axis]
        at = _source(op, axis - 2, before, after, scale)
        outside.append((at < 0) | (at > before - 1))
        x = _resampled(op, x, axis, at, scale)
    if not op.roi:
        return x
    flags = [flags.reshape(-1, *(1,) * (len(outside) - 1 - axis)) for axis, flags in enumerate(outside)]
    return np.where(functools.reduce(np.logical_or, flags), np.asarray(op.extrapolation, x.dtype), x)


def _resampled(op: Resize, x: Array, axis: int, at: Array, scale: float) -> Array:
    if op.mode == "nearest":
        return _nearest(x, axis, at, op.rounding)
    if op.mode == "bilinear" and not op.antialias:
        return _linear(x, axis, at)
    return _filtered(x, axis, _filter(op, at, x.shape[axis], scale, x.size // x.shape[axis]))


def _source(op: Resize, axis: int, before: int, after: int, scale: float) -> Array:
    """Where each result position lies on the input's axis, in elements."""
    coordinates = op.coordinates
    to = np.arange(after, dtype=np.float64)
    if coordinates == CROP:
        start, end = op.roi[axis], op.roi[axis + len(op.scales)]
        if after == 1:
            return to + 0.5 * (start + end) * (before - 1)
        return start * (before - 1) + to * (end - start) * (before - 1) / (after - 1)
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


Neighbours = Iterable[tuple[Array, Array]]  # places [results, taps] on an axis, and what they weigh


def _filtered(x: Array, axis: int, taps: Neighbours) -> Array:
    total = np.zeros((), x.dtype)
    for places, weights in taps:
        shape = (*weights.shape, *(1,) * (x.ndim - 1 - axis))
        total = total + (np.take(x, places, axis=axis) * weights.astype(x.dtype).reshape(shape)).sum(axis + 1)
    return total


def _filter(op: Resize, at: Array, size: int, scale: float, lines: int) -> Neighbours:
    """Neighbours by the weights of a triangle, or of Keys 1981, eq. 4; beyond an edge its element is repeated, or nothing is.

    One after another, or, of a filter that a large image shrinks by, so many at once that `lines` of them fill a block.
    """
    narrowed = min(scale, 1.0) if op.antialias else 1.0
    reach = math.ceil((1 if op.mode == "bilinear" else 2) / narrowed) if at.size else 1  # an axis of results has that many elements to see
    at, step = at[:, None], max(BLOCK // max(at.size * lines, 1), 1) if reach > FEW else 1

    def blocks() -> Iterator[tuple[Array, Array]]:
        for first in range(1 - reach, reach + 1, step):
            places = np.floor(at) + np.arange(first, min(first + step, reach + 1))
            weights = _weight(op, abs(places - at) * narrowed)
            yield places, np.where((places < 0) | (places >= size), 0, weights) if op.exclude_outside else weights

    is_shared = op.exclude_outside or op.antialias
    total = sum((weights.sum(1, keepdims=True) for _, weights in blocks()), np.zeros(())) if is_shared else 1.0
    for places, weights in blocks():
        yield np.clip(places, 0, size - 1).astype(np.int64), weights / total


def _weight(op: Resize, d: Array) -> Array:
    """Of a neighbour at a distance."""
    if op.mode == "bilinear":
        return np.maximum(1 - d, 0)
    return np.where(d < 1, _near(d, op.cubic_coeff_a), np.where(d < 2, _far(d, op.cubic_coeff_a), 0))


def _near(d: Array, a: float) -> Array:
    """The weight of a neighbour at a distance of up to 1."""
    return ((a + 2) * d - (a + 3)) * d * d + 1


def _far(d: Array, a: float) -> Array:
    """The same from 1 to 2."""
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a


def resize_magnitude(op: Resize, x: Array) -> Array:
    """Of a filter: every neighbour counts, however small its weight, since that is found from a rounded position."""
    x = abs(x)
    if op.mode == "nearest" or (op.mode == "bilinear" and not op.antialias):
        return resize(op, x)
    axes = len(op.scales)
    for axis, (after, scale) in enumerate(_geometry(op, x.shape[2:]), 2):
        at, size = _source(op, axis - 2, x.shape[axis], after, scale), x.shape[axis]
        share = np.full((after, 1), min(scale, 1.0) if op.antialias else 1.0)
        x = _filtered(x, axis, ((places, share) for places, _ in _filter(op, at, size, scale, x.size // size)))
    most = 1 + abs(op.cubic_coeff_a) if op.mode == "cubic" else 1.0
    return x * (most * (1 if is_plain(op) else 2)) ** axes


def resize_arithmetic(op: Resize, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    """Of a stretched filter, axis by axis, as if it were the last axis that shrank."""
    axes = len(op.scales)
    if op.antialias:
        scales = scales_of(op, inputs[0]) or op.scales
        radius = 1 if op.mode == "bilinear" else 2
        return 0, out.numel * sum(4 * math.ceil(radius / max(min(scale, 1.0), 1e-6)) for scale in scales)
    return 0, out.numel * {"nearest": 0, "bilinear": 2 ** (axes + 1) - 1, "cubic": 7 * (4**axes - 1) // 3}[op.mode]


def resize_roundings(op: Resize, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """Engines find source positions in float32, so the shares of two neighbours are off by the position's rounding."""
    total: Dim = 0
    for size in inputs[0].shape[2:]:
        total = total + size
    return 0 if op.mode == "nearest" else total * 4 + 8


def keeps_image(op: Resize, inputs: tuple[TensorType, ...], out: TensorType) -> bool:
    """A scale near 1 may keep the size and still move the pixels; a crop may be of the whole image, which nobody writes."""
    if inputs[0] != out or op.roi:
        return False
    return (op.sizes != () and op.policy == "stretch") or scales_of(op, inputs[0]) == (1.0,) * len(op.scales)


def narrow(op: Resize) -> Narrow:
    """The nearest pixel is moved, others are averaged."""
    return "follows" if op.mode == "nearest" else "never"


def resize_gradient(op: Resize, g: Term, y: Term, x: Term) -> Term:
    """Each axis by its own matrix, transposed: what the op makes of each element alone. Blocks of one pixel are summed."""
    if op.roi:
        g = g * _inside(op, x, y)
    for axis, (size, after) in enumerate(zip(x.shape[2:], y.shape[2:], strict=True), 2):
        if times := _repeats(op, axis):
            g = g.reshape(*g.shape[:axis], size, times, *g.shape[axis + 1 :]).sum(axis + 1) if times > 1 else g
            continue
        sizes = static("input", TensorType(x.type.dtype, x.shape[2:]))
        _, scale = _geometry(op, sizes)[axis - 2]
        (size, after) = static("axis", TensorType(x.type.dtype, (size, after)))
        if size * after > MOST_ENTRIES:
            raise ShapeError(f"the matrix from {size} to {after} places has {size * after:,} entries, more than {MOST_ENTRIES:,}")
        g = along(g, axis, (after, size), functools.partial(_matrix, op, axis - 2, size, after, scale))
    return g


def _repeats(op: Resize, axis: int) -> int:
    """How often each element of the axis stands in the result, if that is all there is to it, whatever the size; else 0."""
    scale = op.scales[axis - 2]
    if op.mode != "nearest" or op.sizes or op.roi or scale != int(scale):
        return 0
    times, few = int(scale), 5
    if times > FEW:
        return 0
    return times if np.array_equal(_matrix(op, axis - 2, few, few * times, scale), np.repeat(np.eye(few), times, axis=0)) else 0


def _matrix(op: Resize, axis: int, before: int, after: int, scale: float) -> Array:
    return _resampled(op, np.eye(before), 0, _source(op, axis, before, after, scale), scale)


def _inside(op: Resize, x: Term, y: Term) -> Term:
    """1 where a result is of the image, 0 where it is the extrapolation."""
    sizes, out = (static("input", TensorType(x.type.dtype, each.shape[2:])) for each in (x, y))

    def compute() -> Array:
        ones = Resize(op.scales, "nearest", op.coordinates, op.rounding, op.sizes, roi=op.roi, extrapolation=0.0)
        return resize(ones, np.ones((1, 1, *sizes)))

    return y.table((1, 1, *out), compute)


RESIZE = OpDef(
    "resize",
    Resize,
    (1, 1),
    infer_resize,
    resize,
    resize_arithmetic,
    resize_magnitude,
    resize_roundings,
    facts=Facts(identity=keeps_image, narrow=narrow, sizes=("sizes",)),
    gradient=(resize_gradient,),
)
OPS = (RESIZE,)
