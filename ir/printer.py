"""Graph to text. `parse(print_graph(g))` prints the same text again."""

from __future__ import annotations

import re
from dataclasses import replace

from .attributes import format_attributes, quote
from .graph import Graph, Node
from .ops.leaf import INPUT, Param
from .ops.opaque import Opaque, OpaqueResult

__all__ = ["print_graph", "print_node", "value_name"]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.$/-]+\Z")


def print_graph(graph: Graph, *, origins: bool = False) -> str:
    """The graph as text, a node a line; with `origins` also where each node came from."""
    arguments = ", ".join(f"{value_name(node.name)}: {node.type}" for node in graph.inputs)
    lines = [f"graph @{_bare(graph.name)}({arguments}) {{"]
    lines += [f"  {print_node(node, origins=origins)}" for node in graph.nodes if node.kind is not INPUT]
    lines.append(f"  return {', '.join(value_name(node.name) for node in graph.outputs)}")
    lines.append("}")
    return "\n".join(lines) + "\n"


def print_node(node: Node, *, origins: bool = False) -> str:
    """`%name = op(%a, %b) {attributes} : type`, a parameter without parentheses."""
    text = f"{value_name(node.name)} = {node.kind.name}"
    if node.inputs:
        text += f"({', '.join(value_name(operand.name) for operand in node.inputs)})"
    op = node.op
    if isinstance(op, Param) and op.key == node.name:
        op = replace(op, key="")
    if isinstance(op, Opaque | OpaqueResult) and node.type is not None:
        op = op.typed(None)  # the type follows
    if attributes := format_attributes(op):
        text += f" {attributes}"
    if node.type is not None:
        text += f" : {node.type}"
    return text + (_origin(node) if origins else "")


def value_name(name: str) -> str:
    """`%conv1.w`, or quoted where a name from elsewhere has other characters."""
    return f"%{_bare(name)}"


def _bare(name: str) -> str:
    return name if _PLAIN_NAME.match(name) else quote(name)


def _origin(node: Node) -> str:
    origin = node.origin
    parts = [f" at {quote(origin.source)}"] if origin.source else []
    parts += [f" in {quote(origin.scope)}"] if origin.scope else []
    parts += [f" from {', '.join(quote(name) for name in origin.made_from)}"] if origin.made_from else []
    return "".join(parts)
