"""Values at places that other values name, one by one: gather_elements, gather_nd, scatter_elements, scatter_nd, one_hot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef, elementwise_cost, no_rounding
from ..terms import NoGradient, Term, where
from ..types import MAX_RANK, Array, TensorType
from .check import need_axis, need_rank, need_same_dtype

__all__ = [
    "GATHER_ELEMENTS",
    "GATHER_ND",
    "ONE_HOT",
    "OPS",
    "SCATTER_ELEMENTS",
    "SCATTER_ND",
    "GatherElements",
    "GatherNd",
    "OneHot",
    "ScatterElements",
    "ScatterNd",
]

COMBINE: dict[str, Callable[..., None]] = {"add": np.add.at, "mul": np.multiply.at, "max": np.maximum.at, "min": np.minimum.at}


@dataclass(frozen=True, slots=True)
class GatherElements:
    """For each element of `indices` the element of x at its own place, but on `axis` at that index. ONNX GatherElements.

    Shapes: x[A,B], indices[I,J] -> [I,J]; other axes of `indices` are no longer than those of x. A negative index counts from the
    end. One out of range is refused by the reference; a compiled kernel reads the nearest element instead.
    """

    axis: int = 0


@dataclass(frozen=True, slots=True)
class GatherNd:
    """The slices of x that the last axis of `indices` names, in step with it on the first `batch_dims` axes. ONNX GatherND.

    Shapes: x[A,B,C], indices[I,J,2] -> [I,J,C]. Indices as in gather_elements.
    """

    batch_dims: int = 0


@dataclass(frozen=True, slots=True)
class ScatterElements:
    """x, with `updates` put where gather_elements would read: in its stead, or by `reduction` (add, mul, max, min) upon it.

    ONNX ScatterElements. Shapes: x[A,B], indices[I,J], updates[I,J] -> [A,B]. Of several updates of one place without a reduction
    the last one stays. An index out of range is refused by the reference; a compiled kernel takes the nearest place.
    """

    axis: int = 0
    reduction: str = "none"


@dataclass(frozen=True, slots=True)
class ScatterNd:
    """x, with `updates` put where gather_nd would read, as in scatter_elements. ONNX ScatterND.

    Shapes: x[A,B,C], indices[I,J,2], updates[I,J,C] -> [A,B,C].
    """

    reduction: str = "none"


@dataclass(frozen=True, slots=True)
class OneHot:
    """On a new axis of `depth` places the second of two `values` at the index, the first elsewhere. ONNX OneHot.

    Shapes: indices[I,J], values[2] -> [I,J,depth] for axis -1. A negative index counts from the end; one out of range is nowhere.
    """

    depth: Dim
    axis: int = -1


def _need_indices(indices: TensorType) -> None:
    if indices.dtype not in ("i32", "i64"):
        raise ShapeError(f"indices are {indices}, expected i32 or i64; cast them")


def _need_reduction(reduction: str) -> None:
    if reduction not in ("none", *COMBINE):
        raise ShapeError(f"unknown reduction '{reduction}'; known are none, {', '.join(COMBINE)}")


def infer_gather_elements(op: GatherElements, x: TensorType, indices: TensorType) -> TensorType:
    """Raises: ShapeError for indices that are no whole numbers, of another rank, or reach beyond x on another axis."""
    _need_indices(indices)
    _need_within(op, x, indices)
    return TensorType(x.dtype, indices.shape)


def _need_within(op: GatherElements | ScatterElements, x: TensorType, indices: TensorType) -> None:
    axis = need_axis(op.axis, x.rank)
    if indices.rank != x.rank:
        raise ShapeError(f"indices are {indices}, expected {x.rank} axes as {x} has")
    for i, (size, of) in enumerate(zip(indices.shape, x.shape, strict=True)):
        fits = size <= of if isinstance(size, int) and isinstance(of, int) else size == of
        if i != axis and not fits:
            raise ShapeError(f"indices are {indices}, which reach beyond {x} on axis {i}")
    if x.shape[axis] == 0 and 0 not in indices.shape:
        raise ShapeError(f"input is {x}; axis {axis} has no elements to choose from")


def infer_gather_nd(op: GatherNd, x: TensorType, indices: TensorType) -> TensorType:
    """Raises: ShapeError for indices that are no whole numbers, batches that differ, or more of them than axes."""
    _need_indices(indices)
    depth = _depth(op.batch_dims, x, indices)
    if x.shape[: op.batch_dims] != indices.shape[: op.batch_dims]:
        raise ShapeError(f"{x} and indices {indices} differ in their first {op.batch_dims} axes")
    shape = (*indices.shape[:-1], *x.shape[op.batch_dims + depth :])
    if len(shape) > MAX_RANK:
        raise ShapeError(f"{x} gathered by {indices} has {len(shape)} axes; at most {MAX_RANK} are supported")
    if 0 in x.shape[op.batch_dims : op.batch_dims + depth] and 0 not in indices.shape:
        raise ShapeError(f"input is {x}; an axis that the indices name has no elements to choose from")
    return TensorType(x.dtype, shape)


def _depth(batch_dims: int, x: TensorType, indices: TensorType) -> int:
    """How many axes of x the indices name."""
    if not 0 <= batch_dims < min(x.rank, indices.rank):
        raise ShapeError(f"batch_dims {batch_dims} leaves no axis of {x} or of indices {indices}")
    depth = indices.shape[-1]
    if not isinstance(depth, int) or not 1 <= depth <= x.rank - batch_dims:
        raise ShapeError(f"indices {indices} name {depth} axes on their last, expected 1 to {x.rank - batch_dims}")
    return depth


def infer_scatter_elements(op: ScatterElements, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
    """Raises: ShapeError also where the updates have another shape than the indices."""
    _need_reduction(op.reduction)
    infer_gather_elements(GatherElements(op.axis), x, indices)
    need_same_dtype(x, updates)
    if updates.shape != indices.shape:
        raise ShapeError(f"updates are {updates}, indices {indices}; expected one shape")
    return x


def infer_scatter_nd(op: ScatterNd, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
    """Raises: ShapeError also where the updates have another shape than gather_nd would read."""
    _need_reduction(op.reduction)
    read = infer_gather_nd(GatherNd(), x, indices)
    need_same_dtype(x, updates)
    if updates.shape != read.shape:
        raise ShapeError(f"updates are {updates}, expected {read} for {x} and indices {indices}")
    return x


def infer_one_hot(op: OneHot, indices: TensorType, values: TensorType) -> TensorType:
    """Raises: ShapeError unless there are two values, whole numbers for indices, and a depth that is not negative."""
    _need_indices(indices)
    need_rank("values", values, 1)
    if values.shape[0] != 2:
        raise ShapeError(f"values are {values}, expected two: off and on")
    if isinstance(op.depth, int) and op.depth < 0:
        raise ShapeError(f"depth {op.depth} is negative")
    if indices.rank == MAX_RANK:
        raise ShapeError(f"indices are {indices}; one axis more than the {MAX_RANK} that are supported")
    axis = need_axis(op.axis, indices.rank + 1)
    return TensorType(values.dtype, (*indices.shape[:axis], op.depth, *indices.shape[axis:]))


def _inside(indices: Array, size: int, axis: int) -> Array:
    """Indices counted from the front.

    Raises: ShapeError naming the first out of range.
    """
    outside = (indices < -size) | (indices >= size)
    if outside.any():
        raise ShapeError(f"index {indices[outside].flat[0]} is outside {-size} to {size - 1}, the places of axis {axis}")
    return np.where(indices < 0, indices + size, indices)


def _elements(axis: int, x: Array, indices: Array) -> tuple[Array, ...]:
    at: list[Array] = list(np.ogrid[tuple(slice(size) for size in indices.shape)])
    at[axis] = _inside(indices, x.shape[axis], axis)
    return tuple(at)


def _slices(batch_dims: int, x: Array, indices: Array) -> tuple[Array, ...]:
    batch = [_numbered(size, indices.ndim - 2 - axis) for axis, size in enumerate(indices.shape[:batch_dims])]
    named = (_inside(indices[..., k], x.shape[batch_dims + k], batch_dims + k) for k in range(indices.shape[-1]))
    return (*batch, *named)


def _numbered(size: int, before: int) -> Array:
    """0, 1, 2 along an axis that stands before so many others."""
    places: Array = np.arange(size)
    return places.reshape(-1, *(1,) * before)


def gather_elements(op: GatherElements, x: Array, indices: Array) -> Array:
    return np.asarray(x[_elements(op.axis % x.ndim, x, indices)])


def gather_nd(op: GatherNd, x: Array, indices: Array) -> Array:
    return np.asarray(x[_slices(op.batch_dims, x, indices)])


def scatter_elements(op: ScatterElements, x: Array, indices: Array, updates: Array) -> Array:
    return _put(op.reduction, x, _elements(op.axis % x.ndim, x, indices), updates)


def scatter_nd(op: ScatterNd, x: Array, indices: Array, updates: Array) -> Array:
    return _put(op.reduction, x, _slices(0, x, indices), updates)


def _put(reduction: str, x: Array, at: tuple[Array, ...], updates: Array) -> Array:
    out = x.copy()
    if reduction == "none":
        out[at] = updates
    else:
        COMBINE[reduction](out, at, updates)
    return out


def one_hot(op: OneHot, indices: Array, values: Array) -> Array:
    """The interpreter has put a number for `depth` before it calls this."""
    assert isinstance(op.depth, int)
    axis = op.axis % (indices.ndim + 1)
    places = _numbered(op.depth, indices.ndim - axis)
    wrapped = np.where(indices < 0, indices + op.depth, indices)
    is_on: Array = np.equal(np.expand_dims(wrapped, axis), places)
    return np.asarray(np.where(is_on, values[1:2], values[0:1]))


def _scattered(op: ScatterElements | ScatterNd) -> bool:
    return op.reduction in ("add", "mul")


def scatter_elements_magnitude(op: ScatterElements, x: Array, indices: Array, updates: Array) -> Array:
    """The sum of sizes, or the size of the product; what is only moved is not rounded."""
    return scatter_elements(op, abs(x), indices, abs(updates)) if _scattered(op) else np.zeros_like(x)


def scatter_nd_magnitude(op: ScatterNd, x: Array, indices: Array, updates: Array) -> Array:
    return scatter_nd(op, abs(x), indices, abs(updates)) if _scattered(op) else np.zeros_like(x)


def scatter_roundings(op: ScatterElements | ScatterNd, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """All updates may have one place."""
    return inputs[1].numel if _scattered(op) else 0


def scatter_arithmetic(op: Any, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, inputs[2].numel if op.reduction != "none" else 0


def gather_elements_gradient(op: GatherElements, g: Term, y: Term, x: Term, indices: Term) -> Term:
    return x.zeros().op("scatter_elements", indices, g, axis=op.axis, reduction="add")


def gather_nd_gradient(op: GatherNd, g: Term, y: Term, x: Term, indices: Term) -> Term:
    """Indices that count the batches too, as scatter_nd has no batches."""
    first, flat = indices.number(0), (*indices.shape[:-1], 1)
    batches = (first.op("range", 1, count=size) for size in indices.shape[: op.batch_dims])
    spread = [each.reshape(*(1,) * axis, *each.shape, *(1,) * (len(flat) - 1 - axis)).expand(flat) for axis, each in enumerate(batches)]
    whole = spread[0].op("concat", *spread[1:], indices, axis=-1) if spread else indices
    return x.zeros().op("scatter_nd", whole, g, reduction="add")


def scattered_onto_gradient(op: ScatterElements | ScatterNd, g: Term, y: Term, x: Term, indices: Term, updates: Term) -> Term | NoGradient:
    """What is still there: all of it under a sum; of a product its other factors; nothing where it was replaced."""
    if op.reduction == "add":
        return g
    if op.reduction == "mul":
        return g * _scatter(op, x.full(x.shape, 1), indices, updates, op.reduction)
    return CHOOSES if op.reduction != "none" else _scatter(op, g, indices, updates.zeros(), "none")


def updates_gradient(op: ScatterElements | ScatterNd, g: Term, y: Term, x: Term, indices: Term, updates: Term) -> Term | NoGradient:
    """Read where it was put. Of several replacements of one place each has it, as in PyTorch."""
    if op.reduction in ("max", "min"):
        return CHOOSES
    if op.reduction == "mul":
        return _factors_gradient(op, g, y, x, indices, updates)
    return _gather(op, g, indices)


def _factors_gradient(op: ScatterElements | ScatterNd, g: Term, y: Term, x: Term, indices: Term, updates: Term) -> Term:
    """The product over the factor; a 0 that is its place's only one moves the product of the others, one of several nothing."""
    is_zero = updates.equals(0)
    zeros = _gather(op, _scatter(op, x.zeros(), indices, is_zero.cast(x.type.dtype), "add"), indices)
    without = _scatter(op, x, indices, where(is_zero, 1, updates), "mul")
    return where(is_zero, where(zeros.equals(1), _gather(op, g * without, indices), 0), _gather(op, g * y, indices) / updates)


CHOOSES = NoGradient("a reduction by max or min has none here; gather, take the maximum and scatter")


def _scatter(op: ScatterElements | ScatterNd, onto: Term, indices: Term, updates: Term, reduction: str) -> Term:
    if isinstance(op, ScatterNd):
        return onto.op("scatter_nd", indices, updates, reduction=reduction)
    return onto.op("scatter_elements", indices, updates, axis=op.axis, reduction=reduction)


def _gather(op: ScatterElements | ScatterNd, g: Term, indices: Term) -> Term:
    return g.op("gather_nd", indices) if isinstance(op, ScatterNd) else g.op("gather_elements", indices, axis=op.axis)


SCATTERED = (scattered_onto_gradient, None, updates_gradient)


def one_hot_values_gradient(op: OneHot, g: Term, y: Term, indices: Term, values: Term) -> Term:
    off, on = (indices.op("one_hot", values.table((2,), pair), depth=op.depth, axis=op.axis) for pair in (_off, _on))
    parts = [(g * chosen).sum(*range(g.rank)).reshape(1) for chosen in (off, on)]
    return parts[0].op("concat", parts[1], axis=0)


def _off() -> Array:
    return np.array([1.0, 0.0])


def _on() -> Array:
    return np.array([0.0, 1.0])


NOTHING: Facts[object] = Facts()

GATHER_ELEMENTS = OpDef(
    "gather_elements",
    GatherElements,
    (2, 2),
    infer_gather_elements,
    gather_elements,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=NOTHING,
    gradient=(gather_elements_gradient, None),
)
GATHER_ND = OpDef(
    "gather_nd",
    GatherNd,
    (2, 2),
    infer_gather_nd,
    gather_nd,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=NOTHING,
    gradient=(gather_nd_gradient, None),
)
SCATTER_ELEMENTS = OpDef(
    "scatter_elements",
    ScatterElements,
    (3, 3),
    infer_scatter_elements,
    scatter_elements,
    scatter_arithmetic,
    scatter_elements_magnitude,
    scatter_roundings,
    facts=NOTHING,
    gradient=SCATTERED,
)
SCATTER_ND = OpDef(
    "scatter_nd",
    ScatterNd,
    (3, 3),
    infer_scatter_nd,
    scatter_nd,
    scatter_arithmetic,
    scatter_nd_magnitude,
    scatter_roundings,
    facts=NOTHING,
    gradient=SCATTERED,
)
ONE_HOT = OpDef(
    "one_hot",
    OneHot,
    (2, 2),
    infer_one_hot,
    one_hot,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(sizes=("depth",)),
    gradient=(None, one_hot_values_gradient),
)
OPS = (GATHER_ELEMENTS, GATHER_ND, SCATTER_ELEMENTS, SCATTER_ND, ONE_HOT)
