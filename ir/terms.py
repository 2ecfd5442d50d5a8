"""Formulas over values of a graph: what a gradient rule is written in.

A rule stands beside its op and can import neither the graph nor the ops beside it, which all import each other's family then. So it
names ops as the text form does, `x.op("transpose", perm=(1, 0))`, and has arithmetic as on paper, `g * y * (1 - y)`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .dims import Dim
from .types import Array, TensorType

__all__ = ["FLAT", "EachOperand", "Gradient", "GradientRule", "NoGradient", "Term", "TermMaker", "of_one", "of_two", "where"]


class TermMaker(Protocol):
    """Makes the nodes that terms stand for."""

    def make(self, name: str, operands: Sequence[Term], attributes: Mapping[str, Any]) -> Term:
        """A node of the op of that name.

        Raises: ShapeError by the op's own type rule.
        """
        ...

    def full(self, type_: TensorType, value: float) -> Term:
        """A parameter that holds one number."""
        ...

    def table(self, type_: TensorType, compute: Callable[[], Array]) -> Term:
        """A parameter whose numbers are computed, in float64, when somebody looks."""
        ...

    def is_asked(self, value: Any) -> bool:
        """Whether the gradient of this value itself is wanted, so that a rule may not pass it over."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Term:
    """A value of a graph that is being made. Python's operators are the ops of those names; a number beside it is of its element type."""

    value: Any
    type: TensorType
    maker: TermMaker

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.type.shape

    @property
    def rank(self) -> int:
        return self.type.rank

    def op(self, name: str, *others: Term | float, **attributes: Any) -> Term:
        """The op of that name, of this value first and then the others."""
        return self.maker.make(name, (self, *map(self.number, others)), attributes)

    def number(self, value: Term | float) -> Term:
        """A number as a scalar of this element type; a term as it is."""
        return value if isinstance(value, Term) else self.full((), value)

    def full(self, shape: tuple[Dim, ...], value: float) -> Term:
        """One number in each place of a shape."""
        scalar = self.maker.full(TensorType(self.type.dtype, ()), value)
        return scalar.expand(shape) if shape else scalar

    def table(self, shape: tuple[int, ...], compute: Callable[[], Array]) -> Term:
        """Numbers of this element type that `compute` makes."""
        return self.maker.table(TensorType(self.type.dtype, shape), compute)

    def __add__(self, other: Term | float) -> Term:
        return self.op("add", other)

    def __radd__(self, other: float) -> Term:
        return self.op("add", other)

    def __sub__(self, other: Term | float) -> Term:
        return self.op("sub", other)

    def __rsub__(self, other: float) -> Term:
        return self.number(other).op("sub", self)

    def __mul__(self, other: Term | float) -> Term:
        return self.op("mul", other)

    def __rmul__(self, other: float) -> Term:
        return self.op("mul", other)

    def __truediv__(self, other: Term | float) -> Term:
        return self.op("div", other)

    def __rtruediv__(self, other: float) -> Term:
        return self.number(other).op("div", self)

    def __neg__(self) -> Term:
        return self.op("neg")

    def __gt__(self, other: Term | float) -> Term:
        return self.op("greater", other)

    def __lt__(self, other: Term | float) -> Term:
        return self.op("less", other)

    def __ge__(self, other: Term | float) -> Term:
        return self.op("greater_or_equal", other)

    def __le__(self, other: Term | float) -> Term:
        return self.op("less_or_equal", other)

    def __and__(self, other: Term) -> Term:
        return self.op("logical_and", other)

    def __or__(self, other: Term) -> Term:
        return self.op("logical_or", other)

    def equals(self, other: Term | float) -> Term:
        return self.op("equal", other)

    def cast(self, dtype: str) -> Term:
        return self if self.type.dtype == dtype else self.op("cast", to=dtype)

    def sum(self, *axes: int, keepdims: bool = False) -> Term:
        """Over these axes; over none it is the value itself."""
        return self.op("reduce_sum", axes=axes, keepdims=keepdims) if axes else self

    def mean(self, *axes: int, keepdims: bool = False) -> Term:
        return self.op("reduce_mean", axes=axes, keepdims=keepdims) if axes else self

    def reshape(self, *shape: Dim) -> Term:
        return self if self.shape == shape else self.op("reshape", shape=shape)

    def transpose(self, *perm: int) -> Term:
        return self if perm == tuple(range(self.rank)) else self.op("transpose", perm=perm)

    def expand(self, shape: tuple[Dim, ...]) -> Term:
        return self if self.shape == shape else self.op("expand", shape=shape)

    def cut(self, axis: int, start: Dim, end: Dim, step: int = 1) -> Term:
        """x[start:end:step] along one axis; itself where that is all of it."""
        if start == 0 and end == self.shape[axis] and step == 1:
            return self
        return self.op("slice", axes=(axis,), starts=(start,), ends=(end,), steps=() if step == 1 else (step,))

    def pad(self, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Term:
        """More elements before and after each axis; itself where there are none."""
        return self.op("pad", pads=(*before, *after), value=value) if any((*before, *after)) else self

    def flipped(self, axis: int) -> Term:
        """Backwards along an axis."""
        return self.op("slice", axes=(axis,), starts=(-1,), ends=(-(2**63) + 1,), steps=(-1,))

    def fit(self, x: Term) -> Term:
        """Summed over what broadcasting had repeated of x, in the shape of x."""
        if self.shape == x.shape:
            return self
        lead = self.rank - x.rank
        repeated = (lead + axis for axis, size in enumerate(x.shape) if size == 1 and self.shape[lead + axis] != 1)
        return self.sum(*range(lead), *repeated, keepdims=True).reshape(*x.shape)

    def sign(self) -> Term:
        """1, 0 or -1."""
        return where(self > 0, self.full((), 1), where(self < 0, self.full((), -1), 0))

    def zeros(self) -> Term:
        """Nothing, in this shape."""
        return self.full(self.shape, 0)

    def count(self, *axes: int) -> Term:
        """How many elements the axes have together, as a scalar: a number that a run tells where sizes are named."""
        named = tuple(size for size in (self.shape[axis] for axis in axes) if not isinstance(size, int))
        known = math.prod(size for size in (self.shape[axis] for axis in axes) if isinstance(size, int))
        counts = [self.full((), float(known))] if known != 1 or not named else []
        counts += [self.full((size,), 1.0).sum(0) for size in named]
        return functools.reduce(Term.__mul__, counts)

    def along_channels(self, rank: int) -> Term:
        """[C] as [C,1,1], which broadcasts along axis 1 of that many."""
        return self.reshape(*self.shape, *(1,) * (rank - 2))


def where(condition: Term, a: Term | float, b: Term | float) -> Term:
    """a where the condition holds, b elsewhere; one of them a term."""
    like = a if isinstance(a, Term) else b
    assert isinstance(like, Term)
    return condition.maker.make("where", (condition, like.number(a), like.number(b)), {})


# Of one operand: rule(op, g, y, *operands) is what a change of that operand adds to the loss, of its shape. `g` is the same of y.
# None where nothing flows after all, or a reason why these attributes have none.
GradientRule = Callable[..., "Term | NoGradient | None"]


@dataclass(frozen=True, slots=True)
class EachOperand:
    """One rule for operands that all play one part: rule(op, place, g, y, *operands)."""

    rule: GradientRule


@dataclass(frozen=True, slots=True)
class NoGradient:
    """The op has none, and why."""

    why: str


# A rule for each operand, None for one that a small change of changes nothing: whole numbers, conditions, steps.
Gradient = tuple[GradientRule | None, ...] | EachOperand | NoGradient
FLAT: Gradient = (None,)  # of one operand, in steps


def of_one(rule: Callable[[Any, Term, Term, Term], Term | NoGradient | None]) -> Gradient:
    """Of a function of one value: rule(op, g, y, x)."""
    return (rule,)


def of_two(
    left: Callable[[Any, Term, Term, Term, Term], Term] | None, right: Callable[[Any, Term, Term, Term, Term], Term] | None
) -> Gradient:
    """Of a function of two values: rules (op, g, y, a, b)."""
    return left, right
