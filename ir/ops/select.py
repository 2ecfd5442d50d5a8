"""Values chosen by place or by size: gather, and the two results of a sorted top k."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts, follows
from ..op import OpDef, elementwise_cost, no_rounding
from ..terms import Term
from ..types import MAX_RANK, Array, TensorType
from .check import need_axis, need_elements

__all__ = ["GATHER", "OPS", "TOP_K_INDICES", "TOP_K_VALUES", "Gather", "TopKIndices", "TopKValues"]


@dataclass(frozen=True, slots=True)
class Gather:
    """The slices of x along `axis` that `indices` name; negative ones count from the end. ONNX Gather.

    Shapes: x[A,B,C], indices[I,J] -> [A,I,J,C] for axis 1. An index out of range is refused by the reference; a compiled
    kernel reads the nearest slice instead, never beyond the tensor.
    """

    axis: int = 0


@dataclass(frozen=True, slots=True)
class TopKValues:
    """The `k` greatest values along `axis`, greatest first, or with `largest` off the least. ONNX TopK, first result.

    Of equals the one with the lower index comes first; a NaN counts as the greatest. Shapes: x[N,C] -> [N,k].
    """

    k: int
    axis: int = -1
    largest: bool = True


@dataclass(frozen=True, slots=True)
class TopKIndices:
    """The places of the values that top_k_values returns. ONNX TopK, second result. Shapes: x[N,C] -> i64[N,k]."""

    k: int
    axis: int = -1
    largest: bool = True


def infer_gather(op: Gather, x: TensorType, indices: TensorType) -> TensorType:
    """Raises: ShapeError for indices that are no whole numbers, an axis out of range or of no elements, or too many axes."""
    if indices.dtype not in ("i32", "i64"):
        raise ShapeError(f"indices are {indices}, expected i32 or i64; cast them")
    axis = need_axis(op.axis, x.rank)
    if 0 not in indices.shape:
        need_elements(x, axis)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    if len(shape) > MAX_RANK:
        raise ShapeError(f"{x} gathered by {indices} has {len(shape)} axes; at most {MAX_RANK} are supported")
    return TensorType(x.dtype, shape)


def gather(op: Gather, x: Array, indices: Array) -> Array:
    """Raises: ShapeError naming the first index out of range."""
    size = x.shape[op.axis]
    outside = (indices < -size) | (indices >= size)
    if outside.any():
        raise ShapeError(f"index {indices[outside].flat[0]} is outside {-size} to {size - 1}, the places of axis {op.axis}")
    return np.take(x, indices, axis=op.axis)


def infer_values(op: TopKValues | TopKIndices, x: TensorType) -> TensorType:
    """Raises: ShapeError for booleans, an axis out of range, or a k that is not within it."""
    if x.dtype == "bool":
        raise ShapeError(f"input is {x}, expected numbers; cast it")
    axis = need_axis(op.axis, x.rank)
    size = x.shape[axis]
    if op.k < 1 or (isinstance(size, int) and op.k > size):
        raise ShapeError(f"k is {op.k}, expected 1 to {size}, the elements of axis {axis}")
    return TensorType(x.dtype, (*x.shape[:axis], op.k, *x.shape[axis + 1 :]))


def infer_indices(op: TopKIndices, x: TensorType) -> TensorType:
    return TensorType("i64", infer_values(op, x).shape)


def top_k_indices(op: TopKValues | TopKIndices, x: Array) -> Array:
    """A stable sort upwards; read backwards, over the axis backwards, it is one downwards that keeps lower indices first."""
    seen = np.flip(x, op.axis) if op.largest else x
    order = np.argsort(seen, axis=op.axis, kind="stable")
    if op.largest:
        order = x.shape[op.axis] - 1 - np.flip(order, op.axis)
    return np.take(order, np.arange(op.k), axis=op.axis).astype(np.int64, copy=False)


def top_k_values(op: TopKValues, x: Array) -> Array:
    return np.take_along_axis(x, top_k_indices(op, x), axis=op.axis)


def sort_arithmetic(op: TopKValues | TopKIndices, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, inputs[0].numel * max(op.k.bit_length(), 1)  # a heap of k


def gather_gradient(op: Gather, g: Term, y: Term, x: Term, indices: Term) -> Term:
    """Each slice is added where it was read: the gathered axes first, then those that stayed."""
    axis, count = op.axis % x.rank, indices.rank
    others = [each for each in range(g.rank) if not axis <= each < axis + count]
    updates = g.transpose(*range(axis, axis + count), *others)
    stayed = [each for each in range(x.rank) if each != axis]
    zeros = g.full((x.shape[axis], *(x.shape[each] for each in stayed)), 0)
    added = zeros.op("scatter_nd", indices.reshape(*indices.shape, 1), updates, reduction="add")
    order = [axis, *stayed]
    return added.transpose(*(order.index(each) for each in range(x.rank)))


def top_k_gradient(op: TopKValues, g: Term, y: Term, x: Term) -> Term:
    places = x.op("top_k_indices", k=op.k, axis=op.axis, largest=op.largest)
    return x.zeros().op("scatter_elements", places, g, axis=op.axis, reduction="add")


GATHER = OpDef(
    "gather",
    Gather,
    (2, 2),
    infer_gather,
    gather,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(narrow=follows),
    gradient=(gather_gradient, None),
)
TOP_K_VALUES = OpDef(
    "top_k_values",
    TopKValues,
    (1, 1),
    infer_values,
    top_k_values,
    sort_arithmetic,
    roundings=no_rounding,
    facts=Facts(),
    gradient=(top_k_gradient,),
)
TOP_K_INDICES = OpDef(
    "top_k_indices", TopKIndices, (1, 1), infer_indices, top_k_indices, sort_arithmetic, roundings=no_rounding, facts=Facts()
)
OPS = (GATHER, TOP_K_VALUES, TOP_K_INDICES)
