"""Angles and their inverses, and the hyperbolic ones, element by element. Of tanh, see activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..facts import BY_PLACE, Facts, always, fixed
from ..op import OpDef, elementwise_cost, plain
from ..terms import Gradient, of_one
from ..types import Array
from .check import float_alone
from .unary import approximated

__all__ = [
    "ACOS",
    "ACOSH",
    "ASIN",
    "ASINH",
    "ATAN",
    "ATANH",
    "COS",
    "COSH",
    "OPS",
    "SIN",
    "SINH",
    "TAN",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Cos",
    "Cosh",
    "Sin",
    "Sinh",
    "Tan",
]


@dataclass(frozen=True, slots=True)
class Sin:
    """The sine of x, in radians. ONNX Sin."""


@dataclass(frozen=True, slots=True)
class Cos:
    """The cosine of x, in radians. ONNX Cos."""


@dataclass(frozen=True, slots=True)
class Tan:
    """The tangent of x, in radians. ONNX Tan."""


@dataclass(frozen=True, slots=True)
class Asin:
    """The angle from -pi/2 to pi/2 whose sine is x; beyond 1 and -1 it is NaN. ONNX Asin."""


@dataclass(frozen=True, slots=True)
class Acos:
    """The angle from 0 to pi whose cosine is x; beyond 1 and -1 it is NaN. ONNX Acos."""


@dataclass(frozen=True, slots=True)
class Atan:
    """The angle from -pi/2 to pi/2 whose tangent is x. ONNX Atan."""


@dataclass(frozen=True, slots=True)
class Sinh:
    """(e^x - e^-x) / 2. ONNX Sinh."""


@dataclass(frozen=True, slots=True)
class Cosh:
    """(e^x + e^-x) / 2. ONNX Cosh."""


@dataclass(frozen=True, slots=True)
class Asinh:
    """What sinh takes to x. ONNX Asinh."""


@dataclass(frozen=True, slots=True)
class Acosh:
    """What cosh takes to x, not negative; below 1 it is NaN. ONNX Acosh."""


@dataclass(frozen=True, slots=True)
class Atanh:
    """What tanh takes to x; beyond 1 and -1 it is NaN. ONNX Atanh."""


A = TypeVar("A")
MOST = 750  # beyond it e^x is 0 or infinite


def absolute(op: Any, x: Array) -> Array:
    """Of an angle: engines are a part of the whole range off, and of the angle that they reduce."""
    return 1 + abs(x)


def tan_magnitude(op: Tan, x: Array) -> Array:
    """The error of the angle, times the slope there."""
    return (1 + abs(x)) * (1 + np.square(np.tan(x)))


def inverse_magnitude(function: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Callable[..., Array]:
    """The size of the result, and what x rounded once is worth."""

    def magnitude(op: Any, x: Array) -> Array:
        return 1 + abs(function(x)) + abs(x) * slope(x)

    return magnitude


def hyperbolic_magnitude(op: Any, x: Array) -> Array:
    """Two exponentials of a rounded argument, of which one is taken from the other."""
    return np.cosh(x) * (1 + np.minimum(abs(x), MOST))


def _steep(x: Array) -> Array:
    """Of asin and acos, which have no bound on it at 1; there half of the digits are left."""
    return 1 / np.sqrt(np.maximum(1 - np.square(x), 1e-8))


def _acosh_slope(x: Array) -> Array:
    return 1 / np.sqrt(np.maximum(np.square(x) - 1, 1e-8))


def _atanh_slope(x: Array) -> Array:
    return 1 / np.maximum(abs(1 - np.square(x)), 1e-8)


def _flat(x: Array) -> Array:
    return np.zeros_like(x)


BY_ELEMENT: Facts[object] = Facts(pointwise=True, reuse=BY_PLACE)
WAVE: Facts[object] = Facts(pointwise=True, reuse=BY_PLACE, slope=fixed(1.0), least=fixed(-1.0))

SIN = OpDef(
    "sin",
    Sin,
    (1, 1),
    float_alone,
    plain(np.sin),
    elementwise_cost(4),
    absolute,
    approximated,
    facts=WAVE,
    gradient=of_one(lambda op, g, y, x: g * x.op("cos")),
)
COS = OpDef(
    "cos",
    Cos,
    (1, 1),
    float_alone,
    plain(np.cos),
    elementwise_cost(4),
    absolute,
    approximated,
    facts=WAVE,
    gradient=of_one(lambda op, g, y, x: -(g * x.op("sin"))),
)


def _formula(
    name: str, attrs: type[A], function: Callable[[Array], Array], magnitude: Callable[..., Array], facts: Facts[A], gradient: Gradient
) -> OpDef[A]:
    """A function of a float that engines approximate, at eight operations."""
    return OpDef(
        name, attrs, (1, 1), float_alone, plain(function), elementwise_cost(8), magnitude, approximated, facts=facts, gradient=gradient
    )


TAN = _formula(
    "tan",
    Tan,
    np.tan,
    tan_magnitude,
    BY_ELEMENT,
    gradient=of_one(lambda op, g, y, x: g * (1 + y * y)),
)
ASIN = _formula(
    "asin",
    Asin,
    np.arcsin,
    inverse_magnitude(np.arcsin, _steep),
    Facts(pointwise=True, reuse=BY_PLACE, least=fixed(-1.5708)),
    gradient=of_one(lambda op, g, y, x: g / (1 - x * x).op("sqrt")),
)
ACOS = _formula(
    "acos",
    Acos,
    np.arccos,
    inverse_magnitude(np.arccos, _steep),
    Facts(pointwise=True, reuse=BY_PLACE, least=fixed(0.0)),
    gradient=of_one(lambda op, g, y, x: -(g / (1 - x * x).op("sqrt"))),
)
ATAN = _formula(
    "atan",
    Atan,
    np.arctan,
    inverse_magnitude(np.arctan, _flat),
    Facts(pointwise=True, reuse=BY_PLACE, rising=always, slope=fixed(1.0), least=fixed(-1.5708)),
    gradient=of_one(lambda op, g, y, x: g / (1 + x * x)),
)
SINH = _formula(
    "sinh",
    Sinh,
    np.sinh,
    hyperbolic_magnitude,
    Facts(pointwise=True, reuse=BY_PLACE, rising=always),
    gradient=of_one(lambda op, g, y, x: g * x.op("cosh")),
)
COSH = _formula(
    "cosh",
    Cosh,
    np.cosh,
    hyperbolic_magnitude,
    Facts(pointwise=True, reuse=BY_PLACE, least=fixed(1.0)),
    gradient=of_one(lambda op, g, y, x: g * x.op("sinh")),
)
ASINH = _formula(
    "asinh",
    Asinh,
    np.arcsinh,
    inverse_magnitude(np.arcsinh, _flat),
    Facts(pointwise=True, reuse=BY_PLACE, rising=always, slope=fixed(1.0)),
    gradient=of_one(lambda op, g, y, x: g / (1 + x * x).op("sqrt")),
)
ACOSH = _formula(
    "acosh",
    Acosh,
    np.arccosh,
    inverse_magnitude(np.arccosh, _acosh_slope),
    Facts(pointwise=True, reuse=BY_PLACE, least=fixed(0.0)),
    gradient=of_one(lambda op, g, y, x: g / (x * x - 1).op("sqrt")),
)
ATANH = _formula(
    "atanh",
    Atanh,
    np.arctanh,
    inverse_magnitude(np.arctanh, _atanh_slope),
    BY_ELEMENT,
    gradient=of_one(lambda op, g, y, x: g / (1 - x * x)),
)
OPS = (SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH, ASINH, ACOSH, ATANH)
