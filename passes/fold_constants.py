"""fold-constants: what depends on parameters alone becomes a parameter, under budgets of size and of work."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..ir.effort import effort_of
from ..ir.graph import Graph, Node, given_param
from ..ir.ops.quantize import DEQUANTIZE_LINEAR
from ..ir.types import Array, is_floating
from ..ir.weights import Weights
from .analysis.cost import node_cost
from .analysis.growth import swells
from .rewriting.ledger import Ledger

__all__ = ["NODE_BYTES", "TOTAL_BYTES", "TOTAL_FLOPS", "fold_constants"]

# What is over a budget is computed at run time: a small file must not ask for gigabytes, nor for hours.
NODE_BYTES = 64 << 20
TOTAL_BYTES = 512 << 20
TOTAL_FLOPS = 2 << 30
# What is kept of intermediate values, so that a long computation that many look into is not begun anew by each.
KEPT_BYTES = 64 << 10
KEPT_EVERY = 32  # larger ones, by depth
ROUNDS = 8  # of judging what would swell a file


def fold_constants(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %c = mul(%a, %b), both params    After: %c = param {init=given}

    Values are computed in float64 when somebody looks, and cast once. One beyond the range of its type is folded too: a run would come to
    the same infinity, as where a mask is made of log(0). A result over NODE_BYTES, or over what is left of TOTAL_BYTES and TOTAL_FLOPS,
    stays, and so does one of operands over TOTAL_BYTES.
    For an engine that computes constants by itself as it loads a network, what would swell the file stays too (growth.py).
    Nor does an engine that computes with integers want a dequantized constant: as a float it is not what that engine looks for.
    """
    swelling: dict[str, str] = {}
    for _ in range(ROUNDS):
        before = graph
        graph, swelling = _folded(graph, ledger)
        if not swelling or graph is before:
            break  # else what was left is judged anew: its operands may be parameters now, and go with it
    for name, reason in swelling.items():
        ledger.decline("fold", name, reason)
    return graph


def _folded(graph: Graph, ledger: Ledger) -> tuple[Graph, dict[str, str]]:
    """The graph itself where nothing is folded; and what is left as it is, by name, and why."""
    foldable = _foldable(graph, keeps_integers=ledger.prices.integers)
    swelling = swells(graph, foldable) if ledger.prices.folds else {}
    constants = _Constants()
    for node in graph.ops:
        if node in foldable:
            constants.add(node)
    rewrites = len(ledger.rewrites)

    def fold(node: Node, operands: tuple[Node, ...]) -> Node:
        reading = node.reading(operands)
        if not ledger.is_open or node not in foldable or node in swelling:
            return reading
        weights = Weights.derived(node.typed, node.name, lambda: constants.value(node))
        origin = replace(node.origin, made_from=(node.name,))
        ledger.record("fold", node.name, (node.name,))
        return given_param(node.name, weights, origin)

    folded = graph.rebuild(fold)
    return graph if len(ledger.rewrites) == rewrites else folded, {node.name: reason for node, reason in swelling.items()}


def _foldable(graph: Graph, *, keeps_integers: bool) -> set[Node]:
    """The nodes that depend on parameters alone, within the budgets; not on dequantized ones if these are kept."""
    bytes_left, flops_left = TOTAL_BYTES, TOTAL_FLOPS
    found: set[Node] = set()
    for node in graph.ops:
        if not node.inputs or any(operand.weights is None and operand not in found for operand in node.inputs):
            continue
        if keeps_integers and node.kind is DEQUANTIZE_LINEAR:
            continue
        if node.kind.facts.opaque or node.typed.symbols:  # of no elements, whatever the size is: a parameter has sizes in numbers
            continue
        if sum(8 * math.prod(operand.typed.concrete()) for operand in node.inputs) > TOTAL_BYTES:
            continue
        size, flops = node.typed.nbytes, node_cost(node, {}).flops
        if not isinstance(size, int) or not isinstance(flops, int) or size > min(NODE_BYTES, bytes_left) or flops > flops_left:
            continue
        effort = effort_of(node)
        if effort.nbytes > TOTAL_BYTES or flops + effort.flops > flops_left:
            continue
        bytes_left, flops_left = bytes_left - size, flops_left - flops - effort.flops
        found.add(node)
    return found


@dataclass(slots=True)
class _Constants:
    """The computations that were folded, and their values as far as somebody looked."""

    depth: dict[Node, int] = field(default_factory=dict[Node, int])  # of a folded node: 1 over its deepest operand's
    values: dict[Node, Array] = field(default_factory=dict[Node, Array])

    def add(self, node: Node) -> None:
        self.depth[node] = 1 + max(self.depth.get(operand, 0) for operand in node.inputs)

    def value(self, wanted: Node) -> Array:
        """A folded node's value in float64, by a walk with its own stack: such a chain may be as long as the network."""
        values = ChainMap[Node, Array]({}, self.values)
        stack = [wanted]
        while stack:
            node = stack[-1]
            missing = [operand for operand in node.inputs if operand not in values] if node not in values else []
            if missing and node in self.depth:
                stack.extend(missing)
                continue
            stack.pop()
            if node not in values:
                values[node] = self._compute(node, values)
        return values[wanted]

    def _compute(self, node: Node, values: Mapping[Node, Array]) -> Array:
        if node not in self.depth:
            assert node.weights is not None  # only what depends on parameters alone is folded
            return node.weights.wide()
        value = node.kind.meaning(node.op, *(values[operand] for operand in node.inputs))
        value = value.astype(np.float64, copy=False) if is_floating(value) else value  # a cast to f16 rounds, and no more than once
        if value.nbytes <= KEPT_BYTES or self.depth[node] % KEPT_EVERY == 0:
            self.values[node] = value
        return value
