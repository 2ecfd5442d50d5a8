"""Partial evaluation while a file is read: what is known of small values, named sizes included.

Exporters leave chains around reshapes: Shape, Gather, Mul, Concat... Their values are numbers, or dimensions such as `N` or
`H//2`, and are needed as attributes. So every small integer value is computed as it is read, with the op's own
meaning on arrays of dimensions. Floats on the way are whole, or a quotient that waits for its rounding.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.attributes import named_sizes
from ....ir.dims import Dim, Expr
from ....ir.effort import effort_of
from ....ir.errors import ShapeError
from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops.compare import EQUAL, WHERE
from ....ir.ops.elementwise import ADD, CAST, DIV, IDENTITY, MUL, SUB
from ....ir.ops.rearrange import EXPAND, TILE
from ....ir.ops.reduce import REDUCE_PROD
from ....ir.ops.select import GATHER
from ....ir.ops.shape import CONCAT, FLATTEN, RESHAPE, SLICE, TRANSPOSE
from ....ir.ops.unary import CEIL, FLOOR
from ....ir.types import DTYPES, Array, widened

__all__ = ["KNOWN_ELEMENTS", "Known", "is_symbolic"]

KNOWN_ELEMENTS = 4096  # values with more elements are data, not shapes
FILLED_BYTES = 64 << 20  # of what a number and a shape say: more is not written out
KNOWN_EFFORT = 4 << 20  # bytes on the way, or operations


def _is_filled(node: Node) -> bool:
    size = node.typed.nbytes
    return node.weights is not None and node.weights.recipe.init == "full" and isinstance(size, int) and size <= FILLED_BYTES


def is_symbolic(array: Array) -> bool:
    """Whether a named size is among the values."""
    return array.dtype == object and any(isinstance(value, Expr) for value in array.flat)


@dataclass(frozen=True, slots=True)
class Quotient:
    """H/2 in floats: a dimension over a number that need not divide it. Only a rounding makes a dimension of it."""

    dim: Dim
    divisor: int


class Known:
    """Values by node: arrays of numbers in the node's own element type, or of dimensions (dtype object)."""

    def __init__(self) -> None:
        self.values: dict[Node, Array] = {}

    def of(self, node: Node) -> Array | None:
        """What is known of a node's value, or None."""
        value = self._computed(node)
        return None if value is None or _has_quotients(value) else value

    def numbers(self, node: Node) -> Array | None:
        """The value of a node where it is known and in numbers: a constant of the file, large if its values are there, or a small value."""
        if node.weights is not None:
            return node.weights.array() if node.weights.is_given or _is_filled(node) else None
        value = self.of(node)
        return None if value is None or value.dtype == object else value

    def _computed(self, node: Node) -> Array | None:
        if node in self.values:
            return self.values[node]
        if node.weights is not None and node.weights.is_given and _is_small(node):
            return node.weights.array()
        return None

    def learn(self, node: Node) -> Array | None:
        """Compute the value of a node whose operands are all known; None where it is not to be known."""
        if not node.inputs or not _is_small(node):
            return None
        operands = [self._computed(operand) for operand in node.inputs]
        if any(operand is None for operand in operands) or not _is_quick(node):
            return None
        value = _compute(node, [operand for operand in operands if operand is not None])
        if value is not None:
            self.values[node] = value
        return value


def _is_small(node: Node) -> bool:
    count = node.typed.numel
    return isinstance(count, int) and count <= KNOWN_ELEMENTS


def _is_quick(node: Node) -> bool:
    """Small values may still come of wide pads or a large kernel; constants.py has a budget for those."""
    effort = effort_of(node)
    return max(effort.nbytes, effort.flops) <= KNOWN_EFFORT


def _has_quotients(array: Array) -> bool:
    return array.dtype == object and any(isinstance(value, Quotient) for value in array.flat)


def _compute(node: Node, operands: list[Array]) -> Array | None:
    if not any(is_symbolic(operand) or _has_quotients(operand) for operand in operands):
        if any(named_sizes(node.op)):
            return None  # a slice of constants up to H
        operands = [operand if operand.dtype != object else operand.astype(np.int64) for operand in operands]
        with np.errstate(all="ignore"):
            value = np.asarray(node.kind.meaning(node.op, *map(widened, operands)))
            return value.astype(DTYPES[node.typed.dtype], copy=False) if node.typed.dtype == "bf16" else value
    meaning = (IN_FLOATS if node.typed.is_float else IN_INTEGERS).get(node.kind) or SYMBOLIC.get(node.kind)
    if meaning is None:
        return None
    try:
        return np.asarray(meaning(node.op, *(_as_dims(operand) for operand in operands)), dtype=object)
    except _Undecided:
        return None


class _Undecided(Exception):
    """The answer depends on the number that a named size stands for."""


def _as_dims(array: Array) -> Array:
    """Whole numbers as Python's own, so that dimensions can be computed with."""
    if array.dtype == object:
        return array
    out = np.empty(array.shape, dtype=object)
    for at in np.ndindex(array.shape):
        out[at] = _whole(array[at].item())
    return out


def _whole(value: Any) -> Dim:
    if not float(value).is_integer():
        raise _Undecided
    return int(value)


def _itself(op: Any, x: Array) -> Array:
    return x


def _elementwise(scalar: Callable[..., Any]) -> Callable[..., Array]:
    def meaning(op: Any, *operands: Array) -> Array:
        if any(_has_quotients(operand) for operand in operands):
            raise _Undecided
        return np.asarray(np.frompyfunc(scalar, len(operands), 1)(*operands), dtype=object)

    return meaning


def _rounded(toward: Callable[[Dim, int], Dim]) -> Callable[..., Array]:
    """A whole number rounds to itself."""

    def meaning(op: Any, x: Array) -> Array:
        return np.asarray(np.frompyfunc(lambda a: toward(a.dim, a.divisor) if isinstance(a, Quotient) else a, 1, 1)(x), dtype=object)

    return meaning


def _down(dim: Dim, divisor: int) -> Dim:
    return dim // divisor


def _up(dim: Dim, divisor: int) -> Dim:
    return (dim + (divisor - 1)) // divisor


def _toward_zero(dim: Dim, divisor: int) -> Dim:
    """One that grows with its named sizes, as H-3, is taken for large enough to be no less than 0.

    Raises: _Undecided where a dimension may be of either sign.
    """
    signs = {coefficient > 0 for monomial, coefficient in dim.terms if monomial} if isinstance(dim, Expr) else {dim > 0}
    if signs == {True}:
        return dim // divisor
    if signs == {False}:
        return -(-dim // divisor)
    raise _Undecided


def _quotient(a: Dim, b: Dim) -> Dim | Quotient:
    divisor = _divisor(b)
    down = a // divisor
    return down if down * divisor == a else Quotient(a, divisor)


def _truncated(a: Dim, b: Dim) -> Dim:
    return _toward_zero(a, _divisor(b))


def _divisor(b: Dim) -> int:
    if not isinstance(b, int) or b <= 0:
        raise _Undecided
    return b


def _is_equal(a: Dim, b: Dim) -> bool:
    """A size never equals a negative number; of others nobody knows."""
    if a == b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return False
    if (isinstance(a, int) and a < 0) or (isinstance(b, int) and b < 0):
        return False
    raise _Undecided


def _chosen(condition: Any, a: Dim, b: Dim) -> Dim:
    return a if condition else b


def _product(op: Any, x: Array) -> Array:
    if _has_quotients(x):
        raise _Undecided
    total: Any = np.multiply.reduce(x, axis=op.axes or None, keepdims=op.keepdims)
    return np.asarray(total, dtype=object)


def _gathered(op: Any, x: Array, at: Array) -> Array:
    size = x.shape[op.axis]
    if is_symbolic(at):
        raise _Undecided
    if any(not -size <= index < size for index in at.flat):
        raise ShapeError(f"an index of {at.tolist()} is out of range for {size} elements along axis {op.axis}")
    return np.asarray(np.take(x, at.astype(np.int64), axis=op.axis), dtype=object)


def _expanded(op: Any, x: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(op.shape)))


def _tiled(op: Any, x: Array) -> Array:
    return np.tile(x, op.repeats)


# By op, on arrays of dimensions; what is missing here needs numbers.
SYMBOLIC: dict[OpDef[Any], Callable[..., Array]] = {
    IDENTITY: _itself,
    FLOOR: _rounded(_down),
    CEIL: _rounded(_up),
    ADD: _elementwise(operator.add),
    SUB: _elementwise(operator.sub),
    MUL: _elementwise(operator.mul),
    EQUAL: _elementwise(_is_equal),
    WHERE: _elementwise(_chosen),
    REDUCE_PROD: _product,
    **{kind: kind.meaning for kind in (CONCAT, SLICE, RESHAPE, FLATTEN, TRANSPOSE)},  # they move dimensions as they move numbers
    GATHER: _gathered,
    EXPAND: _expanded,
    TILE: _tiled,
}
# Those whose meaning depends on the type of their result.
IN_FLOATS: dict[OpDef[Any], Callable[..., Array]] = {CAST: _itself, DIV: _elementwise(_quotient)}
IN_INTEGERS: dict[OpDef[Any], Callable[..., Array]] = {CAST: _rounded(_toward_zero), DIV: _elementwise(_truncated)}
