"""Values that are views: their operands lie end to end in them, or they lie in an operand. Nobody copies anything.

Operands are then put where the view wants them, and they may belong to several: nested, or with a beginning in common.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Generic, TypeVar

__all__ = ["Views"]

K = TypeVar("K", bound=Hashable)


class Views(Generic[K]):
    """Stretches of memory, in each of which some values lie at fixed distances from each other; `sizes` says how long each value is.

    Values that are no views are written. In a stretch these do not overlap, so that nothing in it is lost before the last read.
    """

    def __init__(self, sizes: Mapping[K, int]) -> None:
        self.sizes = sizes
        self.views: set[K] = set()
        self._places: dict[K, dict[K, int]] = {}  # for a value, where everything of its stretch starts: one dictionary for all in it

    def add(self, value: K, parts: Iterable[tuple[K, int]]) -> bool:
        """Make `value` a view of parts, each of which starts so far behind it; a part that holds it starts before it.

        In the order in which values are computed. Returns: False, and nothing changes, where a part would have to lie in two places, or
        where something else does.
        """
        places = dict(self._stretch(value))
        start = places[value]
        for part, distance in parts:
            theirs = self._stretch(part)
            shift = start + distance - theirs[part]
            moved = {other: at + shift for other, at in theirs.items()}
            if any(places.get(other, at) != at for other, at in moved.items()):
                return False
            places |= moved
        views = self.views | {value}
        written = sorted((at, at + self.sizes[other]) for other, at in places.items() if other not in views)
        if any(end > start for (_, end), (start, _) in pairwise(written)):
            return False
        self.views = views
        self._places |= dict.fromkeys(places, places)
        return True

    def stretches(self) -> Iterator[dict[K, int]]:
        """Values that lie together, and where each starts in its stretch."""
        for places in {id(places): places for places in self._places.values()}.values():
            first = min(places.values())
            yield {value: at - first for value, at in places.items()}

    def _stretch(self, value: K) -> dict[K, int]:
        return self._places.get(value, {value: 0})
