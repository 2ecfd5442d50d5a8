"""Broadcasting arithmetic (add, sub, mul, div, mod, pow, maximum, minimum), cast and identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import BY_PLACE, PAIRWISE, RENAMED, Facts, always, fixed, follows, is_same_type
from ..op import OpDef, elementwise_cost, no_rounding, plain, rounded
from ..terms import Gradient, Term, of_one, of_two, where
from ..types import DTYPES, Array, TensorType
from .check import broadcast, need_float, need_same_dtype

__all__ = [
    "ADD",
    "CAST",
    "DIV",
    "IDENTITY",
    "MAXIMUM",
    "MINIMUM",
    "MOD",
    "MUL",
    "OPS",
    "POW",
    "SUB",
    "Add",
    "Cast",
    "Div",
    "Identity",
    "Maximum",
    "Minimum",
    "Mod",
    "Mul",
    "Pow",
    "Sub",
]


@dataclass(frozen=True, slots=True)
class Add:
    """a + b with NumPy broadcasting. ONNX Add."""


@dataclass(frozen=True, slots=True)
class Sub:
    """a - b with NumPy broadcasting. ONNX Sub."""


@dataclass(frozen=True, slots=True)
class Mul:
    """a * b with NumPy broadcasting. ONNX Mul."""


@dataclass(frozen=True, slots=True)
class Div:
    """a / b with NumPy broadcasting; integers round toward zero. ONNX Div."""


@dataclass(frozen=True, slots=True)
class Mod:
    """What is left of a after whole multiples of b, with the sign of b, or with `fmod` of a. ONNX Mod."""

    fmod: bool = False


@dataclass(frozen=True, slots=True)
class Pow:
    """a to the power of b, of floats; a negative one to a fraction is NaN. ONNX Pow."""


@dataclass(frozen=True, slots=True)
class Maximum:
    """The greater of a and b; NaN if one of them is. ONNX Max of two."""


@dataclass(frozen=True, slots=True)
class Minimum:
    """The smaller of a and b; NaN if one of them is. ONNX Min of two."""


@dataclass(frozen=True, slots=True)
class Cast:
    """To another element type; floats round to nearest, and toward zero on their way to integers. ONNX Cast."""

    to: str


@dataclass(frozen=True, slots=True)
class Identity:
    """x itself, under another name. ONNX Identity."""


def infer_binary(op: Any, a: TensorType, b: TensorType) -> TensorType:
    """Raises: ShapeError when element types differ or shapes do not broadcast."""
    need_same_dtype(a, b)
    if a.dtype == "bool":
        raise ShapeError("arithmetic on booleans; cast them first")
    return TensorType(a.dtype, broadcast(a, b))


def infer_pow(op: Pow, a: TensorType, b: TensorType) -> TensorType:
    """Raises: ShapeError for whole numbers, besides what `infer_binary` says."""
    need_float(a)
    return infer_binary(op, a, b)


def infer_cast(op: Cast, x: TensorType) -> TensorType:
    if op.to not in DTYPES:
        raise ShapeError(f"unknown element type '{op.to}'; known are {', '.join(DTYPES)}")
    return TensorType(op.to, x.shape)


def infer_identity(op: Identity, x: TensorType) -> TensorType:
    return x


def div(op: Div, a: Array, b: Array) -> Array:
    if np.issubdtype(a.dtype, np.integer):  # toward zero, and never by way of floats, which have 53 bits
        down = np.floor_divide(a, b)
        return down + ((down * b != a) & ((a < 0) != (b < 0)))
    return np.divide(a, b)


def mod(op: Mod, a: Array, b: Array) -> Array:
    return np.fmod(a, b) if op.fmod else np.mod(a, b)


def identity(op: Identity, x: Array) -> Array:
    return x


def cast(op: Cast, x: Array) -> Array:
    return x.astype(DTYPES[op.to], copy=False)


def cast_roundings(op: Cast, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """None on the way from fewer bits to more. Of the halves neither has the other's numbers."""
    is_wider = out.itemsize > inputs[0].itemsize or out.dtype == inputs[0].dtype
    return 0 if inputs[0].is_float and out.is_float and is_wider else 1


def _sum_magnitude(op: Any, a: Array, b: Array) -> Array:
    return abs(a) + abs(b)


def power(op: Pow, a: Array, b: Array) -> Array:
    """As IEEE 754 has it. For a power of 1/2 NumPy takes the root, which -inf has none of, and of -0 is -0."""
    return np.power(np.where((b == 0.5) & ((a == 0) | (a == -np.inf)), abs(a), a), b)


def pow_magnitude(op: Pow, a: Array, b: Array) -> Array:
    """Fast kernels take exp(b * log(a)), whose argument is rounded; beyond 750 the result is 0 or inf."""
    exponent = abs(b * np.log(np.clip(abs(a), 1e-300, 1e300)))
    return abs(power(op, a, b)) * (1 + np.minimum(exponent, 750))


def pow_base_gradient(op: Pow, g: Term, y: Term, a: Term, b: Term) -> Term:
    """To the power of 0 all is 1 and nothing moves, 0 itself too, whose power of -1 is none."""
    return (g * where(b.equals(0), 0, b * a.op("pow", b - 1))).fit(a)


def pow_exponent_gradient(op: Pow, g: Term, y: Term, a: Term, b: Term) -> Term:
    """A base of 0 or less has no logarithm; there the result does not move, as in PyTorch."""
    return (g * where(a > 0, y * a.op("log"), 0)).fit(b)


def _share(g: Term, wins: Term, a: Term, b: Term) -> Term:
    """All of it to the one that wins; equals share."""
    return where(wins, g, where(a.equals(b), g / 2, 0))


def _times(y: Term, a: Term, b: Term) -> Term:
    """How many whole multiples of b were taken from a."""
    return ((a - y) / b).op("round")


LEFT_OVER = of_two(lambda op, g, y, a, b: g.fit(a), lambda op, g, y, a, b: (-(g * _times(y, a, b))).fit(b))
ADDED = of_two(lambda op, g, y, a, b: g.fit(a), lambda op, g, y, a, b: g.fit(b))
SUBTRACTED = of_two(lambda op, g, y, a, b: g.fit(a), lambda op, g, y, a, b: (-g).fit(b))
MULTIPLIED = of_two(lambda op, g, y, a, b: (g * b).fit(a), lambda op, g, y, a, b: (g * a).fit(b))
DIVIDED = of_two(lambda op, g, y, a, b: (g / b).fit(a), lambda op, g, y, a, b: (-(g / b * y)).fit(b))
RAISED = of_two(pow_base_gradient, pow_exponent_gradient)
GREATER: Gradient = of_two(lambda op, g, y, a, b: _share(g, a > b, a, b).fit(a), lambda op, g, y, a, b: _share(g, b > a, a, b).fit(b))
SMALLER: Gradient = of_two(lambda op, g, y, a, b: _share(g, a < b, a, b).fit(a), lambda op, g, y, a, b: _share(g, b < a, a, b).fit(b))

PAIRS: Facts[object] = Facts(pointwise=True, reuse=PAIRWISE)
PAIRS_IN_ANY_ORDER: Facts[object] = Facts(pointwise=True, reuse=PAIRWISE, commutes=True, narrow=follows)
SUMMED: Facts[object] = Facts(pointwise=True, reuse=PAIRWISE, slope=fixed(1.0), commutes=True, narrow=follows)
CHOSEN = SUMMED  # of two numbers one; which of two zeros is any engine's choice

ADD = OpDef("add", Add, (2, 2), infer_binary, plain(np.add), elementwise_cost(1), _sum_magnitude, facts=SUMMED, gradient=ADDED)
SUB = OpDef(
    "sub",
    Sub,
    (2, 2),
    infer_binary,
    plain(np.subtract),
    elementwise_cost(1),
    _sum_magnitude,
    facts=Facts(pointwise=True, reuse=PAIRWISE, slope=fixed(1.0), narrow=follows),
    gradient=SUBTRACTED,
)
MUL = OpDef("mul", Mul, (2, 2), infer_binary, plain(np.multiply), elementwise_cost(1), facts=PAIRS_IN_ANY_ORDER, gradient=MULTIPLIED)
DIV = OpDef("div", Div, (2, 2), infer_binary, div, elementwise_cost(1), facts=PAIRS, gradient=DIVIDED)
MOD = OpDef(
    "mod",
    Mod,
    (2, 2),
    infer_binary,
    mod,
    elementwise_cost(4),
    roundings=no_rounding,
    facts=PAIRS,
    gradient=LEFT_OVER,
)
POW = OpDef(
    "pow",
    Pow,
    (2, 2),
    infer_pow,
    power,
    elementwise_cost(4),
    pow_magnitude,
    rounded(8),  # within a few units of the last place, also on a GPU
    facts=PAIRS,
    gradient=RAISED,
)
MAXIMUM = OpDef(
    "maximum", Maximum, (2, 2), infer_binary, plain(np.maximum), elementwise_cost(1), roundings=no_rounding, facts=CHOSEN, gradient=GREATER
)
MINIMUM = OpDef(
    "minimum", Minimum, (2, 2), infer_binary, plain(np.minimum), elementwise_cost(1), roundings=no_rounding, facts=CHOSEN, gradient=SMALLER
)
CAST = OpDef(
    "cast",
    Cast,
    (1, 1),
    infer_cast,
    cast,
    elementwise_cost(0),
    roundings=cast_roundings,
    facts=Facts(pointwise=True, reuse=BY_PLACE, identity=is_same_type),  # in place where the element types have one size
    gradient=of_one(lambda op, g, y, x: g.cast(x.type.dtype)),
)
IDENTITY = OpDef(
    "identity",
    Identity,
    (1, 1),
    infer_identity,
    identity,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(
        pointwise=True,
        reuse=RENAMED,
        rising=always,
        slope=fixed(1.0),
        identity=lambda op, inputs, out: True,
        narrow=follows,
    ),
    gradient=of_one(lambda op, g, y, x: g),
)
OPS = (ADD, SUB, MUL, DIV, MOD, POW, MAXIMUM, MINIMUM, CAST, IDENTITY)
