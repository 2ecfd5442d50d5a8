"""eliminate-dead: drop what no output depends on. Inputs stay: they are the interface."""

from __future__ import annotations

from ..ir.graph import Graph
from .rewriting.ledger import Ledger

__all__ = ["eliminate_dead"]


def eliminate_dead(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %a = relu(%x); %b = tanh(%x); return %a    After: %a = relu(%x); return %a"""
    live = graph.live
    kept = set(live.nodes)
    dead = [node for node in graph.nodes if node not in kept]
    if not dead or not ledger.is_open:
        return graph
    ledger.record("drop-dead", dead[-1].name, tuple(node.name for node in dead))
    return live
