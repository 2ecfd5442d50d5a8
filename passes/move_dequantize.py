"""move-dequantize: a stored weight is turned and reshaped before it is dequantized, so that what is stored can be turned once and for all.

Exact: each number has the same scale as before. Only constants are moved; between layers an engine looks for dequantize before a product.
"""

from __future__ import annotations

import math

from ..ir.graph import Graph, Node
from ..ir.ops.quantize import DEQUANTIZE_LINEAR, DequantizeLinear
from ..ir.ops.shape import RESHAPES, TRANSPOSE
from .rewriting.ledger import Ledger
from .rewriting.rewriter import ANY, Match, Pat, Rule, rewrite

__all__ = ["move_dequantize"]

MOVES = (TRANSPOSE, *RESHAPES)


def _move(m: Match) -> Node | None:
    inner = m["inner"]
    stored, scale, zero = inner.inputs
    if not _is_constant(stored):
        return None
    if DEQUANTIZE_LINEAR.of(inner).block:
        return m.decline("the scales of blocks lie as the numbers do, and would have to be moved too")
    axis = _axis(m.root, inner) if scale.typed.rank else 0
    if axis is None:
        return m.decline("the scales would no longer lie along one axis")
    moved = m.node("stored", m.root.kind, m.root.op, (stored,))
    return m.root.like(kind=DEQUANTIZE_LINEAR, op=DequantizeLinear(axis), inputs=(moved, scale, zero))


def _is_constant(node: Node) -> bool:
    """A parameter, perhaps moved already."""
    while node.kind in MOVES:
        (node,) = node.inputs
    return node.weights is not None


def _axis(move: Node, inner: Node) -> int | None:
    """Where the axis of the scales comes to lie; None where it is no single axis any more."""
    before, after = inner.typed.concrete(), move.typed.concrete()
    axis = DEQUANTIZE_LINEAR.of(inner).axis % len(before)
    if move.kind is TRANSPOSE:
        return TRANSPOSE.of(move).perm.index(axis)
    in_front = math.prod(before[:axis])
    places = (place for place, size in enumerate(after) if size == before[axis] and math.prod(after[:place]) == in_front)
    return next(places, None)


RULES = (Rule("move", Pat(MOVES, (Pat((DEQUANTIZE_LINEAR,), (ANY(), ANY(), ANY()), bind="inner", uses=1),)), _move),)


def move_dequantize(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %d = dequantize_linear(%w, %s, %z); %y = transpose(%d)    After: %y = dequantize_linear(transpose(%w), %s, %z)"""
    return rewrite(graph, RULES, ledger)
