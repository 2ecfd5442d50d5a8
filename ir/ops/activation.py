"""Nonlinearities, one value in and one out, and the two softmax forms."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import BY_PLACE, BY_ROW, RENAMED, Facts, always, fixed, follows
from ..op import OpDef, elementwise_cost, no_rounding, rounded
from ..terms import Term, of_one, where
from ..types import Array, TensorType
from .check import float_alone, need_axis, need_float

__all__ = [
    "CLIP",
    "DROPOUT",
    "LEAKY_RELU",
    "LOG_SOFTMAX",
    "OPS",
    "RELU",
    "SIGMOID",
    "SOFTMAX",
    "TANH",
    "Clip",
    "Dropout",
    "LeakyRelu",
    "LogSoftmax",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Tanh",
]


@dataclass(frozen=True, slots=True)
class Relu:
    """max(x, 0). Nair & Hinton 2010; ONNX Relu."""


@dataclass(frozen=True, slots=True)
class LeakyRelu:
    """x where positive, alpha*x elsewhere. Maas et al. 2013; ONNX LeakyRelu."""

    alpha: float = 0.01


@dataclass(frozen=True, slots=True)
class Clip:
    """min(max(x, min), max); ReLU6 is clip 0 to 6. ONNX Clip."""

    min: float = -math.inf
    max: float = math.inf


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """1 / (1 + exp(-x)). ONNX Sigmoid."""


@dataclass(frozen=True, slots=True)
class Tanh:
    """Hyperbolic tangent. ONNX Tanh."""


@dataclass(frozen=True, slots=True)
class Softmax:
    """exp(x) / sum exp(x) along one axis. ONNX Softmax-13."""

    axis: int = 1


@dataclass(frozen=True, slots=True)
class LogSoftmax:
    """x - log sum exp(x) along one axis. ONNX LogSoftmax-13."""

    axis: int = 1


@dataclass(frozen=True, slots=True)
class Dropout:
    """The identity at inference; `ratio` is what training would drop. Srivastava et al. 2014; ONNX Dropout."""

    ratio: float = 0.5


def infer_clip(op: Clip, x: TensorType) -> TensorType:
    need_float(x)
    if not op.min <= op.max:
        raise ShapeError(f"clip from {op.min} to {op.max} is empty")
    return x


def infer_dropout(op: Dropout, x: TensorType) -> TensorType:
    if not 0 <= op.ratio < 1:
        raise ShapeError(f"dropout ratio {op.ratio} is outside [0, 1)")
    return x


def infer_softmax(op: Softmax | LogSoftmax, x: TensorType) -> TensorType:
    need_float(x)
    need_axis(op.axis, x.rank)
    return x


def relu(op: Relu, x: Array) -> Array:
    return np.maximum(x, 0)


def leaky_relu(op: LeakyRelu, x: Array) -> Array:
    return np.where(x >= 0, x, x * x.dtype.type(op.alpha))


def clip(op: Clip, x: Array) -> Array:
    return np.clip(x, x.dtype.type(op.min), x.dtype.type(op.max))


def sigmoid(op: Sigmoid, x: Array) -> Array:
    small = np.exp(-abs(x))  # never overflows
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype, copy=False)


def tanh(op: Tanh, x: Array) -> Array:
    return np.tanh(x)


def _greatest(op: Softmax | LogSoftmax, x: Array) -> Array:
    """Along the axis; of none it is -inf, and nothing reads it."""
    return x.max(axis=op.axis, keepdims=True, initial=-np.inf)


def softmax(op: Softmax, x: Array) -> Array:
    grown = np.exp(x - _greatest(op, x))
    return grown / grown.sum(axis=op.axis, keepdims=True)


def log_softmax(op: LogSoftmax, x: Array) -> Array:
    shifted = x - _greatest(op, x)
    return shifted - np.log(np.exp(shifted).sum(axis=op.axis, keepdims=True))


def range_magnitude(op: Sigmoid | Tanh, x: Array) -> Array:
    """Engines approximate near 0 and clamp the tails: the error is absolute, of the range."""
    return np.ones_like(x)


def softmax_magnitude(op: Softmax, x: Array) -> Array:
    """exp turns a rounding of its argument into a relative error of that argument's size."""
    return softmax(op, x) * (1 + abs(x - _greatest(op, x)))


def log_softmax_magnitude(op: LogSoftmax, x: Array) -> Array:
    """The shifted input is rounded, and the logarithm of a sum of at least 1."""
    return 1 + abs(x - _greatest(op, x)) + abs(log_softmax(op, x))


def softmax_roundings(op: Softmax | LogSoftmax, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return out.shape[op.axis] + 16


def dropout(op: Dropout, x: Array) -> Array:
    return x


def clip_gradient(op: Clip, g: Term, y: Term, x: Term) -> Term:
    """What is not cut off; at a bound nothing, as of PyTorch's clamp and relu6. The result tells that too, and others read it anyway."""
    within = [y > op.min] if op.min > -math.inf else []
    within += [y < op.max] if op.max < math.inf else []
    return where(functools.reduce(Term.__and__, within), g, 0) if within else g


def softmax_gradient(op: Softmax, g: Term, y: Term, x: Term) -> Term:
    moved = g * y
    return moved - y * moved.sum(op.axis, keepdims=True)


def log_softmax_gradient(op: LogSoftmax, g: Term, y: Term, x: Term) -> Term:
    return g - x.op("softmax", axis=op.axis) * g.sum(op.axis, keepdims=True)


approximated = rounded(16)  # a rational approximation in float32

RELU = OpDef(
    "relu",
    Relu,
    (1, 1),
    float_alone,
    relu,
    elementwise_cost(1),
    roundings=no_rounding,
    facts=Facts(
        pointwise=True,
        reuse=BY_PLACE,
        activation=True,
        narrow=follows,
        rising=always,
        slope=fixed(1.0),
        least=fixed(0.0),
        idempotent=always,
    ),
    gradient=of_one(lambda op, g, y, x: where(y > 0, g, 0)),  # at 0 nothing, as in PyTorch
)
LEAKY_RELU = OpDef(
    "leaky_relu",
    LeakyRelu,
    (1, 1),
    float_alone,
    leaky_relu,
    elementwise_cost(2),
    roundings=rounded(2),  # the slope is stored in the type of x
    facts=Facts(
        pointwise=True,
        reuse=BY_PLACE,
        activation=True,
        narrow=follows,
        rising=lambda op: op.alpha > 0,  # 0 times -inf is NaN
        slope=lambda op: max(1.0, abs(op.alpha)),
        identity=lambda op, inputs, out: op.alpha == 1,
    ),
    gradient=of_one(lambda op, g, y, x: where(x > 0, g, g * op.alpha)),
)
CLIP = OpDef(
    "clip",
    Clip,
    (1, 1),
    infer_clip,
    clip,
    elementwise_cost(2),
    facts=Facts(
        pointwise=True,
        reuse=BY_PLACE,
        activation=True,
        narrow=follows,
        rising=always,
        slope=fixed(1.0),
        least=lambda op: op.min,
        identity=lambda op, inputs, out: op.min == -math.inf and op.max == math.inf,
        idempotent=always,
    ),
    gradient=(clip_gradient,),
)
SIGMOID = OpDef(
    "sigmoid",
    Sigmoid,
    (1, 1),
    float_alone,
    sigmoid,
    elementwise_cost(4),
    range_magnitude,
    approximated,
    facts=Facts(pointwise=True, reuse=BY_PLACE, activation=True, narrow=follows, rising=always, slope=fixed(0.25), least=fixed(0.0)),
    gradient=of_one(lambda op, g, y, x: g * (y * (1 - y))),
)
TANH = OpDef(
    "tanh",
    Tanh,
    (1, 1),
    float_alone,
    tanh,
    elementwise_cost(4),
    range_magnitude,
    approximated,
    facts=Facts(pointwise=True, reuse=BY_PLACE, activation=True, narrow=follows, rising=always, slope=fixed(1.0), least=fixed(-1.0)),
    gradient=of_one(lambda op, g, y, x: g * (1 - y * y)),
)
SOFTMAX = OpDef(
    "softmax",
    Softmax,
    (1, 1),
    infer_softmax,
    softmax,
    elementwise_cost(5),
    softmax_magnitude,
    softmax_roundings,
    facts=Facts(reuse=BY_ROW, activation=True, least=fixed(0.0)),
    gradient=(softmax_gradient,),
)
LOG_SOFTMAX = OpDef(
    "log_softmax",
    LogSoftmax,
    (1, 1),
    infer_softmax,
    log_softmax,
    elementwise_cost(5),
    log_softmax_magnitude,
    softmax_roundings,
    facts=Facts(reuse=BY_ROW, activation=True),
    gradient=(log_softmax_gradient,),
)
DROPOUT = OpDef(
    "dropout",
    Dropout,
    (1, 1),
    infer_dropout,
    dropout,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(pointwise=True, reuse=RENAMED, narrow=follows, rising=always, slope=fixed(1.0), identity=lambda op, inputs, out: True),
    gradient=of_one(lambda op, g, y, x: g),  # as it computes here: nothing is dropped
)
OPS = (RELU, LEAKY_RELU, CLIP, SIGMOID, TANH, SOFTMAX, LOG_SOFTMAX, DROPOUT)
