"""drop-identity: ops that change nothing at inference."""

from __future__ import annotations

from ..ir.graph import Graph, Node
from ..ir.ops.elementwise import ADD, DIV, MUL, SUB
from ..ir.ops.leaf import PARAM
from ..ir.ops.shape import RESHAPE, RESHAPES, SLICE, TRANSPOSE, Reshape, Slice, Transpose
from .rewriting.ledger import Ledger
from .rewriting.rewriter import ANY, CONST, Match, Pat, Rule, rewrite

__all__ = ["RULES", "drop_identity"]

FEW = 1 << 16  # values that are looked at


def _changes_nothing(node: Node) -> bool:
    """Whether the value is the first operand, element for element; of an idempotent op it is the second time: relu(relu(x)) = relu(x)."""
    facts, x = node.kind.facts, node.inputs[0]
    is_again = facts.idempotent(node.op) and x.kind is node.kind and x.op == node.op
    return is_again or facts.identity(node.op, tuple(operand.typed for operand in node.inputs), node.typed)


def _drop(m: Match) -> Node | None:
    return _stands_for(m, m.root.inputs[0]) if m.root.inputs and _changes_nothing(m.root) else None


def _stands_for(m: Match, x: Node) -> Node | None:
    """x in place of the root. An output's name is the interface: x takes it over if nobody else reads x, and is not
    an input or parameter with a name of its own to keep."""
    if not m.is_output:
        return x
    if not x.inputs or m.uses(x) != 1:
        return None
    m.covered[:] = [x, m.root]
    return x.like()


def _compose_transposes(m: Match) -> Node:
    inner, outer = TRANSPOSE.of(m["inner"]).perm, TRANSPOSE.of(m.root).perm
    return m.root.like(op=Transpose(tuple(inner[axis] for axis in outer)), inputs=m["inner"].inputs)


def _last_reshape(m: Match) -> Node:
    """Only the last of two reshapes decides, once its -1 is written out."""
    return Node(m.root.name, RESHAPE, Reshape(m.root.typed.shape), m["inner"].inputs, m.root.type)


def _drop_neutral(m: Match) -> Node | None:
    """x + 0, x * 1: biases and gains that were never trained. Only values that are there count, not those that a recipe would draw."""
    x, weights, neutral = m["x"], m["c"].weights, 0 if m.root.kind in (ADD, SUB) else 1
    count = m["c"].typed.numel
    if weights is None or not weights.is_stored or weights.is_missing or x.type != m.root.type or x.kind is PARAM:
        return None
    if not isinstance(count, int) or count > FEW or (weights.array() != neutral).any():
        return None
    return _stands_for(m, x)


def _one_slice(m: Match) -> Node | None:
    """Of other axes; along one axis the second counts from where the first begins."""
    outer, inner, rank = SLICE.of(m.root), SLICE.of(m["inner"]), m.root.typed.rank
    axes = (*inner.axes, *outer.axes)
    if len({axis % rank for axis in axes}) < len(axes):
        return None
    steps = () if not inner.steps and not outer.steps else (*_steps(inner), *_steps(outer))
    both = Slice(axes=axes, starts=(*inner.starts, *outer.starts), ends=(*inner.ends, *outer.ends), steps=steps)
    return m.root.like(op=both, inputs=m["inner"].inputs)


def _steps(op: Slice) -> tuple[int, ...]:
    return op.steps or (1,) * len(op.axes)


RULES = (
    Rule("drop", ANY(), _drop),
    Rule("drop-neutral", Pat((ADD, SUB, MUL, DIV), (ANY("x"), CONST("c"))), _drop_neutral),
    Rule("drop-neutral", Pat((ADD, MUL), (CONST("c"), ANY("x"))), _drop_neutral),
    Rule("compose-transposes", Pat((TRANSPOSE,), (Pat((TRANSPOSE,), (ANY(),), bind="inner", uses=1),)), _compose_transposes),
    Rule("one-slice", Pat((SLICE,), (Pat((SLICE,), (ANY(),), bind="inner", uses=1),)), _one_slice),
    Rule("last-reshape", Pat(RESHAPES, (Pat(RESHAPES, (ANY(),), bind="inner", uses=1),)), _last_reshape),
)


def drop_identity(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %d = dropout(%x); %y = relu(%d)    After: %y = relu(%x)"""
    return rewrite(graph, RULES, ledger)
