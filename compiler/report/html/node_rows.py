"""The nodes of all graphs of a trace as rows: each distinct node once, with its texts as places in tables.

Graphs of a trace share most of their nodes, and nodes most of their texts; a row a node and graph would make the page many times as large.
Texts from files are escaped as messages have them, so that what cannot be seen is spelled out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....ir.attributes import format_attributes
from ....ir.errors import InvalidModel
from ....ir.graph import Graph, Node
from ....ir.legible import escaped
from ....ir.op import Cost
from ....ir.ops.leaf import INPUT
from ....ir.ops.opaque import Opaque, OpaqueResult
from ....ir.weights import Weights
from ....passes.analysis.cost import node_cost, numbered
from ..layer_table import layer_label

__all__ = ["NodeRows", "Texts"]

NO_TYPE = "?"


class Texts(dict[str, int]):
    """A table of texts in the order in which they were first asked for: `texts[text]` is its place."""

    def __missing__(self, text: str) -> int:
        self[text] = len(self)
        return self[text]


class NodeRows:
    """Rows of the nodes that were asked for. `sizes` are the numbers that stand for named sizes; others count as 1.

    A row is [name, kind, label, attributes, type, [operand names], source, scope, [made from], macs, flops, bytes read, bytes written,
    elements, bytes, values]; all but the numbers at its end are places in tables. `values` tells parameters apart that differ in nothing
    but their values; it is -1 for what is no parameter.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = dict(sizes)
        self.names, self.kinds, self.labels, self.attributes, self.types, self.sources, self.scopes = (Texts() for _ in range(7))
        self.rows: dict[tuple[Any, ...], int] = {}
        self.costs: dict[Node, Cost] = {}  # of what is computed, at these sizes
        self._known: dict[Node, int] = {}
        self._values: dict[Weights, int] = {}

    def of(self, graph: Graph) -> list[int]:
        """The row of each of its nodes, in order."""
        known = self._known
        return [known[node] if node in known else self._place(node) for node in graph.nodes]

    def name(self, name: str) -> int:
        return self.names[escaped(name)]

    def tables(self) -> dict[str, Any]:
        """For the page."""
        return {
            "names": list(self.names),
            "kinds": list(self.kinds),
            "labels": list(self.labels),
            "attributes": list(self.attributes),
            "types": list(self.types),
            "sources": list(self.sources),
            "scopes": list(self.scopes),
            "nodes": list(self.rows),
        }

    def _place(self, node: Node) -> int:
        self._known[node] = self.rows.setdefault(self._row(node), len(self.rows))
        return self._known[node]

    def _row(self, node: Node) -> tuple[Any, ...]:
        cost, elements, nbytes = self._figures(node)
        origin = node.origin
        return (
            self.name(node.name),
            self.kinds[node.kind.name],
            self.labels[layer_label(node) if node.type is not None else node.kind.name],
            self.attributes[_attributes(node)],
            self.types[str(node.type) if node.type is not None else NO_TYPE],
            tuple(self.name(operand.name) for operand in node.inputs),
            self.sources[escaped(origin.source or origin.read_at)],
            self.scopes[escaped(origin.scope)],
            tuple(self.name(name) for name in origin.made_from),
            *(cost.macs, cost.flops, cost.bytes_read, cost.bytes_written),
            elements,
            nbytes,
            -1 if node.weights is None else self._values.setdefault(node.weights, len(self._values)),
        )

    def _figures(self, node: Node) -> tuple[Cost, int, int]:
        """What it costs, its elements and its bytes; nothing for what has no type, or a size that no number was given for."""
        if node.type is None or any(operand.type is None for operand in node.inputs):
            return Cost(), 0, 0
        symbols = [name for each in (*node.inputs, node) for name in each.typed.symbols]
        numbers = {**dict.fromkeys(symbols, 1), **self.sizes} if symbols else self.sizes
        try:
            out = numbered(node.type, numbers)
            cost = Cost() if node.weights is not None or node.kind is INPUT else self.costs.setdefault(node, node_cost(node, numbers))
        except InvalidModel:  # a dimension has a greatest size
            return Cost(), 0, 0
        figures = (cost.macs, cost.flops, cost.bytes_read, cost.bytes_written, out.numel, out.nbytes)
        macs, flops, read, written, elements, nbytes = (figure if isinstance(figure, int) else 0 for figure in figures)
        return Cost(macs, flops, read, written), elements, nbytes


def _attributes(node: Node) -> str:
    op = node.op.typed(None) if isinstance(node.op, Opaque | OpaqueResult) and node.type is not None else node.op
    return format_attributes(op)
