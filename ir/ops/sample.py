"""Values read between the pixels, where other values say: grid_sample, roi_align."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef, rounded
from ..terms import NoGradient
from ..types import Array, TensorType
from .check import need_elements, need_float, need_rank, need_same_dtype

__all__ = ["GRID_SAMPLE", "OPS", "ROI_ALIGN", "GridSample", "RoiAlign"]

MODES, PADDINGS = ("linear", "nearest", "cubic"), ("zeros", "border", "reflection")
CUBIC = -0.75  # ONNX GridSample-20


@dataclass(frozen=True, slots=True)
class GridSample:
    """x at the places that `grid` names, in -1 to 1 along each axis, the last one first. Jaderberg et al. 2015; ONNX GridSample.

    Shapes: x[N,C,H,W], grid[N,H',W',2] -> [N,C,H',W']; with three axes likewise. `padding` is what lies outside; cubic is
    of two axes, and its border is each tap's own, as PyTorch and onnxruntime have it.
    """

    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False


@dataclass(frozen=True, slots=True)
class RoiAlign:
    """For each region a grid of `size` bins, each the mean or the greatest of its samples. He et al. 2017, sec. 3; ONNX RoiAlign.

    Shapes: x[N,C,H,W], rois[K,4] (x1,y1,x2,y2), images i64[K] -> [K,C,rows,cols]. `ratio` 0 takes samples as far apart as pixels.
    """

    size: tuple[int, int]
    mode: str = "avg"
    ratio: int = 0
    scale: float = 1.0
    half_pixel: bool = True


def infer_grid_sample(op: GridSample, x: TensorType, grid: TensorType) -> TensorType:
    """Raises: ShapeError for a grid that does not fit, or an unknown mode."""
    need_float(x)
    need_same_dtype(x, grid)
    axes = x.rank - 2
    if axes not in (2, 3) or grid.rank != x.rank or grid.shape[-1] != axes or grid.shape[0] != x.shape[0]:
        raise ShapeError(f"grid is {grid} for an input of {x}; expected [N,H',W',2], or three axes likewise")
    if op.mode not in MODES or op.padding not in PADDINGS or (op.mode == "cubic" and axes != 2):
        raise ShapeError(
            f"mode '{op.mode}', padding '{op.padding}'; known are {', '.join(MODES)} (cubic of two axes) and {', '.join(PADDINGS)}"
        )
    if 0 not in grid.shape:
        need_elements(x, *range(2, x.rank))
    return TensorType(x.dtype, (*x.shape[:2], *grid.shape[1:-1]))


def infer_roi_align(op: RoiAlign, x: TensorType, rois: TensorType, images: TensorType) -> TensorType:
    """Raises: ShapeError unless there are four numbers and an image for each region, and bins."""
    need_rank("input", x, 4)
    need_float(x)
    need_same_dtype(x, rois)
    if rois.rank != 2 or rois.shape[1] != 4 or images != TensorType("i64", rois.shape[:1]):
        raise ShapeError(f"rois are {rois} of images {images}, expected [K,4] and i64[K]")
    if min(op.size) < 1 or op.ratio < 0 or op.mode not in ("avg", "max"):
        raise ShapeError(f"size {list(op.size)} must be at least 1, ratio {op.ratio} not negative, and mode '{op.mode}' avg or max")
    if 0 not in rois.shape:
        need_elements(x, 0, 2, 3)
    return TensorType(x.dtype, (rois.shape[0], x.shape[1], *op.size))


def grid_sample(op: GridSample, x: Array, grid: Array) -> Array:
    sizes = x.shape[2:]
    taps = [_taps(op, grid[..., -1 - axis], size) for axis, size in enumerate(sizes)]
    batch = _numbered(x.shape[0], len(sizes))
    total: Array = np.zeros((x.shape[0], *grid.shape[1:-1], x.shape[1]), x.dtype)
    channels_last = np.moveaxis(x, 1, -1)
    for chosen in itertools.product(*taps):
        weight = math.prod(weight for _, weight in chosen)
        total = total + channels_last[(batch, *(place for place, _ in chosen))] * np.asarray(weight)[..., None]
    return np.ascontiguousarray(np.moveaxis(total, -1, 1))


def _numbered(images: int, axes: int) -> Array:
    every: Array = np.arange(images)
    return every.reshape(-1, *(1,) * axes)


def _taps(op: GridSample, where: Array, size: int) -> list[tuple[Array, Array]]:
    """Places on one axis and what they weigh; one outside zeros weighs nothing."""
    at = (where + 1) / 2 * (size - 1) if op.align_corners else ((where + 1) * size - 1) / 2
    at = np.rint(at) if op.mode == "nearest" else at
    at = np.nan_to_num(_moved_in(op, at, size), nan=-1.0, posinf=2.0**30, neginf=-(2.0**30))
    first = np.floor(at)
    part = at - first
    weights = {"nearest": [np.ones_like(at)], "linear": [1 - part, part], "cubic": _cubic(part)}[op.mode]
    start = -1 if op.mode == "cubic" else 0
    return [_tap(op, first + (start + i), weight, size) for i, weight in enumerate(weights)]


def _moved_in(op: GridSample, at: Array, size: int) -> Array:
    low, high = _ends(op, size)
    inside = (at >= low) & (at <= high)
    if op.padding == "border" and op.mode != "cubic":
        return np.where(inside, at, np.clip(at, 0, size - 1))
    return np.where(inside, at, _reflected(at, low, high)) if op.padding == "reflection" else at


def _ends(op: GridSample, size: int) -> tuple[float, float]:
    return (0.0, size - 1.0) if op.align_corners else (-0.5, size - 0.5)


def _reflected(at: Array, low: float, high: float) -> Array:
    """As often as it takes."""
    span = high - low
    if not span:
        return np.full_like(at, low)
    folded = np.mod(at - low, 2 * span)
    return low + np.minimum(folded, 2 * span - folded)


def _tap(op: GridSample, place: Array, weight: Array, size: int) -> tuple[Array, Array]:
    if op.padding == "reflection":
        place = np.where((place >= 0) & (place <= size - 1), place, np.trunc(_reflected(place, *_ends(op, size))))
    outside = (place < 0) | (place > size - 1)
    index = np.clip(place, 0, size - 1).astype(np.int64)
    return index, np.where(outside, np.zeros((), weight.dtype), weight) if op.padding == "zeros" else weight


def _cubic(part: Array) -> list[Array]:
    def far(t: Array) -> Array:
        return ((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC

    def near(t: Array) -> Array:
        return ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1

    return [far(part + 1), near(part), near(1 - part), far(2 - part)]


def grid_sample_magnitude(op: GridSample, x: Array, grid: Array) -> Array:
    """The place is rounded as a number of its size is, and moves the result by as much as neighbours differ: at most twice the greatest."""
    sizes = np.array(x.shape[2:], dtype=np.float64)
    most = abs(x).max(axis=tuple(range(1, x.ndim)), keepdims=True, initial=0)
    reach = 2 * (1 + np.minimum(abs(np.nan_to_num(grid)), 1e6).max(axis=-1)) * sizes.max(initial=1)
    return np.broadcast_to(most * (4 + reach[:, None]), (*x.shape[:2], *grid.shape[1:-1])).astype(x.dtype)


def roi_align(op: RoiAlign, x: Array, rois: Array, images: Array) -> Array:
    out: Array = np.zeros((rois.shape[0], x.shape[1], *op.size), x.dtype)
    for k, (roi, image) in enumerate(zip(rois, images, strict=True)):
        if not 0 <= image < x.shape[0]:
            raise ShapeError(f"region {k} is of image {image}; there are {x.shape[0]}")
        rows, cols = (_samples(op, roi[1 - axis], roi[3 - axis], op.size[axis], x.shape[2 + axis]) for axis in (0, 1))
        out[k] = _binned(op, x[image], rows, cols)
    return out


Samples = tuple[list[tuple[Array, Array]], int]  # two taps (places [bins, samples], weights), samples a bin


def _samples(op: RoiAlign, start: Array, end: Array, bins: int, size: int) -> Samples:
    shift = 0.5 if op.half_pixel else 0.0
    first, last = start * op.scale - shift, end * op.scale - shift
    extent = last - first if op.half_pixel else max(last - first, 1.0)
    count = op.ratio or max(int(np.ceil(extent / bins)), 0)
    step = extent / bins
    steps = np.arange(bins)[:, None], np.arange(count)[None, :]
    at = first + steps[0] * step + (steps[1] + 0.5) * step / max(count, 1)
    outside = (at < -1) | (at > size)
    at = np.maximum(at, 0)
    low = np.minimum(np.floor(at), size - 1)
    part = np.where(low >= size - 1, 0, at - low)
    places = low.astype(np.int64)
    above = np.minimum(places + 1, size - 1)
    return [(places, np.where(outside, 0, 1 - part)), (above, np.where(outside, 0, part))], count


def _binned(op: RoiAlign, image: Array, rows: Samples, cols: Samples) -> Array:
    """[C,rows,cols]: of the four products of a sample the sum, or for max the greatest; of all samples the mean, or the greatest."""
    (row_taps, m), (col_taps, n) = rows, cols
    terms: list[Array] = []
    for (r, v), (c, w) in itertools.product(row_taps, col_taps):
        weights = v[:, None, :, None] * w[None, :, None, :]
        terms.append(image[:, r[:, None, :, None], c[None, :, None, :]] * weights.astype(image.dtype))
    if not m or not n:
        return np.zeros((image.shape[0], *op.size), image.dtype)
    if op.mode == "max":
        return np.max(terms, axis=0).max(axis=(3, 4))
    return np.sum(terms, axis=0).sum(axis=(3, 4)) / (m * n)


def roi_align_magnitude(op: RoiAlign, x: Array, rois: Array, images: Array) -> Array:
    """As of grid_sample."""
    most = abs(x).max(initial=0) * (4 + 2 * abs(np.nan_to_num(rois)).max(axis=1, initial=0) * abs(op.scale))
    return np.broadcast_to(most[:, None, None, None], (rois.shape[0], x.shape[1], *op.size)).astype(x.dtype)


def sample_arithmetic(op: GridSample, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    taps = {"nearest": 1, "linear": 2, "cubic": 4}[op.mode] ** (out.rank - 2)
    return out.numel * taps, out.numel * taps * 2


def roi_arithmetic(op: RoiAlign, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    samples = (op.ratio or 2) ** 2
    return out.numel * samples * 4, out.numel * samples * 8


def roi_roundings(op: RoiAlign, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return max(op.ratio, 8) ** 2 + 8


NO_GRADIENT = NoGradient("where it reads depends on its places, and the way back there is not written")

GRID_SAMPLE = OpDef(
    "grid_sample",
    GridSample,
    (2, 2),
    infer_grid_sample,
    grid_sample,
    sample_arithmetic,
    grid_sample_magnitude,
    rounded(32),
    facts=Facts(),
    gradient=NO_GRADIENT,
)
ROI_ALIGN = OpDef(
    "roi_align",
    RoiAlign,
    (3, 3),
    infer_roi_align,
    roi_align,
    roi_arithmetic,
    roi_align_magnitude,
    roi_roundings,
    facts=Facts(),
    gradient=NO_GRADIENT,
)
OPS = (GRID_SAMPLE, ROI_ALIGN)
