"""The memory plan: an offset for every intermediate in one arena, and how far that is from the least possible.

What may share memory is decided in liveness.py; here buffers get offsets, by ir/placement/arrange.py. The live-set bound is the
load of the fullest step, which no plan beats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ...ir.errors import UsageError
from ...ir.graph import Graph, Node
from ...ir.placement.arrange import arrange
from ...ir.placement.greedy import Span, arena_of, highest_load
from .liveness import Buffer, How, liveness

__all__ = ["MemoryPlan", "Slot", "plan_memory"]


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


def plan_memory(graph: Graph, sizes: Mapping[str, int] | None = None, alignment: int = 64, *, searched: bool = True) -> MemoryPlan:
    """Offsets in bytes at multiples of `alignment` (64: a cache line, and the widest vector). A named size defaults to 1.

    Not `searched` takes the best of greedy placements, in a moment; a search may take many seconds.

    Raises: InvalidModel for a graph without types; UsageError for an alignment that is not positive.
    """
    if alignment < 1:
        raise UsageError(f"alignment {alignment} must be a positive number of bytes")
    live = liveness(graph, sizes)
    spans = [Span(-(-buffer.nbytes // alignment) * alignment, buffer.first, buffer.last) for buffer in live.buffers]
    solid = [i for i, span in enumerate(spans) if span.size]  # an empty tensor may lie anywhere
    bound = highest_load(spans)
    found, why = arrange([spans[i] for i in solid], bound, searched=searched)
    offsets = dict.fromkeys(range(len(spans)), 0) | dict(zip(solid, found, strict=True))
    slots = tuple(Slot(buffer, offsets[i], spans[i].size) for i, buffer in enumerate(live.buffers))
    return MemoryPlan(slots, live.shares, dict(sizes or {}), alignment, arena_of(spans, list(offsets.values())), bound, why)
