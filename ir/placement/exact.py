"""Exact offsets for small sets of spans: is there a packing of at most this height?

Every packing can be pushed down until each span lies on the floor or on another span, and such a packing can be built
in order of offset, each span at the lowest place the earlier ones leave. So the search decides only which span comes
next. Source: Moffitt 2023, MiniMalloc, ASPLOS, sec. 4-6 (canonical solutions, inference, dominance); written anew.
The cap counts work and not seconds: the same graph gives the same plan on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .greedy import Span, arena_of, overlaps, place

__all__ = ["MAX_SPANS", "improve"]

MAX_SPANS = 400  # beyond it a node costs too much for the search to get anywhere
MAX_WORK = 16_000_000  # about two seconds of touching a span or a section


class _Exhausted(Exception):
    """The budget is spent."""


@dataclass
class _Budget:
    left: int

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < 0:
            raise _Exhausted


def improve(spans: Sequence[Span], offsets: Sequence[int], bound: int, work: int = MAX_WORK) -> tuple[list[int], bool]:
    """Better offsets than these where there are any, and whether they are known to be the best there are.

    Spans have positive size. `bound` is a height below which there is none.
    """
    best = list(offsets)
    unit = math.gcd(*(span.size for span in spans)) if spans else 1  # a packing pushed down has a height of whole units
    low, high = -(-bound // unit) * unit, arena_of(spans, best)
    refuted = low - unit
    target = low  # most often it can be reached, and then nothing is left to prove
    while low < high:
        try:
            found = _pack(spans, target, unit, _Budget(work // 2))
        except _Exhausted:
            low = target + unit
        else:
            if found is None:
                refuted, low = target, target + unit
            else:
                best, high = found, arena_of(spans, found)
        work -= work // 2
        target = low + (high - low) // (2 * unit) * unit
    return best, refuted >= high - unit


def _pack(spans: Sequence[Span], height: int, unit: int, budget: _Budget) -> list[int] | None:
    """Offsets within `height`, or None where there are none."""
    if max(span.size for span in spans) > height:
        return None
    neighbours = overlaps(spans, len(spans) ** 2) or []
    core, late = _peel(spans, neighbours, height, unit)
    fixed: dict[int, int] = {}
    for part in _components(core, neighbours):
        found = _Search([spans[i] for i in part], height, budget).run()
        if found is None:
            return None
        fixed.update(zip(part, found, strict=True))
    return place(spans, neighbours, late[::-1], fixed)


def _peel(spans: Sequence[Span], neighbours: Sequence[Sequence[int]], height: int, unit: int) -> tuple[list[int], list[int]]:
    """Spans apart that fit wherever the rest lies, in the order taken away; they are put back last to first.

    k neighbours leave at most k+1 gaps; if the free units are more than these could hold without one that fits, one fits.
    """
    left = set(range(len(spans)))
    late: list[int] = []
    queue = sorted(left, key=lambda i: spans[i].size)
    while queue:
        i = queue.pop(0)
        if i not in left:
            continue
        near = [j for j in neighbours[i] if j in left]
        free = height - sum(spans[j].size for j in near)
        if free // unit > (len(near) + 1) * (spans[i].size // unit - 1):
            left.discard(i)
            late.append(i)
            queue += near
    return sorted(left), late


def _components(nodes: Sequence[int], neighbours: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Spans that constrain each other, directly or through others."""
    left = dict.fromkeys(nodes)
    while left:
        part = [next(iter(left))]
        del left[part[0]]
        for i in part:  # grows while it is read
            for j in neighbours[i]:
                if j in left:
                    del left[j]
                    part.append(j)
        yield sorted(part)


@dataclass
class _Search:
    """Depth first, with its own stack. Sections are the fullest stretches of time: the sets of spans alive together.

    `skyline` is the height reached in each section, `waiting` the bytes of its spans not yet placed.
    """

    spans: Sequence[Span]
    height: int
    budget: _Budget
    reach: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # first and past-the-last section of a span
    skyline: list[int] = field(default_factory=list[int])
    waiting: list[int] = field(default_factory=list[int])
    cells: int = 0  # of spans by sections: the work of one node

    def __post_init__(self) -> None:
        starts = _sections(self.spans)
        for span in self.spans:
            inside = [s for s, start in enumerate(starts) if span.first <= start <= span.last]
            self.reach.append((inside[0], inside[-1] + 1))
        self.skyline = [0] * len(starts)
        self.waiting = [0] * len(starts)
        for span, (low, high) in zip(self.spans, self.reach, strict=True):
            for s in range(low, high):
                self.waiting[s] += span.size
            self.cells += 1 + high - low

    def run(self) -> list[int] | None:
        offsets: list[int] = [-1] * len(self.spans)
        todo = [self.choices(offsets, (0, -1))]
        undo: list[tuple[int, list[int]]] = []
        while todo:
            choice = next(todo[-1], None)
            if choice is None:
                todo.pop()
                if undo:
                    i, below = undo.pop()
                    low, high = self.reach[i]
                    self.skyline[low:high] = below
                    for s in range(low, high):
                        self.waiting[s] += self.spans[i].size
                    offsets[i] = -1
                continue
            offset, i = choice
            low, high = self.reach[i]
            undo.append((i, self.skyline[low:high]))
            self.skyline[low:high] = [offset + self.spans[i].size] * (high - low)
            for s in range(low, high):
                self.waiting[s] -= self.spans[i].size
            offsets[i] = offset
            if len(undo) == len(self.spans):
                return offsets
            todo.append(self.choices(offsets, (offset, i)))
        return None

    def choices(self, offsets: Sequence[int], last: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """Spans that may come next, lowest first; none where what waits cannot fit any more.

        Order of (offset, index) makes each packing reachable one way only.
        """
        self.budget.spend(self.cells)
        lowest = [self.height] * len(self.skyline)
        open_: list[tuple[int, int]] = []
        roof = self.height
        for i, (low, high) in enumerate(self.reach):
            if offsets[i] >= 0:
                continue
            floor = max(self.skyline[low:high])
            if (floor, i) > last:
                open_.append((floor, i))
                roof = min(roof, floor + self.spans[i].size)
            floor = max(floor, last[0])
            for s in range(low, high):
                lowest[s] = min(lowest[s], floor)
        if any(wait and floor + wait > self.height for floor, wait in zip(lowest, self.waiting, strict=True)):
            return iter(())
        # A span that starts above another's end leaves a hole that the other would have filled first.
        fitting = [(floor, i) for floor, i in open_ if floor < roof]
        return iter(sorted(self.different(fitting), key=lambda c: (c[0], -self.spans[c[1]].size, c[1])))

    def different(self, choices: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Of spans alike in size and sections the first: the others would repeat its search."""
        seen: set[tuple[int, tuple[int, int]]] = set()
        for floor, i in choices:
            kind = (self.spans[i].size, self.reach[i])
            if kind not in seen:
                seen.add(kind)
                yield floor, i


def _sections(spans: Sequence[Span]) -> list[int]:
    """Steps at which a set of spans is alive that is part of no other: the last start before an end."""
    events = sorted([(span.first, 0) for span in spans] + [(span.last, 1) for span in spans])
    return [step for (step, ends), (_, following) in zip(events, [*events[1:], (0, 1)], strict=True) if not ends and following]
