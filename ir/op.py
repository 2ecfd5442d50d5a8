"""What an op is: one record with its attributes, type rule, meaning, magnitude, cost, facts and gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from .dims import Dim
from .facts import Facts
from .terms import Gradient
from .types import Array, TensorType

__all__ = ["Computed", "Cost", "OpDef", "elementwise_cost", "no_rounding", "one_rounding", "plain", "rounded"]

A = TypeVar("A")
Roundings = Callable[[Any, tuple[TensorType, ...], TensorType], Dim]


@dataclass(frozen=True, slots=True)
class Cost:
    """What computing one node takes.

    Units: `macs` multiply-adds; `flops` single floating-point operations (a multiply-add is two);
    `bytes_read` and `bytes_written` as if every operand came from memory once. Symbolic where the
    type is.
    """

    macs: Dim = 0
    flops: Dim = 0
    bytes_read: Dim = 0
    bytes_written: Dim = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.macs + other.macs,
            self.flops + other.flops,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
        )


def rounded(times: int) -> Roundings:
    """A rule of roundings: as many for every element, whatever the types."""
    return lambda op, inputs, out: times


no_rounding = rounded(0)  # values are moved or chosen, never computed
one_rounding = rounded(1)  # one correctly rounded operation


class Computed(Protocol):
    """A node, as far as an op looks at it."""

    @property
    def kind(self) -> OpDef[Any]: ...
    @property
    def op(self) -> Any: ...
    @property
    def where(self) -> str: ...


@dataclass(frozen=True, eq=False, slots=True)
class OpDef(Generic[A]):
    """One op, equal to itself alone. `Attrs` is its frozen attribute record; the functions take that record first.

    `infer(op, *types)` gives the result type and raises ShapeError; `meaning(op, *arrays)` is the
    value in NumPy; `magnitude(op, *arrays)` is `op(|x|, |w|)`, the scale of its rounding errors
    (Higham 2002, ch. 3), by default the size of the result; `arithmetic(op, inputs, out)` counts
    (MACs, FLOPs). `roundings(op, inputs, out)` is n in the bound gamma_n * magnitude on the error of one
    result, for any order of summation (Higham 2002, sec. 3.1); 0 for ops that move or choose values.
    `arity` is the least and greatest number of operands, None for no limit. `facts` is what else is true of it.
    `gradient` has for each operand what a change of it adds to a loss (`ir/terms.py`), or says why there is none; None is not said.
    """

    name: str
    Attrs: type[A]
    arity: tuple[int, int | None]
    infer: Callable[..., TensorType]
    meaning: Callable[..., Array]
    arithmetic: Callable[[Any, tuple[TensorType, ...], TensorType], tuple[Dim, Dim]]
    magnitude: Callable[..., Array] | None = None
    roundings: Roundings = one_rounding
    facts: Facts[A] = field(kw_only=True)
    gradient: Gradient | None = field(kw_only=True, default=None)

    def of(self, node: Computed) -> A:
        """The attributes of a node of this kind.

        Raises: TypeError for a node of another kind, which is a fault in the caller.
        """
        if node.kind is not self:
            raise TypeError(f"{node.where} is not a {self.name}")
        return node.op

    def cost(self, op: A, inputs: tuple[TensorType, ...], out: TensorType) -> Cost:
        """Arithmetic from the op's own rule; traffic as every operand read and the result written once."""
        macs, flops = self.arithmetic(op, inputs, out)
        read: Dim = 0
        for operand in inputs:
            read = read + operand.nbytes
        return Cost(macs, flops, read, out.nbytes)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def elementwise_cost(flops_per_element: int) -> Callable[[Any, tuple[TensorType, ...], TensorType], tuple[Dim, Dim]]:
    """An arithmetic rule: no MACs, a fixed number of FLOPs per element of the result."""

    def arithmetic(op: Any, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
        return 0, out.numel * flops_per_element

    return arithmetic


def plain(function: Callable[..., Array]) -> Callable[..., Array]:
    """The meaning of an op without attributes: a function of its operands alone."""

    def meaning(op: Any, *operands: Array) -> Array:
        return function(*operands)

    return meaning
