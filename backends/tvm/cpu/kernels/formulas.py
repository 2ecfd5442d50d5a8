"""Formulas of activations on whole vectors: the C library's would be called for one lane at a time.

Each takes `vectors` and a vector that is read often, so it is settled first. All are within a few units of the last place, and do with
infinities and a NaN what their op's meaning does.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

from .....ir.ops.activation_variants import TANH_GELU
from .writer import Vectors

__all__ = ["elu", "erf", "gelu", "has_roots", "mish", "power", "softplus", "tanh", "times"]

Vector = Any  # of LANES floats

# f(x) / x as a quotient of polynomials in x^2, lowest power first; from the limit on, f is 1 in float32. Minimax in the relative error,
# found by Lawson's weights; what is left of it is below 3e-9.
TANH_LIMIT, ERF_LIMIT = 9.02, 4.0
TANH_ABOVE = (1.0, 0.136799142, 0.00386832748, 2.80074546e-05, 3.05850136e-08, -1.22034605e-11)
TANH_BELOW = (1.0, 0.47013247, 0.0272458382, 0.000393863069, 1.28736622e-06)
ERF_ABOVE = (1.12837923, 0.192878842, 0.055749584, 0.00422649691, 0.000411279238, 6.79140885e-06)
ERF_BELOW = (1.0, 0.504267871, 0.117495418, 0.0162951592, 0.00142121012, 7.2564224e-05, 2.60488008e-07)
STEEPEST = 3.0  # power that roots make: what they overflow at on the way is far enough from what the result would be
LOG_TERMS = 8  # of the series of log((1 + s) / (1 - s)), where s is at most 1/3: the next one is below 1e-9 of the sum


def times(vectors: Any, v: Vector, factor: float) -> Vector:
    """Of one element TVM takes a product with the number 0 for 0, which it is not of a NaN and of infinities."""
    return v * vectors.const(factor, "float32") if factor else v + v * vectors.const(-1.0, "float32")


def tanh(vectors: Vectors, v: Vector) -> Vector:
    return _odd(vectors, v, TANH_LIMIT, TANH_ABOVE, TANH_BELOW)


def erf(vectors: Vectors, v: Vector) -> Vector:
    return _odd(vectors, v, ERF_LIMIT, ERF_ABOVE, ERF_BELOW)


def has_roots(exponent: float) -> bool:
    """Whether `power` knows it: one of quarters, such as a local response norm's and its gradient's."""
    return (exponent * 4).is_integer() and 0 < abs(exponent) < STEEPEST


def power(vectors: Vectors, v: Vector, exponent: float) -> Vector:
    """Products of v, its root and the root of that. Unless the power is whole, a sign of 0 or of infinity is none, as it is for C's."""
    const = vectors.const
    whole, quarters = divmod(round(abs(exponent) * 4), 4)
    v = vectors.settle(v)
    if quarters:
        v = vectors.Select(vectors.tirx.EQ(v, const(0.0)), const(0.0), v)  # of -0, too
        v = vectors.Select(vectors.tirx.EQ(v, const(-math.inf)), const(math.inf), v)
    root = vectors.settle(vectors.tirx.sqrt(v)) if quarters else v
    factors = [v] * whole + [root] * (quarters // 2) + ([vectors.tirx.sqrt(root)] if quarters % 2 else [])
    total = vectors.settle(functools.reduce(operator.mul, factors))
    return const(1.0) / total if exponent < 0 else total


def elu(vectors: Vectors, v: Vector, alpha: float, gamma: float = 1.0) -> Vector:
    """Times gamma. e^v - 1 is 2t / (1 - t) with t = tanh(v/2): no digit is lost where v is small."""
    const = vectors.const
    v = vectors.settle(v)
    t = tanh(vectors, v * const(0.5))
    return vectors.Select(v > const(0.0), times(vectors, v, gamma), times(vectors, t, 2 * alpha * gamma) / (const(1.0) - t))


def softplus(vectors: Vectors, v: Vector) -> Vector:
    """max(v, 0) + log(1 + z) with z = e^-|v|, which is log((1 + s) / (1 - s)) with s = z / (2 + z)."""
    const, zero = vectors.const, vectors.const(0.0)
    v = vectors.settle(v)
    z = vectors.exp(vectors.Select(v < zero, v, zero - v))
    s = vectors.settle(z / (z + const(2.0)))
    series = _polynomial(vectors, vectors.settle(s * s), [2 / (2 * term + 1) for term in range(LOG_TERMS)])
    return vectors.Select(v < zero, zero, v) + s * series


def mish(vectors: Vectors, v: Vector) -> Vector:
    """v * tanh(softplus(v)). The factor is n / (n + 2) with n = e^v (e^v + 2), or the same over e^2v, where that could overflow."""
    const, zero = vectors.const, vectors.const(0.0)
    v = vectors.settle(v)
    z = vectors.exp(vectors.Select(v < zero, v, zero - v))
    n = vectors.Select(v < zero, z * (z + const(2.0)), const(1.0) + const(2.0) * z)
    return v * (n / (n + vectors.Select(v < zero, const(2.0), const(2.0) * z * z)))


def gelu(vectors: Vectors, v: Vector, approximate: str) -> Vector:
    """v times the share of a normal distribution below it, or what the paper has for that."""
    const = vectors.const
    v = vectors.settle(v)
    if approximate == "none":
        share = erf(vectors, v * const(math.sqrt(0.5)))
    else:
        scale, cubic = map(const, TANH_GELU)
        share = tanh(vectors, scale * (v + cubic * v * v * v))
    return const(0.5) * v * (const(1.0) + share)


def _odd(vectors: Vectors, v: Vector, limit: float, above: Sequence[float], below: Sequence[float]) -> Vector:
    v = _cut(vectors, vectors.settle(v), limit)
    square = vectors.settle(v * v)
    quotient = _polynomial(vectors, square, above) / _polynomial(vectors, square, below)
    return _cut(vectors, vectors.settle(v * quotient), 1.0)


def _cut(vectors: Vectors, v: Vector, limit: float) -> Vector:
    """Into [-limit, limit]. A NaN stays one."""
    v = vectors.Select(v < vectors.const(-limit), vectors.const(-limit), v)
    return vectors.Select(v > vectors.const(limit), vectors.const(limit), v)


def _polynomial(vectors: Vectors, v: Vector, coefficients: Sequence[float]) -> Vector:
    total = vectors.const(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * v + vectors.const(coefficient)
    return total
