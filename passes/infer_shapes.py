"""infer-shapes: give every node its type."""

from __future__ import annotations

from ..ir.graph import Graph, Node
from ..ir.verifier import infer_type
from .rewriting.ledger import Ledger

__all__ = ["infer_shapes"]


def infer_shapes(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %y = relu(%x)    After: %y = relu(%x) : f32[N,4,5,5]

    Raises: ShapeError naming the first node whose operands do not fit.
    """

    def typed(node: Node, operands: tuple[Node, ...]) -> Node:
        node = node.reading(operands)
        if node.type is not None or not ledger.is_open:
            return node
        ledger.record("infer", node.name, (), (node.name,))
        return node.like(type=infer_type(node))

    return graph.rebuild(typed)
