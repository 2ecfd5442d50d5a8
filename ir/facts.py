"""What is true of an op, whatever its operands hold: what passes and checks may rely on. Stated by every op, read by all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from .types import TensorType

__all__ = [
    "BY_PLACE",
    "BY_ROW",
    "BY_STATISTICS",
    "PAIRWISE",
    "RENAMED",
    "Facts",
    "How",
    "Narrow",
    "Reuse",
    "always",
    "fixed",
    "follows",
    "gains",
    "in_float32",
    "is_same_type",
    "never",
]

A = TypeVar("A", contravariant=True)
How = Literal["view", "in place"]
Narrow = Literal["gains", "follows", "never"]


@dataclass(frozen=True, slots=True)
class Reuse:
    """The result may lie where one of `operands` (positions, tried in order) lies.

    A view is that memory under another shape, and always shares it. In place writes over it: legal if nobody reads
    the operand later, it is neither input, parameter nor output, and the result has the same number of bytes.
    """

    how: How
    operands: tuple[int, ...]
    why: str


BY_PLACE = Reuse("in place", (0,), "element i of the result needs element i of the operand and no other")
# A broadcast operand is smaller than the result, so it is never the one overwritten; one of equal size has equal indices.
PAIRWISE = Reuse("in place", (0, 1), "element i of the result needs element i of an operand of its size")
BY_ROW = Reuse("in place", (0,), "maximum and sum of a row are taken before its first element is written, then it is pointwise")
BY_STATISTICS = Reuse("in place", (0,), "mean and variance are taken before the first element they serve is written, then it is pointwise")
RENAMED = Reuse("view", (0,), "the same elements in the same row-major order")


def always(op: object) -> bool:
    return True


def never(op: object, inputs: tuple[TensorType, ...] = (), out: TensorType | None = None) -> bool:
    return False


def is_same_type(op: object, inputs: tuple[TensorType, ...], out: TensorType) -> bool:
    """For ops that change nothing exactly where they keep the type."""
    return inputs[0] == out


def fixed(number: float) -> Callable[[object], float]:
    """The same number whatever the attributes are."""
    return lambda op: number


def gains(op: object) -> Narrow:
    return "gains"


def follows(op: object) -> Narrow:
    return "follows"


def in_float32(op: object) -> Narrow:
    return "never"


def _unbounded(op: object) -> float:
    return -math.inf


@dataclass(frozen=True, slots=True)
class Facts(Generic[A]):
    """Statements about an op with attributes `A`. A field that is left out claims nothing, and no pass makes use of it.

    `pointwise`: the result has the shape of its operands, broadcast as NumPy does, and its element i needs their
    elements i and nothing else; but operands at the positions `by_channel` hold a number for each channel (axis 1).
    `reuse`: where the result may lie in memory; None means in memory of its own.
    `activation`: papers call it the nonlinearity of the layer before it, and count it with that; it says nothing of numbers.
    `rising(op)`: pointwise of one operand, a greater one never gives a smaller result, and only NaN gives NaN.
    `slope(op)`: an error of e in operands changes no element by more than the slope times e; None is no bound.
    `least(op)`: no element of a floating result is smaller.
    `commutes`: two operands may change places.
    `identity(op, inputs, out)`: with these types the result is the first operand, element for element.
    `idempotent(op)`: pointwise of one operand, its own results come out as they are.
    `narrow(op)`: whether floats of 16 bits will do where a network of float32 asks for them. A product gains by them: kernels multiply
    pairs of 16 bits, add in float32 and round once at the result. What moves or chooses values, or rounds each once, follows its
    operands. All else stays in float32: what adds up, divides, or takes an exponential or a root loses too much.
    `sizes`: attributes that may hold named sizes.
    `opaque`: nobody can say how its result answers to a small change: another runtime computes it, or it chooses by leaps. Two of it may
    differ, so neither is folded nor merged, and named sizes of its result may be new ones, which are known once it has run.
    """

    pointwise: bool = False
    by_channel: tuple[int, ...] = ()
    reuse: Reuse | None = None
    activation: bool = False
    rising: Callable[[A], bool] = never
    slope: Callable[[A], float] | None = None
    least: Callable[[A], float] = _unbounded
    commutes: bool = False
    identity: Callable[[A, tuple[TensorType, ...], TensorType], bool] = never
    idempotent: Callable[[A], bool] = never
    narrow: Callable[[A], Narrow] = in_float32
    sizes: tuple[str, ...] = ()
    opaque: bool = False

    @property
    def is_view(self) -> bool:
        """Whether the result is the first operand's memory under another name."""
        return self.reuse is not None and self.reuse.how == "view"
