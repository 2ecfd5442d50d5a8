"""merge-common: nodes that compute the same value become one (value numbering; Cocke 1970)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops.elementwise import IDENTITY, Identity
from ..ir.ops.leaf import INPUT
from ..ir.weights import FILLED, Weights
from .rewriting.ledger import Ledger

__all__ = ["merge_common", "value_key"]


def merge_common(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %a = relu(%x); %b = relu(%x); %y = add(%a, %b)    After: %a = relu(%x); %y = add(%a, %a)

    Inputs are never merged. An output keeps its name: one that equals a plain node takes its place, and of two
    that are equal the second becomes the identity of the first. Parameters are equal if they have the same
    recipe or share their values; the values themselves are not looked at.
    """
    number = _numbers(graph)
    outputs = set(graph.outputs)
    output_of = {number[node]: node for node in reversed(graph.outputs) if node.inputs}
    made: dict[int, Node] = {}
    moved: set[Node] = set()  # outputs that the first node of their kind was renamed to

    def merge(node: Node, operands: tuple[Node, ...]) -> Node:
        value, current = number[node], node.reading(operands)
        if value not in made:
            output = output_of.get(value, node)
            if output is not node and node not in outputs and ledger.is_open:
                current = _named(current, output)
                moved.add(output)
                ledger.record("merge", output.name, (node.name,), ())
            return made.setdefault(value, current)
        first = made[value]
        if node in moved:
            return first
        # an output's name is the interface: a parameter cannot give it another, and an identity would gain nothing
        if not ledger.is_open or (node in outputs and (not node.inputs or node.kind is IDENTITY)):
            return current
        ledger.record("merge", node.name, (node.name,), ())
        return current.like(kind=IDENTITY, op=Identity(), inputs=(first,)) if node in outputs else first

    return graph.rebuild(merge)


def _named(node: Node, output: Node) -> Node:
    return node.like(name=output.name, origin=replace(output.origin, made_from=(node.name, output.name)))


def _numbers(graph: Graph) -> dict[Node, int]:
    """A number for each node; equal numbers mean equal values."""
    numbers: dict[Node, int] = {}
    seen: dict[Hashable, int] = {}
    for node in graph.nodes:
        numbers[node] = seen.setdefault(value_key(node, [numbers[operand] for operand in node.inputs]), len(seen))
    return numbers


def value_key(node: Node, operands: list[int]) -> Hashable:
    """Equal keys mean equal values; `operands` are numbers of their values. Attributes as text: 0.0 == -0.0, but 1 over them differs."""
    if node.weights is not None:
        return (node.type, _weights_key(node.weights))
    if node.kind is INPUT or node.kind.facts.opaque:
        return node
    order = sorted(operands) if node.kind.facts.commutes else operands
    return (node.kind, repr(node.op), node.type, *order)


def _weights_key(weights: Weights) -> Hashable:
    recipe = weights.recipe
    if weights.is_given or weights.compute is not None:
        return weights  # the same object, or nothing cheap is known
    if recipe.init in FILLED:
        return (recipe.init, repr(recipe.value))
    return recipe
