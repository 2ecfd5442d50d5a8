"""Activations that came after relu and sigmoid: elu, selu, hard_sigmoid, hard_swish, gelu, mish and prelu."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..facts import BY_PLACE, PAIRWISE, Facts, fixed, follows
from ..op import OpDef, elementwise_cost, rounded
from ..terms import Term, of_one, of_two, where
from ..types import Array, TensorType
from .check import broadcast, need_float, need_same_dtype
from .unary import Softplus, erf, softplus

__all__ = [
    "ELU",
    "GELU",
    "HARD_SIGMOID",
    "HARD_SWISH",
    "MISH",
    "OPS",
    "PRELU",
    "SELU",
    "TANH_GELU",
    "Elu",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Mish",
    "Prelu",
    "Selu",
]

TANH_GELU = (math.sqrt(2 / math.pi), 0.044715)  # tanh(a * (x + b * x^3))


@dataclass(frozen=True, slots=True)
class Elu:
    """x where positive, alpha*(exp(x) - 1) elsewhere. Clevert et al. 2015; ONNX Elu."""

    alpha: float = 1.0


@dataclass(frozen=True, slots=True)
class Selu:
    """gamma * elu(x); the constants keep mean 0 and variance 1. Klambauer et al. 2017; ONNX Selu, which has them in float32."""

    alpha: float = 1.67326319217681884765625
    gamma: float = 1.05070102214813232421875


@dataclass(frozen=True, slots=True)
class HardSigmoid:
    """min(max(alpha*x + beta, 0), 1). Courbariaux et al. 2015; ONNX HardSigmoid."""

    alpha: float = 0.2
    beta: float = 0.5


@dataclass(frozen=True, slots=True)
class HardSwish:
    """x * min(max(x/6 + 1/2, 0), 1). Howard et al. 2019, sec. 5.2; ONNX HardSwish."""


@dataclass(frozen=True, slots=True)
class Gelu:
    """x times the share of a normal distribution below x. Hendrycks & Gimpel 2016; ONNX Gelu.

    `approximate`: none, or tanh for the paper's shortcut.
    """

    approximate: str = "none"


@dataclass(frozen=True, slots=True)
class Mish:
    """x * tanh(softplus(x)). Misra 2019; ONNX Mish."""


@dataclass(frozen=True, slots=True)
class Prelu:
    """x where not negative, slope*x elsewhere; the slope broadcasts to x and not back. He et al. 2015 (rectifiers); ONNX PRelu."""


def finite_alone(op: Any, x: TensorType) -> TensorType:
    """Raises: ShapeError for whole numbers, or an attribute that is no number."""
    need_float(x)
    for name in getattr(op, "__slots__", ()):
        value = getattr(op, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ShapeError(f"{name} is {value}, expected a finite number")
    return x


def infer_gelu(op: Gelu, x: TensorType) -> TensorType:
    if op.approximate not in ("none", "tanh"):
        raise ShapeError(f"approximate is '{op.approximate}', expected 'none' or 'tanh'")
    need_float(x)
    return x


def infer_prelu(op: Prelu, x: TensorType, slope: TensorType) -> TensorType:
    need_float(x)
    need_same_dtype(x, slope)
    if broadcast(x, slope) != x.shape:
        raise ShapeError(f"the slope is {slope}, which does not broadcast to {x}; give it one value, or one a channel as [C,1,1]")
    return x


def elu(op: Elu, x: Array) -> Array:
    return np.where(x > 0, x, x.dtype.type(op.alpha) * np.expm1(np.minimum(x, 0)))


def selu(op: Selu, x: Array) -> Array:
    return x.dtype.type(op.gamma) * elu(Elu(op.alpha), x)


def hard_sigmoid(op: HardSigmoid, x: Array) -> Array:
    return np.clip(x * x.dtype.type(op.alpha) + x.dtype.type(op.beta), 0, 1)


def hard_swish(op: HardSwish, x: Array) -> Array:
    return x * np.clip(x / 6 + x.dtype.type(0.5), 0, 1)


def gelu(op: Gelu, x: Array) -> Array:
    half = x.dtype.type(0.5)
    if op.approximate == "none":
        return half * x * (1 + erf(x * x.dtype.type(math.sqrt(0.5))))
    scale, cubic = map(x.dtype.type, TANH_GELU)
    return half * x * (1 + np.tanh(scale * (x + cubic * x * x * x)))


def mish(op: Mish, x: Array) -> Array:
    return x * np.tanh(softplus(Softplus(), x))


def prelu(op: Prelu, x: Array, slope: Array) -> Array:
    return np.where(x >= 0, x, x * slope)


def elu_magnitude(op: Elu, x: Array) -> Array:
    """exp(x) - 1 cancels near 0, so what is rounded there is 1 and not the result."""
    return np.where(x > 0, x, abs(op.alpha) * (1 + np.exp(np.minimum(x, 0))))


def selu_magnitude(op: Selu, x: Array) -> Array:
    return abs(op.gamma) * elu_magnitude(Elu(op.alpha), x)


def hard_sigmoid_magnitude(op: HardSigmoid, x: Array) -> Array:
    """The two terms; where they are so large that the result is surely 0 or 1, their error is cut off with them."""
    return np.minimum(abs(op.alpha * x) + abs(op.beta), 1 + 2 * abs(op.beta))


def share_magnitude(op: Any, x: Array) -> Array:
    """x times a share between 0 and 1, whose error is absolute."""
    return abs(x)


def gelu_gradient(op: Gelu, g: Term, y: Term, x: Term) -> Term:
    if op.approximate == "none":
        below = ((x * math.sqrt(0.5)).op("erf") + 1) / 2
        density = (x * x / -2).op("exp") / math.sqrt(2 * math.pi)
        return g * (below + x * density)
    scale, cubic = TANH_GELU
    bent = ((x + cubic * (x * x * x)) * scale).op("tanh")
    inner = (3 * cubic * (x * x) + 1) * scale
    return g * ((bent + 1) / 2 + x * (1 - bent * bent) * inner / 2)


def mish_gradient(op: Mish, g: Term, y: Term, x: Term) -> Term:
    bent = x.op("softplus").op("tanh")
    return g * (bent + x * x.op("sigmoid") * (1 - bent * bent))


few = rounded(4)  # constants in the type of x, a product, a sum
fast = rounded(8)  # an exponential within a few units of the last place
approximated = rounded(32)  # a rational approximation of an argument that was itself rounded


def smooth(slope: float) -> Facts[object]:
    """They fall a little below zero before they rise, so that only their slope says something."""
    return Facts(pointwise=True, reuse=BY_PLACE, activation=True, slope=fixed(slope))


ELU = OpDef(
    "elu",
    Elu,
    (1, 1),
    finite_alone,
    elu,
    elementwise_cost(3),
    elu_magnitude,
    fast,
    facts=Facts(
        pointwise=True,
        reuse=BY_PLACE,
        activation=True,
        rising=lambda op: op.alpha >= 0,
        slope=lambda op: max(1.0, abs(op.alpha)),
    ),
    gradient=of_one(lambda op, g, y, x: where(x > 0, g, g * (y + op.alpha))),
)
SELU = OpDef(
    "selu",
    Selu,
    (1, 1),
    finite_alone,
    selu,
    elementwise_cost(4),
    selu_magnitude,
    fast,
    facts=Facts(
        pointwise=True,
        reuse=BY_PLACE,
        activation=True,
        rising=lambda op: op.alpha >= 0 and op.gamma > 0,
        slope=lambda op: abs(op.gamma) * max(1.0, abs(op.alpha)),
    ),
    gradient=of_one(lambda op, g, y, x: where(x > 0, g * op.gamma, g * (y + op.gamma * op.alpha))),
)
HARD_SIGMOID = OpDef(
    "hard_sigmoid",
    HardSigmoid,
    (1, 1),
    finite_alone,
    hard_sigmoid,
    elementwise_cost(4),
    hard_sigmoid_magnitude,
    few,
    facts=Facts(
        pointwise=True,
        reuse=BY_PLACE,
        activation=True,
        narrow=follows,
        rising=lambda op: op.alpha > 0,
        slope=lambda op: abs(op.alpha),
        least=fixed(0.0),
    ),
    gradient=of_one(lambda op, g, y, x: where((y > 0) & (y < 1), g * op.alpha, 0)),
)
HARD_SWISH = OpDef(
    "hard_swish",
    HardSwish,
    (1, 1),
    finite_alone,
    hard_swish,
    elementwise_cost(5),
    share_magnitude,
    few,
    facts=replace(smooth(1.5), narrow=follows),  # (2x + 3) / 6 at 3
    gradient=of_one(lambda op, g, y, x: where(x <= -3, 0, where(x >= 3, g, g * (x / 3 + 0.5)))),
)
GELU = OpDef(
    "gelu",
    Gelu,
    (1, 1),
    infer_gelu,
    gelu,
    elementwise_cost(8),
    share_magnitude,
    approximated,
    facts=smooth(1.13),  # at the square root of 2, in either form
    gradient=(gelu_gradient,),
)
MISH = OpDef(
    "mish",
    Mish,
    (1, 1),
    finite_alone,
    mish,
    elementwise_cost(9),
    share_magnitude,
    approximated,
    facts=smooth(1.09),  # at 1.49
    gradient=(mish_gradient,),
)
PRELU = OpDef(
    "prelu",
    Prelu,
    (2, 2),
    infer_prelu,
    prelu,
    elementwise_cost(2),
    facts=Facts(pointwise=True, reuse=PAIRWISE, activation=True, narrow=follows),
    gradient=of_two(lambda op, g, y, x, slope: where(x > 0, g, g * slope), lambda op, g, y, x, slope: where(x > 0, 0, g * x).fit(slope)),
)
OPS = (ELU, SELU, HARD_SIGMOID, HARD_SWISH, GELU, MISH, PRELU)
