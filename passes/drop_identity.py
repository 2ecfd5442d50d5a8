"""drop-identity: ops that change nothing at inference."""

from __future__ import annotations

from ..ir.graph import Graph, Node
from ..ir.ops.shape import FLATTEN, RESHAPE, TRANSPOSE, Reshape, Transpose
from .rewriting.ledger import Ledger
from .rewriting.rewriter import ANY, Match, Pat, Rule, rewrite

__all__ = ["drop_identity"]


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


_SHAPING = (RESHAPE, FLATTEN)
RULES = (
    Rule("drop", ANY(), _drop),
    Rule("compose-transposes", Pat((TRANSPOSE,), (Pat((TRANSPOSE,), (ANY(),), bind="inner", uses=1),)), _compose_transposes),
    Rule("last-reshape", Pat(_SHAPING, (Pat(_SHAPING, (ANY(),), bind="inner", uses=1),)), _last_reshape),
)


def drop_identity(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %d = dropout(%x); %y = relu(%d)    After: %y = relu(%x)"""
    return rewrite(graph, RULES, ledger)
