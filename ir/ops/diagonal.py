"""Parts of matrices by their diagonals, and sums and products so far: trilu, eye_like, cum_sum, cum_prod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef, elementwise_cost, no_rounding
from ..terms import FLAT, Term, of_one, where
from ..types import DTYPES, Array, TensorType
from .check import need_axis, need_rank
from .unary import infer_number

__all__ = ["CUM_PROD", "CUM_SUM", "EYE_LIKE", "OPS", "TRILU", "CumProd", "CumSum", "EyeLike", "Trilu"]


@dataclass(frozen=True, slots=True)
class Trilu:
    """What lies on the diagonal `k` places right of the main one and above it, or with `upper` off below it; 0 elsewhere. ONNX Trilu.

    Shapes: x[...,M,N] -> x.
    """

    upper: bool = True
    k: int = 0


@dataclass(frozen=True, slots=True)
class EyeLike:
    """1 on the diagonal `k` places right of the main one, 0 elsewhere, with the shape of x. ONNX EyeLike. Shapes: x[M,N] -> [M,N]."""

    to: str
    k: int = 0


@dataclass(frozen=True, slots=True)
class CumSum:
    """The sum of all elements up to each along `axis`: without itself if `exclusive`, from the end if `reverse`. ONNX CumSum.

    Whole numbers wrap.
    """

    axis: int
    exclusive: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class CumProd:
    """The product of all elements up to each along `axis`, as in cum_sum. ONNX CumProd."""

    axis: int
    exclusive: bool = False
    reverse: bool = False


def infer_trilu(op: Trilu, x: TensorType) -> TensorType:
    """Raises: ShapeError for less than two axes."""
    if x.rank < 2:
        raise ShapeError(f"input is {x}, expected at least 2 axes")
    return x


def infer_eye_like(op: EyeLike, x: TensorType) -> TensorType:
    """Raises: ShapeError unless x has two axes."""
    need_rank("the shape of", x, 2)
    if op.to not in DTYPES:
        raise ShapeError(f"unknown element type '{op.to}'; known are {', '.join(DTYPES)}")
    return TensorType(op.to, x.shape)


def infer_cumulative(op: CumSum | CumProd, x: TensorType) -> TensorType:
    """Raises: ShapeError for booleans, or an axis out of range."""
    need_axis(op.axis, x.rank)
    return infer_number(op, x)


def trilu(op: Trilu, x: Array) -> Array:
    return np.where(_kept(op, x.shape[-2], x.shape[-1]), x, np.zeros((), x.dtype))


def _kept(op: Trilu, rows: int, cols: int) -> Array:
    right = _right(rows, cols)
    return right >= op.k if op.upper else right <= op.k


def _right(rows: int, cols: int) -> Array:
    """How far right of the main diagonal each place lies."""
    across: Array = np.arange(cols)
    down: Array = np.arange(rows)
    return across - down[:, None]


def eye_like(op: EyeLike, x: Array) -> Array:
    rows, cols = x.shape
    return np.equal(_right(rows, cols), op.k).astype(DTYPES[op.to])


def cum_sum(op: CumSum, x: Array) -> Array:
    return _cumulative(np.cumsum, 0, op, x)


def cum_prod(op: CumProd, x: Array) -> Array:
    return _cumulative(np.cumprod, 1, op, x)


def _cumulative(accumulate: Callable[..., Array], start: int, op: CumSum | CumProd, x: Array) -> Array:
    seen = np.flip(x, op.axis) if op.reverse else x
    if op.exclusive:
        first = np.full_like(np.take(seen, [0] if seen.shape[op.axis] else [], op.axis), start)
        seen = np.concatenate([first, np.take(seen, range(max(seen.shape[op.axis] - 1, 0)), op.axis)], op.axis)
    out = accumulate(seen, axis=op.axis, dtype=x.dtype)
    return np.ascontiguousarray(np.flip(out, op.axis)) if op.reverse else out


def cum_sum_magnitude(op: CumSum, x: Array) -> Array:
    return cum_sum(op, abs(x))


def cum_prod_magnitude(op: CumProd, x: Array) -> Array:
    return cum_prod(op, abs(x))


def cumulative_roundings(op: CumSum | CumProd, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return out.shape[op.axis]


def _later(op: CumSum | CumProd, g: Term) -> Term:
    """The sum over what each element went into."""
    return g.op("cum_sum", axis=op.axis, exclusive=op.exclusive, reverse=not op.reverse)


def cum_prod_gradient(op: CumProd, g: Term, y: Term, x: Term) -> Term:
    """Before the first 0 every product over its factor; the first 0 itself moves what would be without it; after it nothing moves."""
    zero = x.equals(0)
    zeros = zero.cast(x.type.dtype).op("cum_sum", axis=op.axis, exclusive=False, reverse=op.reverse)
    first = zero & zeros.equals(1)
    without = where(first, 1, x).op("cum_prod", axis=op.axis, exclusive=op.exclusive, reverse=op.reverse)
    return where(zeros.equals(0), _later(op, g * y) / x, where(first, _later(op, g * without), 0))


TRILU = OpDef(
    "trilu",
    Trilu,
    (1, 1),
    infer_trilu,
    trilu,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(),
    gradient=of_one(lambda op, g, y, x: g.op("trilu", upper=op.upper, k=op.k)),
)
EYE_LIKE = OpDef(
    "eye_like",
    EyeLike,
    (1, 1),
    infer_eye_like,
    eye_like,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(),
    gradient=FLAT,
)
CUM_SUM = OpDef(
    "cum_sum",
    CumSum,
    (1, 1),
    infer_cumulative,
    cum_sum,
    elementwise_cost(1),
    cum_sum_magnitude,
    cumulative_roundings,
    facts=Facts(),
    gradient=of_one(lambda op, g, y, x: _later(op, g)),
)
CUM_PROD = OpDef(
    "cum_prod",
    CumProd,
    (1, 1),
    infer_cumulative,
    cum_prod,
    elementwise_cost(1),
    cum_prod_magnitude,
    cumulative_roundings,
    facts=Facts(),
    gradient=of_one(cum_prod_gradient),
)
OPS = (TRILU, EYE_LIKE, CUM_SUM, CUM_PROD)
