"""Which nodes of a network only another runtime computes, in words."""

from __future__ import annotations

from .errors import UnsupportedOp
from .graph import Graph
from .ops.opaque import OPAQUE, OPAQUE_RESULT

__all__ = ["has_opaque", "opaque_nodes_of", "refuse_opaque"]

NAMED = 5  # nodes of an operator that a sentence names


def has_opaque(graph: Graph) -> bool:
    return any(node.kind.facts.opaque for node in graph.nodes)


def opaque_nodes_of(graph: Graph) -> str:
    """`3 nodes need another runtime: Einsum (%q, %y), NonMaxSuppression (%sel)`."""
    names: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.kind.facts.opaque and node.kind is not OPAQUE_RESULT:
            names.setdefault(node.op.label if node.kind is OPAQUE else node.kind.name, []).append(f"%{node.name}")
    count = sum(map(len, names.values()))
    more = {label: f" and {len(each) - NAMED} more" if len(each) > NAMED else "" for label, each in names.items()}
    listed = ", ".join(f"{label} ({', '.join(each[:NAMED])}{more[label]})" for label, each in names.items())
    return f"{'1 node needs' if count == 1 else f'{count} nodes need'} another runtime: {listed}"


def refuse_opaque(graph: Graph, what: str) -> None:
    """Raises: UnsupportedOp, naming them, for a network with such nodes, which `what` cannot compute."""
    if has_opaque(graph):
        raise UnsupportedOp(f"@{graph.name} is not compiled for {what}: {opaque_nodes_of(graph)}; onnxruntime runs it (-b onnx)")
