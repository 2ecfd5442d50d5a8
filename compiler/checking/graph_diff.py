"""Two graphs side by side: nodes matched by the value they compute, not by line."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...ir.graph import Graph, Node
from ...ir.ops.leaf import PARAM
from ...ir.printer import print_node
from ...ir.weights import Weights

__all__ = ["Change", "align", "changes", "counterparts", "first_otherwise", "sum_of", "uncompared", "with_names_of", "with_nodes_of"]


@dataclass(frozen=True)
class Change:
    """`old` and `new` compute the same value, differently; one of them is None for a node that came or went.

    `values` says how the values of a parameter differ that is the same in all else.
    """

    old: Node | None
    new: Node | None
    values: str = ""

    @property
    def is_of_parameter(self) -> bool:
        node = self.new or self.old
        return node is not None and node.kind is PARAM

    def __str__(self) -> str:
        if self.old is None and self.new is not None:
            made_from = f"    # from {', '.join(self.new.origin.made_from)}" if self.new.origin.made_from else ""
            return f"+ {print_node(self.new)}{made_from}"
        if self.new is None and self.old is not None:
            return f"- {print_node(self.old)}"
        assert self.old is not None
        assert self.new is not None
        if self.values:
            return f"~ %{self.new.name}: {self.values}"
        return f"~ {print_node(self.old)}\n  {print_node(self.new)}"


def align(a: Graph, b: Graph) -> dict[Node, Node]:
    """Nodes of `a` to nodes of `b`. A rewrite keeps the name of the value it computes, so names come first; nodes
    left over match by op, attributes, type and matched operands, in order."""
    matched: dict[Node, Node] = {}
    for node in a.nodes:
        other = b.by_name.get(node.name)
        if other is not None and other.type == node.type and bool(other.inputs) == bool(node.inputs):
            matched[node] = other
    taken = set(matched.values())
    waiting: defaultdict[tuple[object, ...], list[Node]] = defaultdict(list)
    for node in b.nodes:
        if node not in taken:
            waiting[(node.kind, node.op, node.type, node.inputs)].append(node)
    for node in a.nodes:
        if node not in matched:
            key = (node.kind, node.op, node.type, tuple(matched.get(operand) for operand in node.inputs))
            if waiting[key]:
                matched[node] = waiting[key].pop(0)
    return matched


def counterparts(a: Graph, b: Graph) -> dict[Node, Node]:
    """Ops of `a` to ops of `b` in the same place. Names come first; what is left matches by op, matched operands but parameters, and ops of
    its readers: of several there, those of the same attributes, type and values of parameters, and then in order.

    Looser than `align`, since it is asked of networks that differ: a pool of other pads has a counterpart, and so has all that reads it.
    A convolution with the batch norm folded in has none in one that a batch norm reads, whose values are others by right.
    """
    named = ((node, b.by_name.get(node.name)) for node in (*a.inputs, *a.ops))
    matched: dict[Node | None, Node] = {node: other for node, other in named if other is not None and other.kind is not PARAM}
    taken = set(matched.values())
    places = [_places(graph) for graph in (a, b)]
    for (kind, read_by, operands), nodes in places[0].items():
        there = places[1].get((kind, read_by, tuple(matched.get(operand) for operand in operands)), [])
        for exactly in (True, False):
            for node in nodes:
                other = next((each for each in there if each not in taken and (not exactly or _alike(node, each))), None)
                if node not in matched and other is not None:
                    matched[node] = other
                    taken.add(other)
    return {node: matched[node] for node in a.ops if node in matched}


def first_otherwise(a: Graph, b: Graph) -> Node | None:
    """The first op of `b` that does what none of `a` does: another thing, or with other attributes or weights, or to other values."""
    same: dict[Node, Node | None] = {node: a.by_name.get(node.name) for node in b.inputs}
    left: defaultdict[tuple[object, ...], list[Node]] = defaultdict(list)
    for node in a.ops:
        left[(node.kind, *_computed(node))].append(node)
    for node in b.ops:
        there = left[(node.kind, *(same[operand] for operand in _computed(node)))]
        found = next((old for old in there if _alike(old, node)), None)
        if found is None:
            return node
        there.remove(found)
        same[node] = found
    return None


def _computed(node: Node) -> tuple[Node, ...]:
    return tuple(operand for operand in node.inputs if operand.kind is not PARAM)


Standing = tuple[str, frozenset[str], tuple[Node | None, ...]]


def _places(graph: Graph) -> dict[Standing, list[Node]]:
    """Ops by what they do to which computed values, and for which ops."""
    found: defaultdict[Standing, list[Node]] = defaultdict(list)
    for node in graph.ops:
        read_by = frozenset(reader.kind.name for reader in graph.readers[node])
        found[node.kind.name, read_by, _computed(node)].append(node)
    return found


def _alike(old: Node, new: Node) -> bool:
    if old.op != new.op or old.type != new.type or len(old.inputs) != len(new.inputs):
        return False
    weights = [(a.weights, b.weights) for a, b in zip(old.inputs, new.inputs, strict=True)]
    return not any(a is not None and b is not None and (a.type != b.type or _other_values(a, b)) for a, b in weights)


def changes(a: Graph, b: Graph) -> Iterator[Change]:
    """What differs, in the order of `b`, nodes that went before the ones that came in their place."""
    matched = align(a, b)
    back = {new: old for old, new in matched.items()}
    gone = (node for node in a.nodes if node not in matched)
    left = list(gone)
    for new in b.nodes:
        old = back.get(new)
        if old is not None:
            while left and a.positions[left[0]] < a.positions[old]:
                yield Change(left.pop(0), None)
        if old is None:
            yield Change(None, new)
        elif not _same(old, new, matched):
            yield Change(old, new)
        elif old.weights is not None and new.weights is not None and (values := _other_values(old.weights, new.weights)):
            yield Change(old, new, values)
    yield from (Change(node, None) for node in left)


def sum_of(parameters: Sequence[Change]) -> dict[str, int]:
    """How many of these came, went, and are there with other values or of another type; and of how many values those are."""
    kinds: dict[str, list[Node]] = {"came": [], "went": [], "changed": []}
    for change in parameters:
        kind = "went" if change.new is None else "came" if change.old is None else "changed"
        kinds[kind] += [node for node in (change.new or change.old,) if node is not None]
    return {
        key: figure
        for kind, nodes in kinds.items()
        for key, figure in ((kind, len(nodes)), (f"{kind}_values", sum(math.prod(node.typed.concrete()) for node in nodes)))
    }


def uncompared(a: Graph, b: Graph) -> list[Node]:
    """Parameters of `a` that have a partner whose values cannot be held to theirs: one of the two was never given any."""
    matched = align(a, b)
    pairs = ((node, matched[node]) for node in a.params if node in matched)
    return [old for old, new in pairs if any(node.weights is not None and node.weights.is_missing for node in (old, new))]


def with_names_of(a: Graph, b: Graph) -> Graph:
    """`b`, in which what computes the same value as in `a` has its name, but where something else in `b` has that."""
    matched = align(a, b)
    kept = {node.name for node in b.nodes} - {new.name for new in matched.values()}
    return b.renamed({new: old.name for old, new in matched.items() if old.name != new.name and old.name not in kept})


def with_nodes_of(a: Graph, b: Graph) -> Graph:
    """`with_names_of` them, in which what `changes` has no word for has the origin and the values that it has in `a`, for a report knows
    a node by those too: weights that two files hold are two, however equal."""
    named = with_names_of(a, b)
    matched = align(a, named)
    back = {new: old for old, new in matched.items()}
    other = {change.new for change in changes(a, named)}

    def visit(node: Node, operands: tuple[Node, ...]) -> Node:
        old, read = back.get(node), node.reading(operands)
        return read if old is None or node in other else read.like(origin=old.origin, weights=old.weights)

    return named.rebuild(visit)


def _other_values(old: Weights, new: Weights) -> str:
    """How far the values are apart; nothing where they are the same, or not there. Values that nobody gave are not drawn for this."""
    if old is new or old.is_missing or new.is_missing:
        return ""
    if not old.is_given and not new.is_given:
        return "" if old.recipe == new.recipe else "values are drawn by another recipe"
    before, after = old.drawn(), new.drawn()
    apart = before != after
    if old.type.is_float:
        apart &= ~(np.isnan(before) & np.isnan(after))
    places = int(np.count_nonzero(apart))
    if not places:
        return ""
    most = np.max(abs(after[apart].astype(np.float64) - before[apart].astype(np.float64)))
    return f"values differ in {places} of {apart.size} places, by at most {most:.3g}"


def _same(old: Node, new: Node, matched: dict[Node, Node]) -> bool:
    operands = tuple(matched.get(operand) for operand in old.inputs)
    return old.kind is new.kind and old.op == new.op and old.type == new.type and operands == new.inputs
