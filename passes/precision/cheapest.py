"""Where casts cost least: each follower is narrow or wide so that fewest values are cast, by a minimum cut.

A value that is narrow and that somebody reads wide is cast once, for all of these; so is one that is wide and read narrow. Where several
cuts cost the same, casts come late: what follows a layer is computed in its kernel, in its precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...ir.dims import evaluate
from ...ir.graph import Graph, Node

if TYPE_CHECKING:
    import networkx

__all__ = ["narrow_followers"]

NARROW, WIDE = "narrow", "wide"
END = "end"  # reads outputs


@dataclass(frozen=True)
class _Value:
    """What one node makes and who reads it: nodes, or END. `cost` is that of a cast, in elements."""

    node: Node
    readers: tuple[Node | str, ...]
    cost: int


def narrow_followers(
    graph: Graph, products: frozenset[Node], followers: frozenset[Node], sources: Mapping[Node, Node], sizes: Mapping[str, int]
) -> set[Node]:
    """The followers that are narrow, where all `products` are. `sources` exist narrow already, by the cast that widens them."""
    numbers = {**dict.fromkeys((*graph.symbols, *graph.found_symbols), 1), **sizes}
    fixed: dict[Node | str, str] = dict.fromkeys((*products, *sources), NARROW)
    outputs, chosen = set(graph.outputs), set[Node]()
    for group in _groups(graph, followers):
        touched = dict.fromkeys(x for node in group for x in (node, *node.inputs) if x.typed.dtype == "f32" and x.weights is None)
        values = [_value(graph, node, outputs, numbers) for node in touched]
        members = set(group)
        sides = {fixed.get(end, WIDE) for value in values for end in (value.node, *value.readers) if end not in members}
        if sides == {NARROW}:
            chosen |= members
        elif WIDE in sides and NARROW in sides:
            chosen |= _cut(graph, values, group, fixed)
    return chosen


def _value(graph: Graph, node: Node, outputs: set[Node], numbers: Mapping[str, int]) -> _Value:
    readers: list[Node | str] = [*dict.fromkeys(graph.readers[node])]
    count = evaluate(node.typed.numel, numbers)
    return _Value(node, (*readers, *([END] if node in outputs else [])), count if isinstance(count, int) else 1)


def _groups(graph: Graph, followers: frozenset[Node]) -> Iterator[list[Node]]:
    """Followers that decide together: one reads the other, or both read one value."""
    parent: dict[Node, Node] = {}

    def root(node: Node) -> Node:
        while parent.setdefault(node, node) is not node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for node in graph.ops:
        if node in followers:
            for x in node.inputs:
                if x.weights is None:
                    parent[root(x)] = root(node)
    groups: dict[Node, list[Node]] = {}
    for node in graph.ops:
        if node in followers:
            groups.setdefault(root(node), []).append(node)
    yield from groups.values()


def _with_operand(values: Iterable[_Value], group: Sequence[Node]) -> dict[Node, Node]:
    """By follower the first node of the chain that it ends: of one operand that nobody else reads and that is as large. A cast costs
    the same on either side of each, and comes late.
    """
    of_node, first = {value.node: value for value in values}, dict[Node, Node]()
    for node in group:
        operands = [x for x in dict.fromkeys(node.inputs) if x in of_node]
        if len(operands) == 1 and of_node[operands[0]].readers == (node,) and of_node[operands[0]].cost == of_node[node].cost:
            first[node] = first.get(operands[0], operands[0])
    return first


def _cut(graph: Graph, values: Sequence[_Value], group: Sequence[Node], fixed: Mapping[Node | str, str]) -> set[Node]:
    """The followers on the narrow side of a minimum cut."""
    import networkx

    members, first = set(group), _with_operand(values, group)
    drawn: networkx.DiGraph[Any] = networkx.DiGraph()
    drawn.add_nodes_from((NARROW, WIDE))

    def place(end: Node | str) -> Node | str:
        end = first[end] if isinstance(end, Node) and end in first else end
        return end if end in members else fixed.get(end, WIDE)

    late = (len(values) + 1) * (len(graph.nodes) + 1)
    for value in values:
        if value.readers[0] in first and len(value.readers) == 1:
            continue  # on one side with its reader
        at, cost = place(value.node), value.cost * late + len(graph.nodes) - graph.positions[value.node]
        _join(drawn, at, (value.node, WIDE), cost)
        _join(drawn, (value.node, NARROW), at, cost)
        for end in value.readers:
            _join(drawn, (value.node, WIDE), place(end))  # a wide reader makes the value's wide copy needed
            _join(drawn, place(end), (value.node, NARROW))
    _, (narrow, _) = networkx.minimum_cut(drawn, NARROW, WIDE)
    return {node for node in group if place(node) in narrow}


def _join(drawn: networkx.DiGraph[Any], a: Any, b: Any, cost: int | None = None) -> None:
    """An edge that a cut may not go through, unless it has a cost."""
    if cost is None:
        drawn.add_edge(a, b)
    else:
        drawn.add_edge(a, b, capacity=cost)
