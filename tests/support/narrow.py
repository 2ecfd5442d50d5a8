"""A float32 network as one of 16 bits, text for text: a cast of each input, all else in the other type."""

from __future__ import annotations

import re

from convc.ir.graph import Graph, Node
from convc.ir.printer import print_graph
from convc.ir.types import DTYPES
from convc.ir.weights import Weights
from convc.tests.support.graphs import typed_graph


def narrow(graph: Graph, of: str = "f16") -> Graph:
    text = print_graph(graph)
    head, _, body = text.partition("{")
    names = [node.name for node in graph.inputs]
    for name in names:
        body = re.sub(rf"%{re.escape(name)}(?![\w.])", f"%{name}.narrow", body)
    casts = " ".join(f"%{name}.narrow = cast(%{name}) {{to={of}}}" for name in names)
    made = typed_graph(f"{head}{{ {casts} {body.replace(': f32[', f': {of}[')}")

    def weighted(node: Node, operands: tuple[Node, ...]) -> Node:
        """Weights that a pass computed are in no text."""
        given = graph.by_name.get(node.name)
        if node.weights is None or given is None or given.weights is None:
            return node.reading(operands)
        array = given.weights.drawn().astype(DTYPES[of])
        return node.like(weights=Weights.derived(node.typed, node.name, lambda: array))

    return made.rebuild(weighted)
