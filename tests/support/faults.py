"""Faults planted in engines and in passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from convc.compiler.engines.engine import Engine
from convc.ir.graph import Graph, Node
from convc.ir.types import Array
from convc.passes.catalog import Pass
from convc.passes.rewriting.ledger import Ledger


def spoilt(engine: Engine, victim: str, spoil: Callable[[Array], Array]) -> Engine:
    """An engine whose result for one node is wrong, and what follows from it right."""

    def capture(*words: Any) -> Any:
        for name, value in engine.capture(*words):
            yield name, spoil(value.copy()) if name == victim else value

    return replace(engine, capture=capture)


def faulty_pass(victim: str, break_: Callable[[Node], Node]) -> Pass:
    """A pass that rewrites every node, all but one harmlessly."""

    def run(graph: Graph, ledger: Ledger) -> Graph:
        def visit(node: Node, operands: tuple[Node, ...]) -> Node:
            node = node.reading(operands)
            if not node.inputs or not ledger.is_open:
                return node
            ledger.record("rewrite", node.name, (node.name,), (node.name,))
            return break_(node) if node.name == victim else node.like()

        return graph.rebuild(visit)

    return Pass("faulty", run, "for the test")
