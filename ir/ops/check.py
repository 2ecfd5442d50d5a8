"""Guards that type rules share. Each raises ShapeError with both values."""

from __future__ import annotations

from typing import Any

from ..dims import Dim
from ..errors import ShapeError
from ..types import TensorType

__all__ = ["broadcast", "float_alone", "need_axis", "need_elements", "need_float", "need_rank", "need_same_dtype", "static"]


def need_rank(what: str, type_: TensorType, rank: int) -> None:
    """Raises: ShapeError unless `type_` has `rank` axes."""
    if type_.rank != rank:
        layout = {5: " (N,C,D,H,W)", 4: " (N,C,H,W)", 3: " (N,C,L)", 2: " (N,features)"}.get(rank, "") if what == "input" else ""
        raise ShapeError(f"{what} is {type_}, expected {rank} axes{layout}")


def need_same_dtype(first: TensorType, *others: TensorType | None) -> None:
    """Raises: ShapeError if operands differ in element type."""
    for other in others:
        if other is not None and other.dtype != first.dtype:
            raise ShapeError(f"operands have element types {first.dtype} and {other.dtype}; cast one of them")


def need_float(type_: TensorType) -> None:
    """Raises: ShapeError for integers and booleans."""
    if not type_.is_float:
        raise ShapeError(f"input is {type_}, expected floating point; cast it")


def float_alone(op: Any, x: TensorType) -> TensorType:
    """The type rule of a function of one floating value.

    Raises: ShapeError for integers and booleans.
    """
    need_float(x)
    return x


def need_axis(axis: int, rank: int, *, end: int = 0) -> int:
    """`axis` counted from the front; `end=1` also allows the position after the last axis.

    Raises: ShapeError when out of range.
    """
    if not -rank <= axis < rank + end:
        raise ShapeError(f"axis {axis} is outside the {rank} axes of the input")
    return axis + rank if axis < 0 else axis


def need_elements(x: TensorType, *axes: int) -> None:
    """Raises: ShapeError for an axis of no elements, of which none is the greatest and there is no mean."""
    for axis in axes:
        if x.shape[axis] == 0:
            raise ShapeError(f"input is {x}; axis {axis} has no elements to choose from")


def static(what: str, type_: TensorType) -> tuple[int, ...]:
    """The shape as integers.

    Raises: ShapeError if a named size is left.
    """
    if type_.symbols:
        raise ShapeError(f"{what} is {type_}, expected a shape of numbers")
    return tuple(dim for dim in type_.shape if isinstance(dim, int))


def _as_first_axes(a: TensorType, b: TensorType) -> str:
    """The way out where the shorter shape fits the other's first axes, as a gate [N,C] does an image's."""
    short, long = sorted((a, b), key=lambda type_: type_.rank)
    fits = all(p == q or 1 in (p, q) for p, q in zip(short.shape, long.shape, strict=False))
    if not short.rank or short.rank == long.rank or not fits:
        return ""
    wanted = (*short.shape, *(1 for _ in range(long.rank - short.rank)))
    words = ", ".join(str(dim) if isinstance(dim, int) else f'"{dim}"' for dim in wanted)
    how = f"reshape {short} to [{','.join(map(str, wanted))}], as reshape(x, {words}) does"
    return f"; axes are matched from the last one back, so {how}"


def broadcast(a: TensorType, b: TensorType) -> tuple[Dim, ...]:
    """NumPy broadcasting of two shapes.

    Raises: ShapeError for a pair of dimensions that are neither equal nor 1.
    """
    rank = max(a.rank, b.rank)
    left: tuple[Dim, ...] = (*(1 for _ in range(rank - a.rank)), *a.shape)
    right: tuple[Dim, ...] = (*(1 for _ in range(rank - b.rank)), *b.shape)
    out: list[Dim] = []
    for p, q in zip(left, right, strict=True):
        if p != q and 1 not in (p, q):
            raise ShapeError(f"shapes {a} and {b} do not broadcast: {p} against {q}{_as_first_axes(a, b)}")
        out.append(q if p == 1 else p)
    return tuple(out)
