"""The node scope of checking: each value an engine computed, against float64 from that engine's own operands.

The bound is local: gamma_n * op(|x|, |w|) with n roundings (Higham 2002, sec. 3.1), so it is sound for any
order of summation, stays tight through a deep network, and names the faulty layer. Engines fuse activations into
the product before them; such a group is checked as one, named by its last node, with the nodes it covers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.binding import match_inputs, specialize
from ..ir.graph import Graph, Node
from ..ir.ops.activation import CLIP, LEAKY_RELU, RELU
from ..ir.ops.conv import CONV2D, CONV_TRANSPOSE2D
from ..ir.ops.elementwise import ADD
from ..ir.ops.leaf import PARAM
from ..ir.ops.linear import DENSE
from ..ir.types import Array
from .capture import Capture, capture_of
from .noise import UNIT

__all__ = ["NodeCheck", "NodeVerdict", "check_nodes", "fusion_groups"]

PRODUCTS = (CONV2D, CONV_TRANSPOSE2D, DENSE)
# What an engine may append to a product. None of them enlarges an error in its operand (leaky_relu: up to a slope of 1).
EPILOGUES = (RELU, CLIP, LEAKY_RELU, ADD)
UNDERFLOW = 1e-37  # float32 engines may flush what is smaller


@dataclass(frozen=True)
class NodeVerdict:
    """One checked value. `worst` is its greatest error over its bound: at most 1 is fine.

    `covers` are the nodes between the captured operands and this value, itself last.
    """

    node: Node
    covers: tuple[str, ...]
    error: float
    worst: float

    @property
    def agrees(self) -> bool:
        return self.worst <= 1

    def __str__(self) -> str:
        covers = f", covering {', '.join(self.covers)}" if len(self.covers) > 1 else ""
        return f"{self.node.where}{covers}: error {self.error:.2e} is {self.worst:.3g} of its bound"


@dataclass(frozen=True)
class NodeCheck:
    """All verdicts of one engine that matter: how many, the tightest, and the first out of bounds."""

    engine: str
    checked: int
    tightest: NodeVerdict | None
    first_bad: NodeVerdict | None

    @property
    def agrees(self) -> bool:
        return self.first_bad is None

    def __str__(self) -> str:
        if self.first_bad is not None:
            return f"{self.engine}: first node out of bounds: {self.first_bad}"
        tightest = f"; tightest {self.tightest}" if self.tightest is not None else ""
        return f"{self.engine}: {self.checked} values within their local bounds{tightest}"


def check_nodes(
    graph: Graph,
    engine: str,
    inputs: Mapping[str, Array],
    threads: int | None = None,
    *,
    fused: bool = True,
    capture: Capture | None = None,
) -> NodeCheck:
    """Hold every value of `engine` to its local bound; with `fused`, groups as the engine may fuse them.

    A group that fails is looked at again node by node, so that the verdict names one node.
    """
    graph = specialize(graph, match_inputs(graph, inputs))
    groups = fusion_groups(graph) if fused else {node: (node,) for node in graph.ops}
    checked, tightest, first_bad = 0, None, None
    for verdict in _verdicts(graph, groups, capture or capture_of(engine), inputs, threads):
        checked += 1
        if tightest is None or verdict.worst > tightest.worst:
            tightest = verdict
        if not verdict.agrees:
            first_bad = verdict
            break
    if first_bad is not None and len(first_bad.covers) > 1:
        alone = check_nodes(graph, engine, inputs, threads, fused=False, capture=capture)
        if alone.first_bad is not None:  # the fault shows without fusion too, and then names one node
            return alone
    return NodeCheck(engine, checked, tightest, first_bad)


def fusion_groups(graph: Graph) -> dict[Node, tuple[Node, ...]]:
    """The last node of each group, and the group in order. A product takes its only reader in while that is an epilogue."""
    outputs, readers = set(graph.outputs), graph.readers
    groups: dict[Node, tuple[Node, ...]] = {}
    covered: set[Node] = set()
    for node in graph.ops:
        if node in covered:
            continue
        group = [node]
        while node.kind in PRODUCTS and group[-1] not in outputs and len(readers[group[-1]]) == 1:
            (reader,) = readers[group[-1]]
            others = [operand for operand in reader.inputs if operand is not group[-1]]
            # what the reader also reads must be there before the group, or the group could not run at once
            if reader.kind not in EPILOGUES or any(other in covered or not _is_before(graph, other, node) for other in others):
                break
            group.append(reader)
        covered.update(group)
        groups[group[-1]] = tuple(group)
    return groups


def _is_before(graph: Graph, operand: Node, node: Node) -> bool:
    return graph.positions[operand] < graph.positions[node]


def _verdicts(
    graph: Graph, groups: dict[Node, tuple[Node, ...]], capture: Capture, inputs: Mapping[str, Array], threads: int | None
) -> Iterator[NodeVerdict]:
    """Verdicts in the graph's order; a captured value is let go after the last group that reads it."""
    roots = sorted(groups, key=lambda node: graph.positions[node])
    left = Counter(operand for root in roots for operand in _operands(groups[root]))
    held: dict[Node, Array] = {node: inputs[node.name] for node in graph.inputs}
    for name, value in capture(graph, roots, inputs, threads):
        root = graph.by_name[name]
        held[root] = value
        yield _verdict(groups[root], held)
        for operand in _operands(groups[root]):
            left[operand] -= 1
            if not left[operand]:
                held.pop(operand, None)
        if not left[root]:
            held.pop(root, None)


def _operands(group: tuple[Node, ...]) -> set[Node]:
    """What a group reads from outside, parameters excepted."""
    return {operand for node in group for operand in node.inputs if operand.kind is not PARAM and operand not in group}


def _verdict(group: tuple[Node, ...], held: Mapping[Node, Array]) -> NodeVerdict:
    """Recompute the group in float64 and carry the bound on its error along."""
    values: dict[Node, Array] = {}
    bounds: dict[Node, Array] = {}
    for node in group:
        operands = [values[operand] if operand in values else _wide(operand, held) for operand in node.inputs]
        with np.errstate(all="ignore"):
            values[node] = np.asarray(node.kind.meaning(node.op, *operands))
            bounds[node] = _local_bound(node, operands, values[node])
        for operand in node.inputs:
            if operand in bounds:
                bounds[node] = bounds[node] + bounds[operand]  # an epilogue passes an error on, never enlarged
    root = group[-1]
    error, worst = _worst(held[root], values[root], bounds[root])
    return NodeVerdict(root, tuple(node.name for node in group), error, worst)


def _local_bound(node: Node, operands: list[Array], value: Array) -> Array:
    """gamma_n * magnitude in the precision of the node's type, and what underflow may lose."""
    roundings = node.kind.roundings(node.op, tuple(operand.typed for operand in node.inputs), node.typed)
    n, unit = (roundings if isinstance(roundings, int) else 1), UNIT.get(node.typed.dtype, 0.0)
    with np.errstate(all="ignore"):
        magnitude = abs(value) if node.kind.magnitude is None else node.kind.magnitude(node.op, *operands)
    gamma = n * unit / (1 - n * unit) if n * unit < 0.5 else np.sqrt(n) * unit  # half precision: the probable bound (Higham & Mary 2019)
    return gamma * magnitude + (UNDERFLOW if n else 0.0)


def _wide(node: Node, held: Mapping[Node, Array]) -> Array:
    value = node.weights.drawn() if node.weights is not None else held[node]
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _worst(got: Array, expected: Array, bound: Array) -> tuple[float, float]:
    """Greatest error, and greatest error over bound; where both are the same infinity or NaN there is none."""
    with np.errstate(all="ignore"):
        same = (got == expected) | (np.isnan(got) & np.isnan(expected)) if got.dtype.kind == "f" else got == expected
        error = np.where(same, 0.0, abs(got.astype(np.float64) - expected))
        error = np.where(np.isnan(error), np.inf, error)
        ratio = np.where(error == 0, 0.0, error / bound)
    return float(np.max(error, initial=0.0)), float(np.max(ratio, initial=0.0))
