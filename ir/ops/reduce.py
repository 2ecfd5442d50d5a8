"""Reductions over axes: mean, sum, max, min, prod, and the place of the greatest or least (arg_max, arg_min)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts, is_same_type
from ..op import OpDef, no_rounding
from ..terms import Term
from ..types import Array, TensorType, is_floating, range_of
from .check import need_axis, need_elements, need_float

__all__ = [
    "ARG_MAX",
    "ARG_MIN",
    "OPS",
    "REDUCE_MAX",
    "REDUCE_MEAN",
    "REDUCE_MIN",
    "REDUCE_PROD",
    "REDUCE_SUM",
    "REDUCTIONS",
    "ArgMax",
    "ArgMin",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "kept",
]


@dataclass(frozen=True, slots=True)
class ReduceMean:
    """Mean over `axes`, kept as 1 with `keepdims`. ONNX ReduceMean; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


@dataclass(frozen=True, slots=True)
class ReduceSum:
    """Sum over `axes`; whole numbers wrap. ONNX ReduceSum; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


@dataclass(frozen=True, slots=True)
class ReduceMax:
    """Greatest value over `axes`; a NaN wins, and of no values it is the least there is. ONNX ReduceMax; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


@dataclass(frozen=True, slots=True)
class ReduceMin:
    """Least value over `axes`; a NaN wins, and of no values it is the greatest there is. ONNX ReduceMin; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


@dataclass(frozen=True, slots=True)
class ReduceProd:
    """Product over `axes`; whole numbers wrap. ONNX ReduceProd; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


@dataclass(frozen=True, slots=True)
class ArgMax:
    """Place of the greatest value along `axis`, the first of equals or with `select_last_index` the last. ONNX ArgMax.

    A NaN counts as the greatest. Shapes: x[N,C,H,W] -> i64[N,1,H,W] for axis 1, without that axis if not `keepdims`.
    """

    axis: int = 0
    keepdims: bool = True
    select_last_index: bool = False


@dataclass(frozen=True, slots=True)
class ArgMin:
    """Place of the least value along `axis`, as in arg_max. ONNX ArgMin. A NaN counts as the least."""

    axis: int = 0
    keepdims: bool = True
    select_last_index: bool = False


Reduction = ReduceMean | ReduceSum | ReduceMax | ReduceMin | ReduceProd
Place = ArgMax | ArgMin


def infer_mean(op: ReduceMean, x: TensorType) -> TensorType:
    """Raises: ShapeError for whole numbers, an axis out of range, named twice or of no elements."""
    need_float(x)
    reduced = infer_reduce(op, x)
    need_elements(x, *_axes(op, x.rank))
    return reduced


def infer_reduce(op: Reduction, x: TensorType) -> TensorType:
    """Raises: ShapeError for booleans, an axis out of range or named twice."""
    _need_number(x)
    axes = _axes(op, x.rank)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"axes {list(op.axes)} name an axis twice")
    return _without(x, axes, keepdims=op.keepdims)


def infer_place(op: Place, x: TensorType) -> TensorType:
    """Raises: ShapeError for booleans, an axis out of range or of no elements."""
    _need_number(x)
    axis = need_axis(op.axis, x.rank)
    need_elements(x, axis)
    return _without(TensorType("i64", x.shape), (axis,), keepdims=op.keepdims)


def _need_number(x: TensorType) -> None:
    if x.dtype == "bool":
        raise ShapeError(f"input is {x}, expected numbers; cast it")


def _without(x: TensorType, axes: tuple[int, ...], *, keepdims: bool) -> TensorType:
    if keepdims:
        return TensorType(x.dtype, tuple(1 if i in axes else dim for i, dim in enumerate(x.shape)))
    return TensorType(x.dtype, tuple(dim for i, dim in enumerate(x.shape) if i not in axes))


def _axes(op: Reduction, rank: int) -> tuple[int, ...]:
    return tuple(need_axis(axis, rank) for axis in op.axes) or tuple(range(rank))


def reduce_mean(op: ReduceMean, x: Array) -> Array:
    return x.mean(axis=_axes(op, x.ndim), keepdims=op.keepdims)


def reduce_sum(op: ReduceSum, x: Array) -> Array:
    return x.sum(axis=_axes(op, x.ndim), keepdims=op.keepdims, dtype=x.dtype)  # NumPy would widen whole numbers


def _ends(x: Array) -> tuple[float, float]:
    """The least and the greatest that its element type has."""
    return (-math.inf, math.inf) if is_floating(x) else range_of(x.dtype)


def reduce_max(op: ReduceMax, x: Array) -> Array:
    return x.max(axis=_axes(op, x.ndim), keepdims=op.keepdims, initial=_ends(x)[0])


def reduce_min(op: ReduceMin, x: Array) -> Array:
    return x.min(axis=_axes(op, x.ndim), keepdims=op.keepdims, initial=_ends(x)[1])


def reduce_prod(op: ReduceProd, x: Array) -> Array:
    return x.prod(axis=_axes(op, x.ndim), keepdims=op.keepdims, dtype=x.dtype)


def arg_max(op: ArgMax, x: Array) -> Array:
    return _place(np.argmax, op, x)


def arg_min(op: ArgMin, x: Array) -> Array:
    return _place(np.argmin, op, x)


def _place(first: Callable[..., Any], op: Place, x: Array) -> Array:
    """NumPy finds the first; the last is the first of the axis read backwards."""
    seen = np.flip(x, op.axis) if op.select_last_index else x
    found = np.asarray(first(seen, axis=op.axis, keepdims=op.keepdims)).astype(np.int64, copy=False)
    return x.shape[op.axis] - 1 - found if op.select_last_index else found


def reduce_mean_magnitude(op: ReduceMean, x: Array) -> Array:
    return reduce_mean(op, abs(x))


def reduce_sum_magnitude(op: ReduceSum, x: Array) -> Array:
    return reduce_sum(op, abs(x))


def reduce_arithmetic(op: Reduction | Place, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, inputs[0].numel


def reduce_roundings(op: Reduction, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    total: Dim = 1
    for axis in _axes(op, inputs[0].rank):
        total = total * inputs[0].shape[axis]
    return total + 1


def kept(op: Any, reduced: Term, x: Term) -> Term:
    """With the axes that went as 1, so that it broadcasts to x; so does a scalar."""
    if not reduced.rank:
        return reduced
    axes = _axes(op, x.rank)
    return reduced.reshape(*(1 if axis in axes else size for axis, size in enumerate(x.shape)))


def sum_gradient(op: ReduceSum, g: Term, y: Term, x: Term) -> Term:
    return kept(op, g, x).expand(x.shape)


def mean_gradient(op: ReduceMean, g: Term, y: Term, x: Term) -> Term:
    return (kept(op, g, x) / x.count(*_axes(op, x.rank))).expand(x.shape)


def extreme_gradient(op: ReduceMax | ReduceMin, g: Term, y: Term, x: Term) -> Term:
    """Equals share evenly, as of PyTorch's amax and amin."""
    here = x.equals(kept(op, y, x)).cast(x.type.dtype)
    return here * (kept(op, g, x) / here.sum(*_axes(op, x.rank), keepdims=True))


def prod_gradient(op: ReduceProd, g: Term, y: Term, x: Term) -> Term:
    """The product of all others, of those before and those after it: right where one factor is 0, or more."""
    axes = _axes(op, x.rank)
    order = (*(axis for axis in range(x.rank) if axis not in axes), *axes)
    shape = tuple(x.shape[axis] for axis in order)
    last = x.rank - len(axes)
    row = x.transpose(*order).reshape(*shape[:last], TensorType(x.type.dtype, shape[last:]).numel)
    before, after = (row.op("cum_prod", axis=last, exclusive=True, reverse=back) for back in (False, True))
    others = (before * after).reshape(*shape).transpose(*(order.index(axis) for axis in range(x.rank)))
    return others * kept(op, g, x)


REDUCTION: Facts[object] = Facts(identity=is_same_type)

REDUCE_MEAN = OpDef(
    "reduce_mean",
    ReduceMean,
    (1, 1),
    infer_mean,
    reduce_mean,
    reduce_arithmetic,
    reduce_mean_magnitude,
    reduce_roundings,
    facts=REDUCTION,
    gradient=(mean_gradient,),
)
REDUCE_SUM = OpDef(
    "reduce_sum",
    ReduceSum,
    (1, 1),
    infer_reduce,
    reduce_sum,
    reduce_arithmetic,
    reduce_sum_magnitude,
    reduce_roundings,
    facts=REDUCTION,
    gradient=(sum_gradient,),
)
REDUCE_MAX = OpDef(
    "reduce_max",
    ReduceMax,
    (1, 1),
    infer_reduce,
    reduce_max,
    reduce_arithmetic,
    roundings=no_rounding,
    facts=REDUCTION,
    gradient=(extreme_gradient,),
)
REDUCE_MIN = OpDef(
    "reduce_min",
    ReduceMin,
    (1, 1),
    infer_reduce,
    reduce_min,
    reduce_arithmetic,
    roundings=no_rounding,
    facts=REDUCTION,
    gradient=(extreme_gradient,),
)
REDUCE_PROD = OpDef(
    "reduce_prod",
    ReduceProd,
    (1, 1),
    infer_reduce,
    reduce_prod,
    reduce_arithmetic,
    roundings=reduce_roundings,
    facts=REDUCTION,
    gradient=(prod_gradient,),
)
ARG_MAX = OpDef("arg_max", ArgMax, (1, 1), infer_place, arg_max, reduce_arithmetic, roundings=no_rounding, facts=Facts())
ARG_MIN = OpDef("arg_min", ArgMin, (1, 1), infer_place, arg_min, reduce_arithmetic, roundings=no_rounding, facts=Facts())
REDUCTIONS = (REDUCE_MEAN, REDUCE_SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD)
OPS = (*REDUCTIONS, ARG_MAX, ARG_MIN)
