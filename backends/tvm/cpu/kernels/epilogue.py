"""What follows a kernel element by element, computed before the result is stored: activations, and sums with other tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .....ir.op import OpDef
from .....ir.ops.activation import CLIP, LEAKY_RELU, RELU, SIGMOID, TANH
from .....ir.ops.activation_variants import ELU, GELU, HARD_SIGMOID, HARD_SWISH, MISH, SELU
from .....ir.ops.elementwise import ADD, CAST, MUL, SUB
from .....ir.ops.unary import ERF, SOFTPLUS
from . import formulas

__all__ = ["ALONE", "FLAT", "SIMPLE", "SMOOTH", "STEPS", "EpilogueStep", "Steps", "apply", "read_names"]

Scalar = Any  # a TIR expression of one element


@dataclass(frozen=True, slots=True)
class EpilogueStep:
    """One op of an epilogue. `reads` is 1 where it reads a tensor of the result's shape besides, `first` where that comes first.

    With a `gate` that other operand is what this one step makes of the value itself, as in x * sigmoid(x), and nothing is read.
    """

    kind: OpDef[Any]
    op: Any
    reads: int = 0
    first: bool = False
    gate: EpilogueStep | None = None

    @property
    def name(self) -> str:
        return self.kind.name if self.gate is None else f"{self.kind.name} by {self.gate.kind.name}"


Steps = tuple[EpilogueStep, ...]


def _clip(tirx: Any, v: Scalar, low: float, high: float) -> Scalar:
    """A NaN stays one, as in the stock rows."""
    v = v if low == -math.inf else tirx.Select(v < tirx.const(low, "float32"), tirx.const(low, "float32"), v)
    return v if high == math.inf else tirx.Select(v > tirx.const(high, "float32"), tirx.const(high, "float32"), v)


def _sigmoid(tirx: Any, v: Scalar) -> Scalar:
    one = tirx.const(1.0, "float32")
    return one / (one + tirx.exp(tirx.const(0.0, "float32") - v))


def _hard_sigmoid(tirx: Any, v: Scalar, alpha: float, beta: float) -> Scalar:
    return _clip(tirx, formulas.times(tirx, v, alpha) + tirx.const(beta, "float32"), 0.0, 1.0)


# (tirx, op, value, other value or None) -> value. All are finite where their operands are, so that lanes of padding stay harmless.
Formula = Callable[[Any, Any, Scalar, Scalar], Scalar]
SIMPLE: dict[OpDef[Any], Formula] = {  # of one element as of a vector
    RELU: lambda tirx, op, v, other: _clip(tirx, v, 0.0, math.inf),
    CLIP: lambda tirx, op, v, other: _clip(tirx, v, op.min, op.max),
    LEAKY_RELU: lambda tirx, op, v, other: tirx.Select(v < tirx.const(0.0, "float32"), formulas.times(tirx, v, op.alpha), v),
    SIGMOID: lambda tirx, op, v, other: _sigmoid(tirx, v),
    HARD_SIGMOID: lambda tirx, op, v, other: _hard_sigmoid(tirx, v, op.alpha, op.beta),
    HARD_SWISH: lambda tirx, op, v, other: v * _hard_sigmoid(tirx, v, 1 / 6, 0.5),
    ADD: lambda tirx, op, v, other: v + other,
    SUB: lambda tirx, op, v, other: v - other,
    MUL: lambda tirx, op, v, other: v * other,
}
SMOOTH: dict[OpDef[Any], Formula] = {  # of vectors, or of a thread's own value
    ERF: lambda vectors, op, v, other: formulas.erf(vectors, v),
    ELU: lambda vectors, op, v, other: formulas.elu(vectors, v, op.alpha),
    SELU: lambda vectors, op, v, other: formulas.elu(vectors, v, op.alpha, op.gamma),
    GELU: lambda vectors, op, v, other: formulas.gelu(vectors, v, op.approximate),
    MISH: lambda vectors, op, v, other: formulas.mish(vectors, v),
    SOFTPLUS: lambda vectors, op, v, other: formulas.softplus(vectors, v),
}
STEPS: dict[OpDef[Any], Formula] = {  # of vectors
    **SIMPLE,
    SIGMOID: lambda vectors, op, v, other: vectors.logistic(v),
    TANH: lambda vectors, op, v, other: formulas.tanh(vectors, v),
    **SMOOTH,
}
# Not the exponential: of one element it is the C library's, and of 64 channels @56 Winograd's layer took 1.8 times as long with a sigmoid.
FLAT = frozenset(SIMPLE) - {SIGMOID}
# And of what is stored: CAST stands at the end alone, for a value of float16.
FORMULAS: dict[OpDef[Any], Formula] = {**STEPS, CAST: lambda vectors, op, v, other: vectors.rounded(v)}
ALONE = frozenset(STEPS) - {ADD, SUB, MUL}  # that read nothing besides


def read_names(steps: Sequence[EpilogueStep]) -> list[str]:
    """Of the arguments that steps read besides, in order."""
    return [f"R{i}" for i in range(sum(step.reads for step in steps))]


def apply(tirx: Any, steps: Sequence[EpilogueStep], value: Scalar, others: Sequence[Scalar]) -> Scalar:
    """The value after all steps; `others` are the elements that they read besides, in order. Of a gate `tirx` must be vectors."""
    left = iter(others)
    for step in steps:
        other = next(left) if step.reads else None
        if step.gate is not None:
            value = tirx.settle(value)  # it is read twice
            other = STEPS[step.gate.kind](tirx, step.gate.op, value, None)
        a, b = (other, value) if step.first else (value, other)
        value = FORMULAS[step.kind](tirx, step.op, a, b)
    return value
