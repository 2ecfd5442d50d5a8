"""The rewriter itself: depth, rest, reader counts, and what it records."""

from __future__ import annotations

import pytest

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.graph import Graph, Node
from convc.ir.ops.activation import RELU, TANH
from convc.ir.ops.pool import MAX_POOL
from convc.passes.rewriting.ledger import Ledger
from convc.passes.rewriting.rewriter import Match, Pat, Rule, rewrite
from convc.tests.support.graphs import typed_graph

DEEP = 3000


def one_step_up(m: Match) -> Node:
    """max_pool(tanh(x)) -> tanh(max_pool(x)): the pool made is to meet the rule again, one tanh further up."""
    (tanh,) = m.root.inputs
    pooled = m.node("pool", m.root.kind, m.root.op, tanh.inputs)
    return Node(m.root.name, TANH, tanh.op, (pooled,), m.root.type)


UP = Rule("up", Pat((MAX_POOL,), (Pat((TANH,), uses=1),)), one_step_up)


def tanhs(count: int, last: str) -> Graph:
    lines = [f"  %t{i} = tanh(%{f't{i - 1}' if i else 'x'})" for i in range(count)]
    return typed_graph("\n".join(["graph @g(%x: f32[1,2,8,8]) {", *lines, last, "}", ""]))


def test_what_a_replacement_makes_is_worked_on_at_once():
    graph = tanhs(DEEP, f"  %y = max_pool(%t{DEEP - 1}) {{kernel=[2,2], strides=[2,2]}}\n  return %y")
    ledger = Ledger(ONNXRUNTIME.prices)
    after = rewrite(graph, (UP,), ledger)
    assert [node.kind.name for node in after.ops] == ["max_pool"] + ["tanh"] * DEEP
    assert len(ledger.rewrites) == DEEP
    assert after.outputs[0].name == "y"


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_cap_stops_in_the_middle(limit: int):
    graph = tanhs(6, "  %y = max_pool(%t5) {kernel=[2,2], strides=[2,2]}\n  return %y")
    after = rewrite(graph, (UP,), Ledger(ONNXRUNTIME.prices, limit))
    assert [node.kind.name for node in after.ops].index("max_pool") == 6 - limit


def test_a_count_that_falls_lets_a_rule_fit_where_it_was_tried_already():
    """%p reads a tanh of two readers; the second goes when a later node is computed otherwise."""
    both = typed_graph(
        "graph @g(%x: f32[1,2,8,8]) {\n  %t = tanh(%x)\n  %p = max_pool(%t) {kernel=[2,2], strides=[2,2]}\n"
        "  %r = relu(%t)\n  %s = mul(%r, %r)\n  return %p, %s\n}\n"
    )
    square = both.by_name["s"].kind
    free = Rule("free", Pat((square,)), lambda m: m.node("x", RELU, m.root.inputs[0].op, both.inputs) if m.uses(m.root) else None)
    after = rewrite(both, (UP, free), Ledger(ONNXRUNTIME.prices))
    assert after.by_name["p"].kind is TANH, "the pool was not tried again"


def test_rules_that_undo_each_other_are_a_fault():
    there = Rule("there", Pat((RELU,)), lambda m: m.root.like(kind=TANH, op=TANH.Attrs()))
    back = Rule("back", Pat((TANH,)), lambda m: m.root.like(kind=RELU, op=RELU.Attrs()))
    graph = tanhs(1, "  return %t0")
    with pytest.raises(RuntimeError, match="does not come to rest at %t0"):
        rewrite(graph, (there, back), Ledger(ONNXRUNTIME.prices))
