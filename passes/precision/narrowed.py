"""The graph in which chosen nodes compute in floats of 16 bits: casts where precisions meet, one for all readers, and narrow weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...ir.graph import Graph, Node, fresh_name, given_param
from ...ir.ops.elementwise import CAST, Cast
from ...ir.types import DTYPES, Array, TensorType
from ...ir.verifier import infer_type
from ...ir.weights import Weights
from ..rewriting.ledger import Ledger
from .candidates import candidates_of
from .cheapest import narrow_followers

__all__ = ["Kept", "narrowed"]

Kept = Mapping[str, str]  # names of nodes that stay in float32, and why


def narrowed(graph: Graph, ledger: Ledger, dtype: str, kept: Kept) -> Graph:
    """Products in `dtype`, and what follows them; declines go to the ledger. Inputs, outputs and names stay."""
    live = graph.live  # what nobody reads is no reason for a cast
    sources = {node: node.inputs[0] for node in live.ops if node.kind is CAST and _widens(node, dtype)}
    found = candidates_of(live, dtype, kept)
    followers = narrow_followers(live, found.products, found.followers, sources, ledger.prices.sizes)
    for node, why in found.refused.items():
        if _would_be_narrow(node, found.products | followers):
            ledger.decline("narrow", node.name, why)
    chosen: set[Node] = set()
    for node in live.ops:
        if (node in found.products or node in followers) and ledger.is_open:
            chosen.add(node)
            ledger.record("narrow", node.name, (node.name,), (node.name,))
    return _Rebuilt(live, chosen, sources, dtype).graph() if chosen else graph


def _widens(node: Node, dtype: str) -> bool:
    return node.inputs[0].typed.dtype == dtype and node.typed.dtype == "f32"


def _would_be_narrow(node: Node, narrow: frozenset[Node] | set[Node]) -> bool:
    """A product, or what follows some: of others nobody expects it."""
    return node.kind.facts.narrow(node.op) == "gains" or any(operand in narrow for operand in node.inputs)


class _Rebuilt:
    """Every value in the precisions that somebody reads it in, made when the first does."""

    def __init__(self, graph: Graph, chosen: set[Node], sources: Mapping[Node, Node], dtype: str) -> None:
        self.old, self.chosen, self.sources, self.dtype = graph, chosen, sources, dtype
        self.outputs = set(graph.outputs)
        self.taken = {node.name for node in graph.nodes}
        self.wide: dict[Node, Node] = {}
        self.narrow: dict[Node, Node] = {}

    def graph(self) -> Graph:
        for node in self.old.nodes:
            if node in self.chosen:
                self._narrow_node(node)
            elif node.kind is CAST and node.typed.dtype == self.dtype and node.inputs[0] in self.narrow and node not in self.outputs:
                self.wide[node] = self.narrow[node.inputs[0]]  # the cast of what is narrow by now
            else:
                self.wide[node] = node.reading(tuple(map(self._as_wide, node.inputs)))
        outputs = [self._as_wide(node) for node in self.old.outputs]
        order = [
            made[node] for node in self.old.nodes for made in (self.narrow, self.wide) if node in made and not self._is_late(made[node])
        ]
        return Graph.of(self.old.name, (self.wide[node] for node in self.old.inputs), outputs, order)

    def _is_late(self, made: Node) -> bool:
        """Casts and weights come before their first reader, as nothing else says where."""
        return (made.kind is CAST and made not in self.old.positions) or (made.weights is not None and made.typed.dtype == self.dtype)

    def _narrow_node(self, node: Node) -> None:
        operands = tuple(self._as_narrow(x) if x.typed.dtype == "f32" else self._as_wide(x) for x in node.inputs)
        # the name of an output belongs to the cast that gives it the type that it has always had
        name = self._fresh(node) if node in self.outputs else node.name
        made = node.like(name=name, inputs=operands, type=None)
        self.narrow[node] = made.like(type=infer_type(made))
        if node in self.outputs:
            self.wide[node] = self._cast(self.narrow[node], "f32", node.name, node)

    def _as_wide(self, node: Node) -> Node:
        if node not in self.wide:
            self.wide[node] = self._cast(self.narrow[node], "f32", fresh_name(f"{node.name}.f32", self.taken), node)
        return self.wide[node]

    def _as_narrow(self, node: Node) -> Node:
        if node not in self.narrow:
            self.narrow[node] = self._narrow_param(node) if node.weights is not None else self._narrow_value(node)
        return self.narrow[node]

    def _narrow_value(self, node: Node) -> Node:
        if node in self.sources:
            return self._as_wide(self.sources[node])
        return self._cast(self._as_wide(node), self.dtype, self._fresh(node), node)

    def _narrow_param(self, node: Node) -> Node:
        """The weight itself where nobody reads it wide, else a copy; rounded once, from what it was computed as."""
        assert node.weights is not None
        is_whole = node not in self.outputs and all(reader in self.chosen for reader in self.old.readers[node])
        name, weights, type_ = node.name if is_whole else self._fresh(node), node.weights, TensorType(self.dtype, node.typed.shape)
        if is_whole and not weights.is_given:
            return node.like(name=name, type=type_, weights=Weights(type_, weights.recipe))

        def compute() -> Array:
            return np.asarray(weights.wide(), DTYPES[self.dtype])

        return given_param(name, Weights.derived(type_, name, compute), node.origin)

    def _cast(self, value: Node, dtype: str, name: str, origin: Node) -> Node:
        return Node(name, CAST, Cast(dtype), (value,), replace(value.typed, dtype=dtype), origin.origin)

    def _fresh(self, node: Node) -> str:
        return fresh_name(f"{node.name}.{self.dtype}", self.taken)
