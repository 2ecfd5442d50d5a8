"""fold-constants: what depends on parameters alone becomes a parameter, under a size budget."""

from __future__ import annotations

from ..ir.graph import Graph, Node, Origin
from ..ir.ops.leaf import PARAM, Param
from ..ir.types import Array
from ..ir.weights import Weights
from .ledger import Ledger

__all__ = ["NODE_BYTES", "TOTAL_BYTES", "fold_constants"]

NODE_BYTES = 64 << 20  # a result larger than this is computed at run time: a small file must not ask for gigabytes
TOTAL_BYTES = 512 << 20


def fold_constants(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %c = mul(%a, %b), both params    After: %c = param {init=given}

    Values are computed in float64 when somebody looks, and cast once. A result over NODE_BYTES, or over
    what is left of TOTAL_BYTES, stays.
    """
    left = TOTAL_BYTES

    def fold(node: Node, operands: tuple[Node, ...]) -> Node:
        nonlocal left
        node = node.reading(operands)
        if not ledger.is_open or not operands or any(operand.weights is None for operand in operands):
            return node
        size = node.typed.nbytes
        if not isinstance(size, int) or size > min(NODE_BYTES, left):
            return node
        left -= size
        weights = Weights.derived(node.typed, node.name, lambda: _value(node))
        origin = Origin(node.origin.source, node.origin.scope, (node.name,))
        ledger.record("fold", node.name, (node.name,))
        return Node(node.name, PARAM, Param("given"), (), node.typed, origin, weights)

    return graph.rebuild(fold)


def _value(node: Node) -> Array:
    wide = (operand.weights.wide() for operand in node.inputs if operand.weights is not None)
    return node.kind.meaning(node.op, *wide)
