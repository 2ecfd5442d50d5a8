"""The memory plan: an offset for every intermediate in one arena, and how far that is from the least possible.

What may share memory is decided in liveness.py; here buffers get offsets. The live-set bound is the load of the
fullest step, which no plan beats. Greedy orders are tried until one meets it; if none does, a search of bounded work
looks for a better plan or a proof that there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ..ir.errors import UsageError
from ..ir.graph import Graph, Node
from .liveness import Buffer, How, liveness
from .memory_exact import MAX_SPANS, improve
from .memory_greedy import ORDERS, Span, arena_of, first_fit, highest_load, overlaps, place, place_by_blame

__all__ = ["MemoryPlan", "Slot", "plan_memory"]

MAX_PAIRS = 2_000_000  # of buffers alive together; beyond it only the near-linear first fit is tried


@dataclass(frozen=True, slots=True)
class Slot:
    """A buffer's place. Units: `offset` and `size` bytes, whole multiples of the plan's alignment."""

    buffer: Buffer
    offset: int
    size: int


@dataclass(frozen=True)
class MemoryPlan:
    """One arena for the intermediates of a graph in its order, at these `sizes`.

    `arena` and `lower_bound` count slots, padding to the alignment included. `shares` says which values lie in an
    operand's slot, and how. `why` tells where the plan comes from, or why there is a gap. Units: bytes.
    """

    slots: tuple[Slot, ...]
    shares: Mapping[Node, How]
    sizes: Mapping[str, int]
    alignment: int
    arena: int
    lower_bound: int
    why: str

    @property
    def gap(self) -> int:
        """Bytes above the bound."""
        return self.arena - self.lower_bound

    @property
    def ratio(self) -> float:
        """Arena over lower bound; 1 for a graph that keeps nothing."""
        return self.arena / self.lower_bound if self.lower_bound else 1.0

    @property
    def unshared(self) -> int:
        """Bytes if every buffer had memory of its own."""
        return sum(slot.size for slot in self.slots)

    @cached_property
    def offsets(self) -> dict[Node, int]:
        """Where each intermediate starts; views of inputs and parameters are not in the arena."""
        return {node: slot.offset for slot in self.slots for node in slot.buffer.values}


def plan_memory(graph: Graph, sizes: Mapping[str, int] | None = None, alignment: int = 64) -> MemoryPlan:
    """Offsets in bytes at multiples of `alignment` (64: a cache line, and the widest vector). A named size defaults to 1.

    Raises: InvalidModel for a graph without types; UsageError for an alignment that is not positive.
    """
    if alignment < 1:
        raise UsageError(f"alignment {alignment} must be a positive number of bytes")
    live = liveness(graph, sizes)
    spans = [Span(-(-buffer.nbytes // alignment) * alignment, buffer.first, buffer.last) for buffer in live.buffers]
    solid = [i for i, span in enumerate(spans) if span.size]  # an empty tensor may lie anywhere
    bound = highest_load(spans)
    found, why = _arrange([spans[i] for i in solid], bound)
    offsets = dict.fromkeys(range(len(spans)), 0) | dict(zip(solid, found, strict=True))
    slots = tuple(Slot(buffer, offsets[i], spans[i].size) for i, buffer in enumerate(live.buffers))
    return MemoryPlan(slots, live.shares, dict(sizes or {}), alignment, arena_of(spans, list(offsets.values())), bound, why)


def _arrange(spans: list[Span], bound: int) -> tuple[list[int], str]:
    """Offsets, and how they were found."""
    best, why = [0] * len(spans), ""
    for name, offsets in _greedy(spans, bound):
        if not why or arena_of(spans, offsets) < arena_of(spans, best):
            best, why = offsets, name
        if arena_of(spans, best) == bound:
            return best, why
    if len(spans) > MAX_SPANS:
        return best, f"{why}; {len(spans)} buffers are more than the {MAX_SPANS} of the exact search"
    better, proven = improve(spans, best, bound)
    if arena_of(spans, better) < arena_of(spans, best):
        best, why = better, "exact search"
    if arena_of(spans, best) == bound:
        return best, why
    return best, f"{why}; {'proven the least there is' if proven else 'the exact search stopped before it found or excluded less'}"


def _greedy(spans: list[Span], bound: int) -> Iterator[tuple[str, list[int]]]:
    """Ever slower ways to offsets."""
    yield "first fit", first_fit(spans)
    neighbours = overlaps(spans, MAX_PAIRS)
    if neighbours is None:
        return
    for name, order in ORDERS.items():
        yield f"greedy by {name}", place(spans, neighbours, order(spans))
    yield "greedy by blame", place_by_blame(spans, neighbours, ORDERS["breadth"](spans), bound)
