"""Offsets in one arena for spans of bytes: the best of greedy orders, then of a search.

No arena is smaller than the load of the fullest step. Greedy orders are tried until one meets it; if none does, a search of bounded work
looks for better offsets or a proof that there are none.
"""

from __future__ import annotations

from collections.abc import Iterator

from .exact import MAX_SPANS, improve
from .greedy import ORDERS, Span, arena_of, first_fit, overlaps, place, place_by_blame

__all__ = ["arrange"]

MAX_PAIRS = 2_000_000  # of spans alive together; beyond it only the near-linear first fit is tried


def arrange(spans: list[Span], bound: int, *, searched: bool = True) -> tuple[list[int], str]:
    """Offsets for spans of positive size, of which `bound` is the highest load, and how they were found; not `searched` by orders alone."""
    best, why = [0] * len(spans), ""
    for name, offsets in _greedy(spans, bound):
        if not why or arena_of(spans, offsets) < arena_of(spans, best):
            best, why = offsets, name
        if arena_of(spans, best) == bound:
            return best, why
    if not searched:
        return best, f"{why}; no search"
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
