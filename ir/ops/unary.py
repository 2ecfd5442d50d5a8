"""Mathematics on one value, element by element: exp, log, sqrt, erf, abs, neg, the roundings, softplus, logical_not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..facts import BY_PLACE, Facts, always, fixed, follows
from ..op import OpDef, elementwise_cost, no_rounding, plain, rounded
from ..terms import FLAT, of_one, where
from ..types import Array, TensorType
from .check import float_alone

__all__ = [
    "ABS",
    "CEIL",
    "ERF",
    "EXP",
    "FLOOR",
    "LOG",
    "LOGICAL_NOT",
    "NEG",
    "OPS",
    "ROUND",
    "SOFTPLUS",
    "SQRT",
    "Abs",
    "Ceil",
    "Erf",
    "Exp",
    "Floor",
    "Log",
    "LogicalNot",
    "Neg",
    "Round",
    "Softplus",
    "Sqrt",
    "erf",
]


@dataclass(frozen=True, slots=True)
class Exp:
    """e to the power of x. ONNX Exp."""


@dataclass(frozen=True, slots=True)
class Log:
    """The natural logarithm; of 0 it is -inf, of less NaN. ONNX Log."""


@dataclass(frozen=True, slots=True)
class Sqrt:
    """The square root; of less than 0 it is NaN. ONNX Sqrt."""


@dataclass(frozen=True, slots=True)
class Erf:
    """2/sqrt(pi) times the integral of exp(-t^2) from 0 to x. ONNX Erf."""


@dataclass(frozen=True, slots=True)
class Abs:
    """|x|, also of whole numbers; the least of these has no opposite and stays. ONNX Abs."""


@dataclass(frozen=True, slots=True)
class Neg:
    """-x, also of whole numbers with a sign. ONNX Neg."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The next whole number at or below x. ONNX Floor."""


@dataclass(frozen=True, slots=True)
class Ceil:
    """The next whole number at or above x. ONNX Ceil."""


@dataclass(frozen=True, slots=True)
class Round:
    """The nearest whole number, of two the even one. ONNX Round."""


@dataclass(frozen=True, slots=True)
class Softplus:
    """log(1 + exp(x)). Dugas et al. 2001; ONNX Softplus."""


@dataclass(frozen=True, slots=True)
class LogicalNot:
    """True for false. ONNX Not."""


def infer_number(op: Any, x: TensorType) -> TensorType:
    if x.dtype == "bool":
        raise ShapeError(f"input is {x}, expected numbers; cast it")
    return x


def infer_signed(op: Any, x: TensorType) -> TensorType:
    if x.dtype == "bool" or x.dtype.startswith("u"):
        raise ShapeError(f"input is {x}, which has no negative numbers; cast it")
    return x


def infer_truth(op: Any, x: TensorType) -> TensorType:
    if x.dtype != "bool":
        raise ShapeError(f"input is {x}, expected bool; cast it or compare it")
    return x


# Rational approximations of erf on [0, 0.47] and of exp(x^2)*erfc(x) from there, highest power first.
# Cody 1969, "Rational Chebyshev approximations for the error function". Relative errors are below 1e-16 up to 4, and
# what the second loses above matters nothing next to 1: erfc(4) is 1.5e-8.
_NEAR_P = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3)
_NEAR_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_FAR_P = (
    *(2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1, 2.98635138197400131e2),
    *(8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
)
_FAR_Q = (
    *(1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3),
    *(3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)
_NEAR, _ONE = 0.46875, 6.0  # from _ONE on, erf is 1 in float64
_BLOCK = 1 << 14  # elements at once: a score of passes over them stays in cache


def erf(x: Array) -> Array:
    """The error function, computed in float64 and given in the type of x."""
    flat, out = np.ravel(x), np.empty(x.size, x.dtype)
    for start in range(0, x.size, _BLOCK):
        out[start : start + _BLOCK] = _erf(flat[start : start + _BLOCK].astype(np.float64, copy=False))
    return out.reshape(x.shape)


def _erf(wide: Array) -> Array:
    near = np.clip(wide, -_NEAR, _NEAR)
    square = near * near
    small = near * (np.polyval(_NEAR_P, square) / np.polyval(_NEAR_Q, square))
    far = np.clip(abs(wide), _NEAR, _ONE)
    large = np.copysign(1 - np.exp(-far * far) * (np.polyval(_FAR_P, far) / np.polyval(_FAR_Q, far)), wide)
    return np.where(abs(wide) <= _NEAR, small, large)


def softplus(op: Softplus, x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))  # never overflows


def exp_magnitude(op: Exp, x: Array) -> Array:
    """Fast kernels (CUDA's __expf) round the argument times log2(e), which costs its size; beyond 750 the result is 0 or inf."""
    return np.exp(x) * (1 + np.minimum(abs(x), 750))


def log_magnitude(op: Log, x: Array) -> Array:
    """Fast kernels (CUDA's __logf) keep no relative precision near 1, where the result is 0."""
    return 1 + abs(np.log(x))


def erf_magnitude(op: Erf, x: Array) -> Array:
    """Engines approximate it with an absolute error, of the range."""
    return np.ones_like(x)


def softplus_magnitude(op: Softplus, x: Array) -> Array:
    """1 + exp(x) is rounded before its logarithm is taken."""
    return 1 + softplus(op, x)


fast = rounded(8)  # within a few units of the last place, also on a GPU
near = rounded(2)  # the standard asks for a correctly rounded one; a GPU may be one unit off
approximated = rounded(16)  # a rational approximation in float32

BY_ELEMENT: Facts[object] = Facts(pointwise=True, reuse=BY_PLACE)
STEPWISE: Facts[object] = Facts(pointwise=True, reuse=BY_PLACE, rising=always, idempotent=always)
EXPONENTIAL: Facts[object] = Facts(pointwise=True, reuse=BY_PLACE, rising=always, least=fixed(0.0))
# Log and root rise too, where they are: a NaN that they make of one negative element would no longer reach a maximum.
ROOT: Facts[object] = Facts(pointwise=True, reuse=BY_PLACE, least=fixed(0.0))

EXP = OpDef(
    "exp",
    Exp,
    (1, 1),
    float_alone,
    plain(np.exp),
    elementwise_cost(1),
    exp_magnitude,
    fast,
    facts=EXPONENTIAL,
    gradient=of_one(lambda op, g, y, x: g * y),
)
LOG = OpDef(
    "log",
    Log,
    (1, 1),
    float_alone,
    plain(np.log),
    elementwise_cost(1),
    log_magnitude,
    fast,
    facts=BY_ELEMENT,
    gradient=of_one(lambda op, g, y, x: g / x),
)
SQRT = OpDef(
    "sqrt",
    Sqrt,
    (1, 1),
    float_alone,
    plain(np.sqrt),
    elementwise_cost(1),
    roundings=near,
    facts=ROOT,
    gradient=of_one(lambda op, g, y, x: g / (2 * y)),
)
ERF = OpDef(
    "erf",
    Erf,
    (1, 1),
    float_alone,
    plain(erf),
    elementwise_cost(4),
    erf_magnitude,
    approximated,
    facts=Facts(pointwise=True, reuse=BY_PLACE, rising=always, slope=fixed(2 / math.sqrt(math.pi)), least=fixed(-1.0)),
    gradient=of_one(lambda op, g, y, x: g * ((-(x * x)).op("exp") * (2 / math.sqrt(math.pi)))),
)
ABS = OpDef(
    "abs",
    Abs,
    (1, 1),
    infer_number,
    plain(np.abs),
    elementwise_cost(1),
    roundings=no_rounding,
    facts=Facts(pointwise=True, reuse=BY_PLACE, slope=fixed(1.0), least=fixed(0.0), idempotent=always, narrow=follows),
    gradient=of_one(lambda op, g, y, x: where(x > 0, g, where(x < 0, -g, 0))),  # at 0 nothing, as in PyTorch
)
NEG = OpDef(
    "neg",
    Neg,
    (1, 1),
    infer_signed,
    plain(np.negative),
    elementwise_cost(1),
    roundings=no_rounding,
    facts=Facts(pointwise=True, reuse=BY_PLACE, slope=fixed(1.0), narrow=follows),
    gradient=of_one(lambda op, g, y, x: -g),
)
FLOOR = OpDef(
    "floor", Floor, (1, 1), float_alone, plain(np.floor), elementwise_cost(1), roundings=no_rounding, facts=STEPWISE, gradient=FLAT
)
CEIL = OpDef("ceil", Ceil, (1, 1), float_alone, plain(np.ceil), elementwise_cost(1), roundings=no_rounding, facts=STEPWISE, gradient=FLAT)
ROUND = OpDef(
    "round", Round, (1, 1), float_alone, plain(np.rint), elementwise_cost(1), roundings=no_rounding, facts=STEPWISE, gradient=FLAT
)
SOFTPLUS = OpDef(
    "softplus",
    Softplus,
    (1, 1),
    float_alone,
    softplus,
    elementwise_cost(4),
    softplus_magnitude,
    approximated,
    facts=Facts(pointwise=True, reuse=BY_PLACE, activation=True, rising=always, slope=fixed(1.0), least=fixed(0.0)),
    gradient=of_one(lambda op, g, y, x: g * x.op("sigmoid")),
)
LOGICAL_NOT = OpDef(
    "logical_not",
    LogicalNot,
    (1, 1),
    infer_truth,
    plain(np.logical_not),
    elementwise_cost(0),
    roundings=no_rounding,
    facts=BY_ELEMENT,
)
OPS = (EXP, LOG, SQRT, ERF, ABS, NEG, FLOOR, CEIL, ROUND, SOFTPLUS, LOGICAL_NOT)
