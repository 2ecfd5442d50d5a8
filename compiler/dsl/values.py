"""Values as they are: fixed numbers, another name, another type."""

from __future__ import annotations

from ...ir.ops.elementwise import CAST, IDENTITY, Cast, Identity
from ...ir.types import Array
from .trace import Value

__all__ = ["cast", "constant", "identity"]


def constant(x: Value, values: Array | float, name: str = "") -> Value:
    """Fixed numbers in the network that `x` belongs to: an array in its own element type, one number in that of `x`.

    `values` are what they are, and nobody trains them; `name` is theirs, else one is counted.
    """
    return x.trace.constant(values, name, x.float_type)


def identity(x: Value, name: str = "") -> Value:
    """x under a `name` of its own."""
    return x.trace.emit(IDENTITY, Identity(), (x,), x.trace.named(name) if name else "")


def cast(x: Value, to: str) -> Value:
    """x in the element type `to`, such as "f16" or "i64". Shapes: as x."""
    return x.trace.emit(CAST, Cast(to), (x,))
