"""order-for-memory: run branches in an order that keeps fewer bytes live at once.

An op that every other op comes before or after, whatever the order, has a fixed place and a fixed load. Between two of
these lies a block whose order is free. Blocks over the highest load that cannot be avoided are reordered, the others are
left as they were written. Liu 1987, SIAM J. Computing 16(5), for trees; small blocks are searched exactly here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from ..ir.dims import Dim, content
from ..ir.graph import Graph, Node
from ..ir.types import TensorType
from .analysis.liveness import Liveness, holders, live_under, overwritable
from .analysis.order_search import Ordering, Task, guesses, peak_of, search
from .rewriting.ledger import Ledger

__all__ = ["order_for_memory"]


def order_for_memory(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %big = conv2d(%x, %w); %s = conv2d(%x, %v); %g = global_avg_pool(%s)    After: %s; %g; %big

    One rewrite for each block. The peak never rises: a block keeps its order unless a better one was found. A batch
    counts as 1; its size scales every intermediate alike, so the order is right for any.
    """
    nbytes = _comparable_bytes(graph)
    while nbytes is not None and ledger.is_open:
        better = _sweep(graph, nbytes, ledger)
        if better is graph:
            break
        graph = better  # a guess for a large block may start from a better order now
    return graph


def _comparable_bytes(graph: Graph) -> Mapping[Node, int] | None:
    """Bytes of each intermediate for a batch of 1; None where named sizes do not scale them all alike.

    Two results of which one grows with H and the other with H//2+1 have no order that is right for all images.
    """
    units: set[Dim] = set()
    known: dict[TensorType, int] = {}
    for node in graph.ops:
        if node.typed not in known:
            scale, unit = _factors(node.typed.numel)
            known[node.typed] = scale * node.typed.itemsize
            if unit != 1:
                units.add(unit)
    return {node: known[node.typed] for node in graph.ops} if len(units) <= 1 else None


def _factors(numel: Dim) -> tuple[int, Dim]:
    """A number of elements as its greatest whole factor times the rest: 64*N*H is 64 and N*H."""
    return (numel, 1) if isinstance(numel, int) else content(numel)


def _sweep(graph: Graph, nbytes: Mapping[Node, int], ledger: Ledger) -> Graph:
    """Every block over the unavoidable load once, the fullest first."""
    net = _Net(graph, nbytes, live_under(graph, nbytes.__getitem__))
    loads = net.live.live_bytes
    ranges = _free_ranges(net.live.steps)
    free = {step for low, high in ranges for step in range(low, high)}
    floor = max((net.least(node) if step in free else loads[step] for step, node in enumerate(net.live.steps)), default=0)
    found: list[tuple[int, int, int, list[int]]] = []
    for peak, low, high in sorted(((max(loads[low:high]), low, high) for low, high in ranges), key=lambda r: (-r[0], r[1])):
        if peak <= floor:
            break
        block = net.block(low, high)
        order = _best(block, floor, peak)
        least = peak_of(block, order)
        if least < peak:
            found.append((peak, low, high, order))
        floor = max(floor, least)
    orders: list[list[Node]] = []
    for peak, low, high, order in found:
        if peak > floor and ledger.is_open:
            steps = net.live.steps[low:high]
            ledger.record("lower-peak", net.live.steps[loads.index(peak, low)].name, tuple(node.name for node in steps))
            orders.append([steps[i] for i in order])
    return _reordered(graph, orders) if orders else graph


def _best(block: Ordering, floor: int, peak: int) -> list[int]:
    """An order with a peak of at most `floor`, or the lowest that was found; the given one if none is better."""
    order, certain = search(block, floor, peak)
    if order is not None:
        return order
    given = list(range(len(block.tasks)))
    return given if certain else min((given, *guesses(block)), key=lambda order: peak_of(block, order))


def _free_ranges(steps: Sequence[Node]) -> list[tuple[int, int]]:
    """Steps whose order may change, as ranges between ops that have a fixed place.

    An op has one if every later op follows from it, that is, reads something made at it or after it, and every earlier
    op leads to it, that is, has a reader at it or before it.
    """
    at = {node: step for step, node in enumerate(steps)}
    latest_read = [max((at[operand] for operand in node.inputs if operand in at), default=-1) for node in steps]
    first_reader = [len(steps)] * len(steps)
    for step, node in enumerate(steps):
        for operand in node.inputs:
            if operand in at:
                first_reader[at[operand]] = min(first_reader[at[operand]], step)
    follow = list(accumulate(reversed([*latest_read[1:], len(steps)]), min))[::-1]  # of the later ops, the earliest such read
    lead = list(accumulate([-1, *first_reader[:-1]], max))  # of the earlier ops, the latest such reader
    fixed = [step for step in range(len(steps)) if lead[step] <= step <= follow[step]]
    bounds = [-1, *fixed, len(steps)]
    return [(low + 1, high) for low, high in pairwise(bounds) if high - low > 2]


@dataclass(frozen=True)
class _Net:
    """A graph, its sizes and its liveness. `readers` and `returned` are by the value that holds the memory."""

    graph: Graph
    nbytes: Mapping[Node, int]
    live: Liveness

    @cached_property
    def at(self) -> dict[Node, int]:
        return {node: step for step, node in enumerate(self.live.steps)}

    @cached_property
    def holder(self) -> dict[Node, Node]:
        return holders(self.graph)

    @cached_property
    def readers(self) -> dict[Node, list[int]]:
        """The steps that read each value, itself or a view of it."""
        readers: dict[Node, list[int]] = {node: [] for node in self.live.steps}
        for step, node in enumerate(self.live.steps):
            for value in dict.fromkeys(self.holder[operand] for operand in node.inputs):
                if value in readers:
                    readers[value].append(step)
        return readers

    @cached_property
    def returned(self) -> set[Node]:
        return {self.holder[node] for node in self.graph.outputs}

    @cached_property
    def born(self) -> dict[int, int]:
        """Bytes of the buffer that begins at a step."""
        return {buffer.first: buffer.nbytes for buffer in self.live.buffers}

    def least(self, node: Node) -> int:
        """Bytes that an op needs in any order: what it reads and, unless it may be written over that, what it makes."""
        reads = sum(self.nbytes[value] for value in {self.holder[operand] for operand in node.inputs} if value in self.at)
        over = (value for value in overwritable(node, self.holder) if value in self.at and value not in self.returned)
        in_place = self.holder[node] is not node or any(self.nbytes[value] == self.nbytes[node] for value in over)
        return reads if in_place else reads + self.nbytes[node]

    def block(self, low: int, high: int) -> Ordering:
        """Steps `low` to `high` as tasks, and the values that die among them."""
        numbers: dict[Node, int] = {}
        for node in self.live.steps[low:high]:
            for value in (self.holder[operand] for operand in node.inputs):
                if value in self.at and value not in self.returned and self.readers[value][-1] < high:
                    numbers.setdefault(value, len(numbers))
        tasks: list[Task] = []
        for node in self.live.steps[low:high]:
            needs = tuple(self.at[operand] - low for operand in node.inputs if self.at.get(operand, -1) >= low)
            reads = tuple(dict.fromkeys(numbers[self.holder[o]] for o in node.inputs if self.holder[o] in numbers))
            over = [value for value in overwritable(node, self.holder) if value in numbers and self.nbytes[value] == self.nbytes[node]]
            made = self.nbytes[node] if self.holder[node] is node else 0
            unread = not self.readers[node] and node not in self.returned
            tasks.append(Task(needs, made, reads, tuple(numbers[value] for value in over), unread))
        readers = tuple(tuple(step - low for step in self.readers[value] if step >= low) for value in numbers)
        base = self.live.live_bytes[low] - self.born.get(low, 0)
        return Ordering(tuple(tasks), tuple(self.nbytes[value] for value in numbers), readers, base)


def _reordered(graph: Graph, orders: Sequence[Sequence[Node]]) -> Graph:
    """The graph with these ops in these orders, in the places they had. A parameter stays before its first reader."""
    at = {node: place for place, node in enumerate(graph.nodes)}
    nodes = list(graph.nodes)
    for order in orders:
        places = [at[node] for node in order]
        low, high = min(places), max(places) + 1
        while low and not nodes[low - 1].inputs:
            low -= 1  # the parameters of the first op
        leaves = dict.fromkeys(node for node in nodes[low:high] if not node.inputs)
        chosen: dict[Node, None] = {}
        for node in order:
            chosen |= dict.fromkeys(operand for operand in node.inputs if operand in leaves)
            chosen[node] = None
        nodes[low:high] = [*(leaf for leaf in leaves if leaf not in chosen), *chosen]
    return Graph(graph.name, graph.inputs, graph.outputs, tuple(nodes))
