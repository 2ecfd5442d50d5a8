"""What became of a list of numbers, each of which stands there once, as cuts and insertions."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Splice", "splices"]

Splice = tuple[int, int, tuple[int, ...]]  # at this place of the old list so many go, and these come


def splices(old: Sequence[int], new: Sequence[int]) -> list[Splice]:
    """Linear: what moved goes at one place and comes at another."""
    found: list[Splice] = []
    kept, moved = set(new), set[int]()
    known = set(old)
    i = j = 0
    while i < len(old) or j < len(new):
        if i < len(old) and j < len(new) and old[i] == new[j]:
            i, j = i + 1, j + 1
            continue
        start, came = i, list[int]()
        while i < len(old) or j < len(new):
            if i < len(old) and (j == len(new) or old[i] not in kept):
                i += 1
            elif j < len(new) and (new[j] not in known or new[j] in moved):
                came.append(new[j])
                j += 1
            elif i < len(old) and old[i] != new[j]:
                moved.add(old[i])
                i += 1
            else:
                break
        found.append((start, i - start, tuple(came)))
    return found
