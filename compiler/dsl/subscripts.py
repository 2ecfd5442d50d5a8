"""Subscripts of values, `x[:, :4]` and `x[..., ::2]`, as in NumPy: the batch is axis 0, and a number takes its axis away."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any, cast

from ...ir.dims import Dim, Expr
from ...ir.errors import ShapeError
from ...ir.ops.shape import TO_THE_END, Slice
from ...ir.types import TensorType
from .user_line import naming_line

__all__ = ["Subscript", "subscript_of"]

THE_VERY_FIRST = -(2**63)  # an end that steps backwards do not reach, as ONNX writes it


@dataclass
class Subscript:
    """What a subscript does: slices, then single places of named sizes (`picked`: axis, place), then a new shape.

    `axes` are those of the result: numbers are the value's own, None stands for one of extent 1 that is put in.
    """

    bounds: list[tuple[int, Dim, Dim, int]] = field(default_factory=list[tuple[int, Dim, Dim, int]])
    picked: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    axes: list[int | None] = field(default_factory=list["int | None"])

    @property
    def slice(self) -> Slice | None:
        if not self.bounds:
            return None
        axes, starts, ends, steps = zip(*self.bounds, strict=True)
        return Slice(axes, starts, ends, steps if any(step != 1 for step in steps) else ())


def subscript_of(key: Any, type_: TensorType) -> Subscript:
    """Raises: ShapeError, with the user's line, for what is no subscript of such a value."""
    entries = cast("tuple[Any, ...]", key) if isinstance(key, tuple) else (key,)
    if sum(entry is Ellipsis for entry in entries) > 1:
        raise _refusal("a subscript has more than one ...; write the axes out")
    own = sum(entry is not None and entry is not Ellipsis for entry in entries)
    if own > type_.rank:
        raise _refusal(f"{own} subscripts for {type_}, which has {type_.rank} axes")
    if not any(entry is Ellipsis for entry in entries):
        entries = (*entries, Ellipsis)
    found, axis = Subscript(), 0
    for entry in entries:
        if entry is None:
            found.axes.append(None)
        elif entry is Ellipsis:
            found.axes += range(axis, axis + type_.rank - own)
            axis += type_.rank - own
        elif isinstance(entry, slice):
            _add_slice(found, axis, cast("slice[Any, Any, Any]", entry), type_.shape[axis])
            axis += 1
        else:
            _add_place(found, axis, _whole(entry, "a subscript"), type_)
            axis += 1
    return found


def _add_slice(found: Subscript, axis: int, entry: slice[Any, Any, Any], size: Dim) -> None:
    step = 1 if entry.step is None else _whole(entry.step, "a step")
    if step == 0:
        raise _refusal("a step of 0 goes nowhere; 1 takes every element")
    found.axes.append(axis)
    if entry.start is None and entry.stop is None and step == 1:
        return
    first: Dim = 0 if step > 0 else -1
    start = first if entry.start is None else _bound(entry.start)
    end = (TO_THE_END if step > 0 else THE_VERY_FIRST) if entry.stop is None else _bound(entry.stop)
    found.bounds.append((axis, start, end, step))


def _add_place(found: Subscript, axis: int, place: int, type_: TensorType) -> None:
    size = type_.shape[axis]
    if not isinstance(size, int):
        found.picked.append((axis, place))
        return
    if not -size <= place < size:
        raise _refusal(f"index {place} is out of range for axis {axis} of {type_}, which has {size} elements")
    place %= size
    found.bounds.append((axis, place, place + 1, 1))


def _bound(given: Any) -> Dim:
    return given if isinstance(given, Expr) else _whole(given, "a bound")


def _whole(given: Any, what: str) -> int:
    try:
        if not isinstance(given, bool):
            return operator.index(given)
    except TypeError:
        pass
    raise _refusal(
        f"{what} is a {type(given).__name__}, expected whole numbers, slices, ... and None, as in x[:, :4]; an operator chooses by values"
    )


def _refusal(why: str) -> ShapeError:
    return ShapeError(naming_line(why))
