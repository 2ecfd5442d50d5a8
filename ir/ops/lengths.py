"""Lengths of vectors, and sums of what is made of each element: reduce_l1, reduce_l2, reduce_sum_square, reduce_log_sum,
reduce_log_sum_exp, lp_normalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts, fixed
from ..op import OpDef
from ..terms import Term, of_one, where
from ..types import Array, TensorType
from .check import need_axis, need_float
from .reduce import ReduceSum, infer_reduce, kept, reduce_roundings, reduce_sum

__all__ = [
    "LP_NORMALIZATION",
    "OPS",
    "REDUCE_L1",
    "REDUCE_L2",
    "REDUCE_LOG_SUM",
    "REDUCE_LOG_SUM_EXP",
    "REDUCE_SUM_SQUARE",
    "LpNormalization",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
]


@dataclass(frozen=True, slots=True)
class ReduceL1:
    """Sum of |x| over `axes`; whole numbers wrap. ONNX ReduceL1; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


@dataclass(frozen=True, slots=True)
class ReduceL2:
    """Root of the sum of squares over `axes`. ONNX ReduceL2; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


@dataclass(frozen=True, slots=True)
class ReduceSumSquare:
    """Sum of squares over `axes`; whole numbers wrap. ONNX ReduceSumSquare; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


@dataclass(frozen=True, slots=True)
class ReduceLogSum:
    """Logarithm of the sum over `axes`. ONNX ReduceLogSum; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


@dataclass(frozen=True, slots=True)
class ReduceLogSumExp:
    """Logarithm of the sum of e^x over `axes`, of which none overflows. ONNX ReduceLogSumExp; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


@dataclass(frozen=True, slots=True)
class LpNormalization:
    """x over the sum of |x|, or with p=2 over the root of the sum of squares, along `axis`; 0 where that is 0. ONNX LpNormalization."""

    axis: int = -1
    p: int = 2


Length = ReduceL1 | ReduceL2 | ReduceSumSquare | ReduceLogSum | ReduceLogSumExp


def _like(op: Length) -> ReduceSum:
    return ReduceSum(op.axes, op.keepdims)


def infer_length(op: ReduceL1 | ReduceSumSquare, x: TensorType) -> TensorType:
    """Raises: ShapeError for booleans, an axis out of range or named twice."""
    return infer_reduce(_like(op), x)


def infer_float_length(op: ReduceL2 | ReduceLogSum | ReduceLogSumExp, x: TensorType) -> TensorType:
    """Raises: ShapeError for whole numbers, an axis out of range or named twice."""
    need_float(x)
    return infer_reduce(_like(op), x)


def infer_lp_normalization(op: LpNormalization, x: TensorType) -> TensorType:
    """Raises: ShapeError for whole numbers, an axis out of range, or a p other than 1 and 2."""
    need_float(x)
    need_axis(op.axis, x.rank)
    if op.p not in (1, 2):
        raise ShapeError(f"p is {op.p}, expected 1 or 2")
    return x


def reduce_l1(op: ReduceL1, x: Array) -> Array:
    return reduce_sum(_like(op), abs(x))


def reduce_l2(op: ReduceL2, x: Array) -> Array:
    return np.sqrt(reduce_sum(_like(op), np.square(x)))


def reduce_sum_square(op: ReduceSumSquare, x: Array) -> Array:
    return reduce_sum(_like(op), np.square(x))


def reduce_log_sum(op: ReduceLogSum, x: Array) -> Array:
    return np.log(reduce_sum(_like(op), x))


def reduce_log_sum_exp(op: ReduceLogSumExp, x: Array) -> Array:
    """The greatest value is taken out first; inf - inf would be NaN."""
    most = x.max(axis=op.axes or None, keepdims=True, initial=-np.inf)
    most = np.clip(most, np.finfo(x.dtype).min, np.finfo(x.dtype).max)
    total = reduce_sum(_like(op), np.exp(x - most))
    return np.log(total) + most.reshape(total.shape)


def lp_normalization(op: LpNormalization, x: Array) -> Array:
    length = _lengths(op, x)
    return np.where(length == 0, np.zeros((), x.dtype), x / np.where(length == 0, np.ones((), x.dtype), length))


def _lengths(op: LpNormalization, x: Array) -> Array:
    if op.p == 1:
        return reduce_l1(ReduceL1((op.axis,)), x)
    return reduce_l2(ReduceL2((op.axis,)), x)


def log_sum_magnitude(op: ReduceLogSum, x: Array) -> Array:
    """The error of the sum over the sum, and that of a logarithm near 0."""
    total = reduce_sum(_like(op), x)
    return 1 + abs(np.log(total)) + reduce_sum(_like(op), abs(x)) / abs(total)


def log_sum_exp_magnitude(op: ReduceLogSumExp, x: Array) -> Array:
    """Arguments of exponentials are rounded as numbers of their size are, and so is what was taken out."""
    most = abs(x).max(axis=op.axes or None, keepdims=op.keepdims, initial=0)
    return 2 + abs(reduce_log_sum_exp(op, x)) + 2 * most


def length_arithmetic(op: Any, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, inputs[0].numel * 2


def log_sum_exp_roundings(op: ReduceLogSumExp, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return reduce_roundings(_like(op), inputs, out) + 16


def lp_roundings(op: LpNormalization, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return out.shape[op.axis] + 4


def length_roundings(op: Length, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return reduce_roundings(_like(op), inputs, out) + 4


def lp_normalization_gradient(op: LpNormalization, g: Term, y: Term, x: Term) -> Term:
    """Without its part along the length; 0 where that is 0."""
    name = "reduce_l1" if op.p == 1 else "reduce_l2"
    length = x.op(name, axes=(op.axis,), keepdims=True)
    along = (x.sign() if op.p == 1 else y) * (g * y).sum(op.axis, keepdims=True)
    return where(length > 0, (g - along) / where(length > 0, length, 1), 0)


def l2_gradient(op: ReduceL2, g: Term, y: Term, x: Term) -> Term:
    """Of a length of 0 nothing, as in PyTorch."""
    length = kept(op, y, x)
    return x * where(length > 0, kept(op, g, x) / where(length > 0, length, 1), 0)


NOT_NEGATIVE: Facts[object] = Facts(least=fixed(0.0))

REDUCE_L1 = OpDef(
    "reduce_l1",
    ReduceL1,
    (1, 1),
    infer_length,
    reduce_l1,
    length_arithmetic,
    roundings=length_roundings,
    facts=NOT_NEGATIVE,
    gradient=of_one(lambda op, g, y, x: x.sign() * kept(op, g, x)),
)
REDUCE_L2 = OpDef(
    "reduce_l2",
    ReduceL2,
    (1, 1),
    infer_float_length,
    reduce_l2,
    length_arithmetic,
    roundings=length_roundings,
    facts=NOT_NEGATIVE,
    gradient=(l2_gradient,),
)
REDUCE_SUM_SQUARE = OpDef(
    "reduce_sum_square",
    ReduceSumSquare,
    (1, 1),
    infer_length,
    reduce_sum_square,
    length_arithmetic,
    roundings=length_roundings,
    facts=NOT_NEGATIVE,
    gradient=of_one(lambda op, g, y, x: 2 * x * kept(op, g, x)),
)
REDUCE_LOG_SUM = OpDef(
    "reduce_log_sum",
    ReduceLogSum,
    (1, 1),
    infer_float_length,
    reduce_log_sum,
    length_arithmetic,
    log_sum_magnitude,
    log_sum_exp_roundings,
    facts=Facts(),
    gradient=of_one(lambda op, g, y, x: (kept(op, g, x) / kept(op, y, x).op("exp")).expand(x.shape)),
)
REDUCE_LOG_SUM_EXP = OpDef(
    "reduce_log_sum_exp",
    ReduceLogSumExp,
    (1, 1),
    infer_float_length,
    reduce_log_sum_exp,
    length_arithmetic,
    log_sum_exp_magnitude,
    log_sum_exp_roundings,
    facts=Facts(),
    gradient=of_one(lambda op, g, y, x: kept(op, g, x) * (x - kept(op, y, x)).op("exp")),
)
LP_NORMALIZATION = OpDef(
    "lp_normalization",
    LpNormalization,
    (1, 1),
    infer_lp_normalization,
    lp_normalization,
    length_arithmetic,
    roundings=lp_roundings,
    facts=Facts(),
    gradient=(lp_normalization_gradient,),
)
OPS = (REDUCE_L1, REDUCE_L2, REDUCE_SUM_SQUARE, REDUCE_LOG_SUM, REDUCE_LOG_SUM_EXP, LP_NORMALIZATION)
