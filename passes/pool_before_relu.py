"""pool-before-relu: a rising function of the greatest value instead of the greatest value of the function.

max(f(a), f(b)) = f(max(a, b)) where f never falls, so f is computed on what the pool leaves: a quarter for 2x2
windows. Padding changes nothing: it never wins, and no window without holes holds padding alone.
"""

from __future__ import annotations

from ..ir.graph import Graph, Node
from ..ir.ops.pool import GLOBAL_MAX_POOL, MAX_POOL
from .rewriting.ledger import Ledger
from .rewriting.rewriter import ANY, Match, Pat, Rule, rewrite

__all__ = ["pool_before_relu"]


def swap(m: Match) -> Node | None:
    pool = m.root
    op = MAX_POOL.of(pool) if pool.kind is MAX_POOL else None
    if op and max(op.strides) == 1:
        return None  # as many values after the pool as before it
    if op and any(op.pads) and max(op.dilations) > 1:
        return None  # all taps may lie in the padding: the pool makes -inf of it, and relu then 0
    functions: list[Node] = []
    x = pool.inputs[0]
    while x.kind.facts.rising(x.op) and m.uses(x) == 1:  # another reader needs every value
        functions.append(x)
        x = x.inputs[0]
    if not functions:
        return None
    m.covered.extend(functions)
    value = m.node("pool", pool.kind, pool.op, (x,))
    for function in reversed(functions[1:]):
        value = m.node(function.kind.name, function.kind, function.op, (value,))
    return Node(pool.name, functions[0].kind, functions[0].op, (value,), pool.type)


RULES = (Rule("swap", Pat((MAX_POOL, GLOBAL_MAX_POOL), (ANY(),)), swap),)


def pool_before_relu(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %r = relu(%x); %p = max_pool(%r)    After: %p.pool = max_pool(%x); %p = relu(%p.pool)"""
    return rewrite(graph, RULES, ledger)
