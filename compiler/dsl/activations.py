"""Activations: functions from values to values, in the words of the papers; and scales that are learned."""

from __future__ import annotations

import math

from ...ir.ops.activation import (
    CLIP,
    DROPOUT,
    LEAKY_RELU,
    LOG_SOFTMAX,
    RELU,
    SIGMOID,
    SOFTMAX,
    TANH,
    Clip,
    Dropout,
    LeakyRelu,
    LogSoftmax,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
)
from ...ir.ops.activation_variants import (
    ELU,
    GELU,
    HARD_SIGMOID,
    HARD_SWISH,
    MISH,
    PRELU,
    SELU,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    Mish,
    Prelu,
    Selu,
)
from ...ir.ops.elementwise import MUL, Mul
from ...ir.ops.unary import SOFTPLUS, Softplus
from .trace import Value

__all__ = [
    "clip",
    "dropout",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_swish",
    "layer_scale",
    "leaky_relu",
    "log_softmax",
    "mish",
    "prelu",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def relu(x: Value) -> Value:
    """max(x, 0), element by element. Shapes: as x."""
    return x.trace.emit(RELU, Relu(), (x,))


def leaky_relu(x: Value, alpha: float = 0.01) -> Value:
    """x where it is above 0, else `alpha` times x. Shapes: as x."""
    return x.trace.emit(LEAKY_RELU, LeakyRelu(alpha), (x,))


def clip(x: Value, low: float = -math.inf, high: float = math.inf) -> Value:
    """x held between `low` and `high`. Shapes: as x."""
    return x.trace.emit(CLIP, Clip(low, high), (x,))


def sigmoid(x: Value) -> Value:
    """1 / (1 + exp(-x)). Shapes: as x."""
    return x.trace.emit(SIGMOID, Sigmoid(), (x,))


def tanh(x: Value) -> Value:
    """The hyperbolic tangent. Shapes: as x."""
    return x.trace.emit(TANH, Tanh(), (x,))


def softmax(x: Value, axis: int = 1) -> Value:
    """exp(x) over its sum along `axis`. Shapes: as x."""
    return x.trace.emit(SOFTMAX, Softmax(axis), (x,))


def log_softmax(x: Value, axis: int = 1) -> Value:
    """The logarithm of softmax along `axis`. Shapes: as x."""
    return x.trace.emit(LOG_SOFTMAX, LogSoftmax(axis), (x,))


def dropout(x: Value, ratio: float = 0.5) -> Value:
    """Nothing at inference; in a step of training, a share of `ratio` of x is set to 0. Shapes: as x."""
    return x.trace.emit(DROPOUT, Dropout(ratio), (x,))


def prelu(x: Value, shared: bool = False, name: str = "") -> Value:
    """x above 0, else x times a learned slope: one for each channel, or one for all where `shared`. He et al. 2015 (rectifiers), sec. 2.1.

    `name` is the layer's, else the next of its kind. Shapes: as x.
    """
    layer = x.trace.layer_name("prelu", name)
    shape = (1,) if shared else (x.channels, *(1,) * (x.rank - 2))
    slope = x.param(f"{layer}.slope", shape, "tenth")
    return x.trace.emit(PRELU, Prelu(), (x, slope), layer)


def layer_scale(x: Value, gain: str = "tenth", name: str = "") -> Value:
    """x times a learned factor for each channel, of what a residual adds; `gain` is how random ones are drawn. Touvron et al. 2021, sec. 2.

    `name` is the layer's, else the next of its kind. Shapes: as x.
    """
    layer = x.trace.layer_name("layer_scale", name)
    return x.trace.emit(MUL, Mul(), (x, x.param(f"{layer}.scale", (x.channels, *(1,) * (x.rank - 2)), gain)), layer)


def elu(x: Value, alpha: float = 1.0) -> Value:
    """x above 0, else `alpha` * (exp(x) - 1). Shapes: as x. Source: Clevert et al. 2015."""
    return x.trace.emit(ELU, Elu(alpha), (x,))


def selu(x: Value) -> Value:
    """elu, scaled so that it keeps mean and variance. Shapes: as x. Source: Klambauer et al. 2017."""
    return x.trace.emit(SELU, Selu(), (x,))


def hard_sigmoid(x: Value, alpha: float = 1 / 6, beta: float = 0.5) -> Value:
    """`alpha` * x + `beta`, held between 0 and 1. Shapes: as x.

    A sixth is the slope of MobileNetV3 and of PyTorch; ONNX's own default is 0.2.
    """
    return x.trace.emit(HARD_SIGMOID, HardSigmoid(alpha, beta), (x,))


def hard_swish(x: Value) -> Value:
    """x * hard_sigmoid(x). Shapes: as x. Source: Howard et al. 2019."""
    return x.trace.emit(HARD_SWISH, HardSwish(), (x,))


def silu(x: Value) -> Value:
    """x * sigmoid(x), also known as swish. Elfwing et al. 2017."""
    return x * sigmoid(x)


def gelu(x: Value, approximate: str = "none") -> Value:
    """x times the share of a normal distribution below x; `approximate` "tanh" takes the formula with tanh. Shapes: as x."""
    return x.trace.emit(GELU, Gelu(approximate), (x,))


def mish(x: Value) -> Value:
    """x * tanh(softplus(x)). Shapes: as x. Source: Misra 2019."""
    return x.trace.emit(MISH, Mish(), (x,))


def softplus(x: Value) -> Value:
    """log(1 + exp(x)). Shapes: as x."""
    return x.trace.emit(SOFTPLUS, Softplus(), (x,))
