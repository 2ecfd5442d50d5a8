"""Which positions of one axis those of another read, for every position at once: intervals that move on with it, in turns of a period."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from ...ir.dims import Dim

__all__ = ["FIXED", "MOST_TURNS", "ONE", "WHOLE", "Spans", "through", "union"]

MOST_TURNS = 1 << 10  # positions of a period: a file may ask for scales that repeat after millions
MOST_READ = 1 << 20  # positions looked at for one axis of one node


@dataclass(frozen=True, slots=True)
class Spans:
    """Position `o` reads from `first[o % period]` to `last[o % period]`, `gap` apart, moved on by `advance` for each period before it.

    A first that is greater than its last reads nothing; -inf to inf is all there is. A convolution has a period of 1 and advances by its
    stride; what doubles a size has one of 2 and advances by 1. Positions count from the first element; those below it lie in padding.
    """

    first: tuple[float, ...]
    last: tuple[float, ...]
    advance: int = 1
    gap: int = 1

    @property
    def period(self) -> int:
        return len(self.first)

    @property
    def is_whole(self) -> bool:
        return -math.inf in self.first

    @property
    def is_nothing(self) -> bool:
        return all(first > last for first, last in zip(self.first, self.last, strict=True))

    @property
    def size(self) -> float:
        """The most positions that one reads, gaps included; inf for all there is."""
        return max(max(last - first + 1, 0.0) for first, last in zip(self.first, self.last, strict=True))

    @property
    def stride(self) -> Fraction:
        """How far the interval moves from a position to the next, on average."""
        return Fraction(self.advance, self.period)

    @property
    def start(self) -> float:
        """Where the first position that reads anything begins to."""
        return next((first for first, last in zip(self.first, self.last, strict=True) if first <= last), 0.0)

    def at(self, place: int) -> tuple[float, float]:
        turns, rest = divmod(place, self.period)
        return self.first[rest] + turns * self.advance, self.last[rest] + turns * self.advance


ONE = Spans((0,), (0,))  # its own position
FIXED = Spans((0,), (0,), 0)  # the only one, wherever it is read
WHOLE = Spans((-math.inf,), (math.inf,), 0)


def through(step: Spans, behind: Spans) -> Spans:
    """What a position reads of an image, if by `step` it reads a value whose positions read `behind`. WHOLE if it is too long to say."""
    if behind.is_nothing or step.is_nothing:
        return Spans((math.inf,), (-math.inf,), 0)
    if step.is_whole or behind.is_whole:
        return WHOLE
    turns = behind.period // math.gcd(behind.period, step.advance)
    period = step.period * turns
    if period > MOST_TURNS or period * min(2 * behind.period, int(step.size) + 1) > MOST_READ:
        return WHOLE
    read = [_hull(behind.at(place) for place in _places(step, o, behind.period)) for o in range(period)]
    return _of(read, step.advance * turns // behind.period * behind.advance)


def union(a: Spans, b: Spans, extent: Dim) -> Spans:
    """The least intervals that hold both, for the positions of an axis of `extent`.

    Where they move at different strides each position has an interval of its own; if the extent has only a name, all there is.
    """
    if a.is_nothing or b.is_whole:
        return b
    if b.is_nothing or a.is_whole:
        return a
    period = math.lcm(a.period, b.period)
    if a.stride != b.stride:
        if not isinstance(extent, int):
            return WHOLE
        period = max(extent, 1)
    if period > MOST_TURNS:
        return WHOLE
    return _of([_hull((a.at(o), b.at(o))) for o in range(period)], int(period * max(a.stride, b.stride)))


def _places(step: Spans, place: int, period: int) -> Iterable[int]:
    """What a position reads, but where that is long only the ends: with a period of positions there, no other reads further."""
    first, last = step.at(place)
    if first > last:
        return ()
    read = range(int(first), int(last) + 1, step.gap)
    return read if len(read) <= 2 * period else (*read[:period], *read[-period:])


def _hull(intervals: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The least interval that holds those that are not empty."""
    first, last = math.inf, -math.inf
    for low, high in intervals:
        if low <= high:
            first, last = min(first, low), max(last, high)
    return first, last


def _of(read: list[tuple[float, float]], advance: int) -> Spans:
    """Spans of the least period that says the same."""
    for period in range(1, len(read)):
        if len(read) % period == 0 and advance * period % len(read) == 0:
            step = advance * period // len(read)
            if all(read[o] == (read[o - period][0] + step, read[o - period][1] + step) for o in range(period, len(read))):
                read, advance = read[:period], step
                break
    return Spans(tuple(first for first, _ in read), tuple(last for _, last in read), advance)
