"""A network cut at its opaque nodes: what they are given is an output, what they give an input.

Nobody knows how an opaque node answers to a small change of its operands: a box more or less, another branch. So two networks are compared
up to its operands and from its results on, with the same results in both; what the node itself computes is one runtime's affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...backends import reference
from ...ir.binding import match_inputs, new_sizes, sized
from ...ir.graph import Graph, Node
from ...ir.ops.elementwise import IDENTITY, Identity
from ...ir.ops.leaf import INPUT, Input
from ...ir.ops.opaque import OPAQUE_RESULT
from ...ir.types import DTYPES, Array

__all__ = ["Cut"]

FOUND = 2


@dataclass(frozen=True)
class Cut:
    """One run of a network with opaque nodes.

    `inputs` are those of the network once it is cut, `feed` their values; `sizes` are the numbers of all named sizes, `calls` the names of
    the opaque nodes, `operands` those of what they are given, parameters excepted. Values that are no tensors are left out.
    """

    inputs: Mapping[str, Node]
    feed: Mapping[str, Array]
    sizes: Mapping[str, int]
    calls: frozenset[str]
    operands: frozenset[str]

    @staticmethod
    def of(graph: Graph, feed: Mapping[str, Array]) -> Cut:
        """By the reference in float64, with a runtime that stands in for the opaque nodes."""
        seen = {node: feed[node.name] for node in graph.inputs if not node.typed.is_opaque}
        sizes = match_inputs(graph, feed)
        for node, value in reference.stream(graph, feed, "f64"):
            if node.kind.facts.opaque and not node.typed.is_opaque:
                seen[node] = value.astype(DTYPES[node.typed.dtype], copy=False)
                sizes |= new_sizes(node, value, sizes)
        return Cut._with(graph, seen, sizes)

    @staticmethod
    def made_up(graph: Graph, feed: Mapping[str, Array], seed: int) -> Cut:
        """For opaque nodes that nothing here computes: what they give is drawn at random, FOUND of everything that only a run can count."""
        draws, sizes = np.random.default_rng(seed), match_inputs(graph, feed) | dict.fromkeys(graph.found_symbols, FOUND)
        seen = {node: feed[node.name] for node in graph.inputs if not node.typed.is_opaque}
        for node in graph.nodes:
            if node.kind.facts.opaque and not node.typed.is_opaque:
                shape, dtype = node.typed.with_sizes(sizes).concrete(), DTYPES[node.typed.dtype]
                values = draws.random(shape) if node.typed.is_float else draws.integers(0, 2, shape)
                seen[node] = np.asarray(values, dtype)
        return Cut._with(graph, seen, sizes)

    @staticmethod
    def _with(graph: Graph, seen: Mapping[Node, Array], sizes: Mapping[str, int]) -> Cut:
        inputs = {node.name: Node(node.name, INPUT, Input(), (), node.typed.with_sizes(sizes)) for node in seen}
        calls = [node for node in graph.nodes if _is_call(node)]
        operands = [_operand(call, i) for call in calls for i, operand in enumerate(call.inputs) if operand.weights is None]
        values = {node.name: value for node, value in seen.items()}
        return Cut(inputs, values, sizes, frozenset(call.name for call in calls), frozenset(operands))

    def fits(self, graph: Graph) -> bool:
        """Whether a network has no opaque nodes but those of the one that was run."""
        return self.calls.issuperset(node.name for node in graph.nodes if _is_call(node))

    def apply(self, graph: Graph, without: frozenset[str] = frozenset()) -> Graph:
        """A network with numbers for its named sizes, cut. Operands of the opaque nodes `without` are not shown.

        Its own outputs come first; those that are no tensors of the IR's types are left out.
        """
        made: dict[Node, Node] = {}
        shown: list[Node] = []
        for node in graph.nodes:
            if node.name in self.inputs:
                made[node] = self.inputs[node.name]
            elif node.weights is not None:
                made[node] = node
            elif not node.typed.is_opaque and all(operand in made for operand in node.inputs):  # else nobody reads it
                operands = tuple(made[operand] for operand in node.inputs)
                made[node] = sized(node, self.sizes).like(inputs=operands, type=node.typed.with_sizes(self.sizes))
            if _is_call(node) and node.name not in without:
                shown += self._operands(node, made)
        outputs = [made[node] for node in graph.outputs if node in made]
        return Graph.of(graph.name, self.inputs.values(), [*outputs, *shown], made.values())

    def both(self, graph: Graph, other: Graph) -> tuple[Graph, Graph]:
        """The network that was run and one that fits, cut alike."""
        gone = self.calls - {node.name for node in other.nodes}
        return self.apply(graph, gone), self.apply(other)

    def _operands(self, call: Node, made: Mapping[Node, Node]) -> Iterator[Node]:
        """What a call reads, under names that are the same in any network that makes it."""
        for place, operand in enumerate(call.inputs):
            if operand in made and (name := _operand(call, place)) in self.operands:
                yield Node(name, IDENTITY, Identity(), (made[operand],), made[operand].type)


def _is_call(node: Node) -> bool:
    return node.kind.facts.opaque and node.kind is not OPAQUE_RESULT


def _operand(call: Node, place: int) -> str:
    return f"{call.name}.operand{place}"
