"""A float32 network as one of 16 bits, text for text: a cast of each input, all else in the other type."""

from __future__ import annotations

import re

from convc.ir.graph import Graph
from convc.ir.printer import print_graph
from convc.tests.support.graphs import typed_graph


def narrow(graph: Graph, of: str = "f16") -> Graph:
    text = print_graph(graph)
    head, _, body = text.partition("{")
    names = [node.name for node in graph.inputs]
    for name in names:
        body = re.sub(rf"%{re.escape(name)}(?![\w.])", f"%{name}.narrow", body)
    casts = " ".join(f"%{name}.narrow = cast(%{name}) {{to={of}}}" for name in names)
    return typed_graph(f"{head}{{ {casts} {body.replace(': f32[', f': {of}[')}")
