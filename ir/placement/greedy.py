"""Greedy offsets for spans of bytes that live over spans of steps: dynamic storage allocation, times known.

Source: Pisarchyk & Lee 2020, Efficient Memory Management for Deep Neural Net Inference (arXiv:2001.03288), sec. 5: by
size (alg. 3) and by breadth. Which order wins differs from net to net, so several are tried.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

__all__ = ["ORDERS", "Span", "arena_of", "first_fit", "highest_load", "overlaps", "place", "place_by_blame"]

MAX_ROUNDS = 100
MAX_PLACED = 5_000_000  # neighbours looked at in all rounds: about two seconds


class Span(NamedTuple):
    """`size` bytes in use from step `first` to step `last`, both included."""

    size: int
    first: int
    last: int


def arena_of(spans: Sequence[Span], offsets: Sequence[int]) -> int:
    """Bytes from the start of the arena to the end of the last span in it."""
    return max((offset + span.size for span, offset in zip(spans, offsets, strict=True)), default=0)


def highest_load(spans: Sequence[Span]) -> int:
    """The most bytes in use during one step: no arena is smaller."""
    change: dict[int, int] = {}
    for span in spans:
        change[span.first] = change.get(span.first, 0) + span.size
        change[span.last + 1] = change.get(span.last + 1, 0) - span.size
    load = most = 0
    for step in sorted(change):
        load += change[step]
        most = max(most, load)
    return most


def overlaps(spans: Sequence[Span], limit: int) -> list[list[int]] | None:
    """For every span the others in use during one of its steps; None when there are more than `limit` pairs."""
    neighbours: list[list[int]] = [[] for _ in spans]
    live: dict[int, None] = {}
    ends: list[tuple[int, int]] = []
    pairs = 0
    for i in sorted(range(len(spans)), key=lambda i: spans[i].first):
        while ends and ends[0][0] < spans[i].first:
            del live[heapq.heappop(ends)[1]]
        pairs += len(live)
        if pairs > limit:
            return None
        for j in live:
            neighbours[i].append(j)
            neighbours[j].append(i)
        live[i] = None
        heapq.heappush(ends, (spans[i].last, i))
    return neighbours


def place(
    spans: Sequence[Span], neighbours: Sequence[Sequence[int]], order: Sequence[int], fixed: Mapping[int, int] | None = None
) -> list[int]:
    """Offsets when spans are put down in `order`, each into the smallest gap between its neighbours that holds it.

    `fixed` are the offsets of spans that already lie somewhere and are not in `order`.
    """
    offsets = [-1] * len(spans)
    for i, offset in (fixed or {}).items():
        offsets[i] = offset
    for i in order:
        size = spans[i].size
        below = 0
        best, tightest = -1, -1
        for offset, end in sorted((offsets[j], offsets[j] + spans[j].size) for j in neighbours[i] if offsets[j] >= 0):
            gap = offset - below
            if gap >= size and (best < 0 or gap < tightest):
                best, tightest = below, gap
            below = max(below, end)
        offsets[i] = best if best >= 0 else below
    return offsets


def place_by_blame(spans: Sequence[Span], neighbours: Sequence[Sequence[int]], order: Sequence[int], bound: int) -> list[int]:
    """The best of many rounds: spans that end above `bound` are put down earlier next time, the more the higher they end.

    Source: Joslin & Clements 1999, Squeaky Wheel Optimization, JAIR 10.
    """
    rank = {i: at for at, i in enumerate(order)}
    stride = max(1, len(spans) // 10)
    best: list[int] = []
    for _ in range(min(MAX_ROUNDS, MAX_PLACED // (1 + sum(map(len, neighbours))))):
        offsets = place(spans, neighbours, sorted(rank, key=rank.__getitem__))
        if not best or arena_of(spans, offsets) < arena_of(spans, best):
            best = offsets
        over = [(i, offset + spans[i].size - bound) for i, offset in enumerate(offsets) if offset + spans[i].size > bound]
        if not over:
            break
        for i, excess in over:
            rank[i] -= stride + stride * excess // bound
    return best or place(spans, neighbours, order)


def first_fit(spans: Sequence[Span]) -> list[int]:
    """Offsets as an allocator would give them at run time: in order of birth, the tightest hole, else the end.

    Near linear, so it serves where pairs of spans are too many to list.
    """
    offsets = [0] * len(spans)
    holes: list[tuple[int, int]] = []  # (start, end), apart from each other, below `top`
    ends: list[tuple[int, int]] = []
    top = 0
    for i in sorted(range(len(spans)), key=lambda i: spans[i].first):
        while ends and ends[0][0] < spans[i].first:
            dead = heapq.heappop(ends)[1]
            top = _release(holes, (offsets[dead], offsets[dead] + spans[dead].size), top)
        size = spans[i].size
        fitting = [(end - start, start, end) for start, end in holes if end - start >= size]
        if fitting:
            _, start, end = min(fitting)
            holes.remove((start, end))
            if end - start > size:
                insort(holes, (start + size, end))
            offsets[i] = start
        else:
            offsets[i], top = top, top + size
        heapq.heappush(ends, (spans[i].last, i))
    return offsets


def _release(holes: list[tuple[int, int]], freed: tuple[int, int], top: int) -> int:
    """Give bytes back, joined with the holes beside them; returns the new end of what is in use."""
    start, end = freed
    at = bisect_left(holes, freed)
    if at < len(holes) and holes[at][0] == end:
        end = holes.pop(at)[1]
    if at > 0 and holes[at - 1][1] == start:
        start = holes.pop(at - 1)[0]
    if end == top:
        return start
    insort(holes, (start, end))
    return top


def _by_size(spans: Sequence[Span]) -> list[int]:
    return sorted(range(len(spans)), key=lambda i: (-spans[i].size, spans[i].first))


def _by_area(spans: Sequence[Span]) -> list[int]:
    return sorted(range(len(spans)), key=lambda i: (-spans[i].size * (spans[i].last - spans[i].first + 1), spans[i].first))


def _by_duration(spans: Sequence[Span]) -> list[int]:
    return sorted(range(len(spans)), key=lambda i: (spans[i].first - spans[i].last, -spans[i].size, spans[i].first))


def _by_breadth(spans: Sequence[Span]) -> list[int]:
    """Spans of the fullest step first, the largest of them first."""
    return list(dict.fromkeys(i for step in _fullest(spans) for i in step))


def _fullest(spans: Sequence[Span]) -> Iterator[list[int]]:
    live: dict[int, None] = {}
    ends: list[tuple[int, int]] = []
    load = 0
    loads: list[tuple[int, int, list[int]]] = []
    for i in sorted(range(len(spans)), key=lambda i: spans[i].first):
        while ends and ends[0][0] < spans[i].first:
            dead = heapq.heappop(ends)[1]
            load -= spans[dead].size
            del live[dead]
        live[i] = None
        load += spans[i].size
        heapq.heappush(ends, (spans[i].last, i))
        loads.append((-load, spans[i].first, sorted(live, key=lambda j: (-spans[j].size, spans[j].first))))
    for _, _, step in sorted(loads):
        yield step


ORDERS: dict[str, Callable[[Sequence[Span]], list[int]]] = {
    "size": _by_size,
    "breadth": _by_breadth,
    "area": _by_area,
    "duration": _by_duration,
}
