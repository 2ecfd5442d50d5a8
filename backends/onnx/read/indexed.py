"""Rows of places that other values name, of diagonals, and of running sums."""

from __future__ import annotations

from ....ir.graph import Node
from .call import Call, Row
from .pointwise import cast_to, element_type
from .shapes import axis_of

__all__ = ["ROWS"]


def gather_elements(c: Call) -> Node:
    return c.named("gather_elements", c.x(0), c.x(1), axis=axis_of(c, c.attribute("axis", 0), c.x().typed.rank))


def gather_nd(c: Call) -> Node:
    return c.named("gather_nd", c.x(0), c.x(1), batch_dims=c.attribute("batch_dims", 0))


def scatter_elements(c: Call) -> Node:
    """Scatter too, as it was called before opset 11."""
    axis, reduction = axis_of(c, c.attribute("axis", 0), c.x().typed.rank), c.attribute("reduction", "none")
    return c.named("scatter_elements", c.x(0), c.x(1), c.x(2), axis=axis, reduction=reduction)


def scatter_nd(c: Call) -> Node:
    return c.named("scatter_nd", c.x(0), c.x(1), c.x(2), reduction=c.attribute("reduction", "none"))


def one_hot(c: Call) -> Node:
    """Indices and depth may be of any type of number."""
    indices = c.x(0)
    indices = indices if indices.typed.dtype in ("i32", "i64") else cast_to(c, indices, "i64", "indices")
    depth = c.dim(1, "depth")
    return c.named("one_hot", indices, c.x(2), depth=depth, axis=c.attribute("axis", -1))


def trilu(c: Call) -> Node:
    k = int(c.scalar(1, "k")) if c.maybe(1) is not None else 0
    return c.named("trilu", c.x(), upper=bool(c.attribute("upper", 1)), k=k)


def eye_like(c: Call) -> Node:
    code = c.attribute("dtype", 0)
    return c.named("eye_like", c.x(), to=element_type(c, code) if code else c.x().typed.dtype, k=c.attribute("k", 0))


def cumulative(name: str) -> Row:
    def row(c: Call) -> Node:
        exclusive, reverse = bool(c.attribute("exclusive", 0)), bool(c.attribute("reverse", 0))
        axis = axis_of(c, int(c.scalar(1, "axis")), c.x().typed.rank)
        return c.named(name, c.x(), axis=axis, exclusive=exclusive, reverse=reverse)

    return row


ROWS: dict[str, Row] = {
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "OneHot": one_hot,
    "Trilu": trilu,
    "EyeLike": eye_like,
    "CumSum": cumulative("cum_sum"),
    "CumProd": cumulative("cum_prod"),
}
