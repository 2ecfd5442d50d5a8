"""flatten-concat: values that go into a concat by way of another are copied once, not twice."""

from __future__ import annotations

from ..ir.graph import Graph, Node
from ..ir.ops.shape import CONCAT, SLICE, Concat, Slice
from .rewriting.ledger import Ledger
from .rewriting.rewriter import Match, Pat, Rule, rewrite

__all__ = ["flatten_concat"]


def splice(m: Match) -> Node | None:
    """The operands of an inner concat in its place; one with a second reader is made all the same, so it stays."""
    axis = _axis(m.root)
    inner = {x: x.inputs for x in m.root.inputs if x.kind is CONCAT and _axis(x) == axis and m.uses(x) == 1}
    if not inner:
        return None
    m.covered.extend(inner)
    operands = (part for x in m.root.inputs for part in inner.get(x, (x,)))
    return m.root.like(op=Concat(axis), inputs=tuple(operands))


def rejoin(m: Match) -> Node | None:
    """Slices that together are the whole they were cut from. An output keeps its node, which has the name."""
    whole = m.root.inputs[0].inputs[0] if m.root.inputs[0].kind is SLICE else None
    if whole is None or m.is_output:
        return None
    at, axis = 0, _axis(m.root)
    for part in m.root.inputs:
        bounds = _bounds(part, whole, axis)
        if bounds is None or bounds[0] != at:
            return None
        at = bounds[1]
    m.covered.extend(m.root.inputs)
    return whole if at == whole.typed.shape[axis] else None


def join(m: Match) -> Node | None:
    """Neighbouring slices of one value, next to each other: one slice, or the value itself. `rejoin` has those that are all of it."""
    operands: list[Node] = []
    for part in m.root.inputs:
        one = _one(m, operands[-1], part) if operands else None
        if one is None:
            operands.append(part)
        else:
            m.covered.extend((operands[-1], part))
            operands[-1] = one
    return m.root.like(inputs=tuple(operands)) if 1 < len(operands) < len(m.root.inputs) else None


def _one(m: Match, first: Node, second: Node) -> Node | None:
    """Two slices as one; what was cut for other readers too is cut a second time, so it stays."""
    axis = _axis(m.root)
    if first.kind is not SLICE or (m.uses(first) > 1 or m.uses(second) > 1):
        return None
    whole = first.inputs[0]
    one, other = _bounds(first, whole, axis), _bounds(second, whole, axis)
    if one is None or other is None or one[1] != other[0]:
        return None
    if (one[0], other[1]) == (0, whole.typed.shape[axis]):
        return whole
    return m.node("part", SLICE, Slice((axis,), (one[0],), (other[1],)), (whole,))


def _axis(concat: Node) -> int:
    return CONCAT.of(concat).axis % concat.typed.rank


def _bounds(part: Node, whole: Node, axis: int) -> tuple[int, int] | None:
    """First and last-plus-one position, where `part` is whole[..., first:last, ...] along that axis alone."""
    if part.kind is not SLICE or part.inputs[0] is not whole:
        return None
    op, size = SLICE.of(part), whole.typed.shape[axis]
    if len(op.axes) != 1 or op.axes[0] % whole.typed.rank != axis or op.steps not in ((), (1,)) or not isinstance(size, int):
        return None
    (start,), (end,) = op.starts, op.ends
    if not isinstance(start, int) or not isinstance(end, int):
        return None
    first, last, _ = slice(start, end).indices(size)
    return (first, last) if first < last else None


ANY_OPERANDS = Pat((CONCAT,), None)
RULES = (Rule("splice", ANY_OPERANDS, splice), Rule("rejoin", ANY_OPERANDS, rejoin), Rule("join", ANY_OPERANDS, join))


def flatten_concat(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %a = concat(%x, %y); %b = concat(%a, %z)    After: %b = concat(%x, %y, %z)"""
    return rewrite(graph, RULES, ledger)
