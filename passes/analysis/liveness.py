"""Liveness: when each intermediate is made and last read, which may share memory, and how much is live at once.

Time is counted in steps: step i runs the i-th op of the graph's order. Inputs and parameters have no interval, and no
op writes over them: they exist before the run and belong to the caller. Outputs stay live to the last step, so that a
run allocates nothing and nothing later overwrites what it returns; the caller reads them before the next run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ...ir.dims import evaluate
from ...ir.errors import InvalidModel
from ...ir.facts import How
from ...ir.graph import Graph, Node
from ...ir.types import TensorType

__all__ = ["Buffer", "Liveness", "holders", "live_under", "liveness", "node_bytes", "overwritable"]


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory of `nbytes` bytes in use from step `first` to step `last`, both included; `values` lie there, oldest first."""

    values: tuple[Node, ...]
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Liveness:
    """A graph in its order. Units: `live_bytes` bytes in use during each step.

    `intervals` holds (made at, last read) of every intermediate; an unread one is live in its own step only.
    `shares` says how a value came to lie in an operand's buffer.
    """

    steps: tuple[Node, ...]
    intervals: Mapping[Node, tuple[int, int]]
    buffers: tuple[Buffer, ...]
    shares: Mapping[Node, How]
    live_bytes: tuple[int, ...]

    @property
    def peak(self) -> int:
        """The most bytes live at once."""
        return max(self.live_bytes, default=0)

    @property
    def peak_step(self) -> int:
        """The first step that reaches the peak.

        Raises: InvalidModel for a graph that computes nothing.
        """
        if not self.steps:
            raise InvalidModel("a graph without ops has no peak")
        return self.live_bytes.index(self.peak)

    def live_at(self, step: int) -> tuple[Buffer, ...]:
        """The buffers in use during a step, largest first."""
        live = [buffer for buffer in self.buffers if buffer.first <= step <= buffer.last]
        return tuple(sorted(live, key=lambda buffer: -buffer.nbytes))


def liveness(graph: Graph, sizes: Mapping[str, int] | None = None) -> Liveness:
    """Intervals, buffers and live bytes of a typed graph; a named size without a number counts as 1.

    Raises: InvalidModel for a node without a type, or whose size these numbers make negative.
    """
    return live_under(graph, node_bytes(graph, sizes).__getitem__)


def node_bytes(graph: Graph, sizes: Mapping[str, int] | None = None) -> dict[Node, int]:
    """Bytes of every input and intermediate; a named size without a number counts as 1."""
    numbers = {**dict.fromkeys((*graph.symbols, *graph.found_symbols), 1), **(sizes or {})}
    known: dict[TensorType, int] = {}  # most nodes of a deep net have one of a few types

    def measure(node: Node) -> int:
        extents = [evaluate(dim, numbers) for dim in node.typed.shape]
        whole = [extent for extent in extents if isinstance(extent, int)]
        if len(whole) < len(extents) or min(whole, default=0) < 0:
            given = ", ".join(f"{name}={number}" for name, number in numbers.items())
            raise InvalidModel(f"{node.where} is {node.type}, which has no size where {given}; give the named sizes other values")
        return math.prod(whole) * node.typed.itemsize

    for node in graph.nodes:
        if node.weights is None and node.typed not in known:
            known[node.typed] = measure(node)
    return {node: known[node.typed] for node in graph.nodes if node.weights is None}


def holders(graph: Graph) -> dict[Node, Node]:
    """For every node the one in whose memory it lies: itself, unless it is a view."""
    holder: dict[Node, Node] = {}
    for node in graph.nodes:
        holder[node] = holder[node.inputs[0]] if node.kind.facts.is_view else node
    return holder


def overwritable(node: Node, holder: Mapping[Node, Node]) -> tuple[Node, ...]:
    """The values that the op could be written over if nobody read them later; none in which another operand lies too."""
    reuse = node.kind.facts.reuse
    if reuse is None or reuse.how == "view":
        return ()
    others = {holder[operand] for position, operand in enumerate(node.inputs) if position not in reuse.operands}
    return tuple(holder[node.inputs[position]] for position in reuse.operands if holder[node.inputs[position]] not in others)


def live_under(graph: Graph, nbytes: Callable[[Node], int]) -> Liveness:
    """Liveness when `nbytes` tells the size of each intermediate. Linear in nodes and edges."""
    steps = tuple(graph.ops)
    made = {node: step for step, node in enumerate(steps)}
    holder = holders(graph)
    last_read = dict(made)
    last_use = dict(made)  # by the node whose memory it is: its views included
    for step, node in enumerate(steps):
        last_use[holder[node]] = step
        for operand in node.inputs:
            last_read[operand] = last_use[holder[operand]] = step
    for node in graph.outputs:
        last_read[node] = last_use[holder[node]] = len(steps) - 1
    returned = {holder[node] for node in graph.outputs}

    def overwrites(node: Node, step: int) -> Node | None:
        """The value in whose place this one may be written."""
        for old in overwritable(node, holder):
            if old in made and old not in returned and last_use[old] == step and nbytes(old) == nbytes(node):
                return old
        return None

    chains: dict[Node, list[Node]] = {}  # by the node whose memory it is; values of one buffer share the list
    shares: dict[Node, How] = {}
    born: list[list[Node]] = []
    for step, node in enumerate(steps):
        if holder[node] is not node:
            if holder[node] in made:  # a view of an input or a parameter lies in the caller's memory
                chains[holder[node]].append(node)
            shares[node] = "view"
        elif (old := overwrites(node, step)) is not None:
            chains[node] = chains[old]
            chains[node].append(node)
            shares[node] = "in place"
        else:
            chains[node] = [node]
            born.append(chains[node])
    buffers = tuple(Buffer(tuple(c), nbytes(c[0]), made[c[0]], last_use[holder[c[-1]]]) for c in born)
    intervals = {node: (made[node], last_read[node]) for node in steps}
    return Liveness(steps, intervals, buffers, shares, _load(buffers, len(steps)))


def _load(buffers: Sequence[Buffer], steps: int) -> tuple[int, ...]:
    """Bytes in use during each step."""
    change = [0] * (steps + 1)
    for buffer in buffers:
        change[buffer.first] += buffer.nbytes
        change[buffer.last + 1] -= buffer.nbytes
    return tuple(accumulate(change[:-1]))
