"""Constant indices as what people meant: runs of an axis, and grids of them over several axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.dims import Dim
from ...ir.graph import Node
from ...ir.types import Array
from ...ir.weights import FILLED

__all__ = ["FEW", "grid", "known_places", "run"]

FEW = 1 << 20  # indices that are looked at


def known_places(node: Node) -> Array | None:
    """The values of a parameter of indices, if they are at hand and few enough to look at."""
    weights = node.weights
    if weights is None or weights.is_missing or node.typed.dtype not in ("i32", "i64"):
        return None
    if not weights.is_given and weights.recipe.init not in FILLED:
        return None
    count = node.typed.numel
    return weights.array() if isinstance(count, int) and 0 < count <= FEW else None


def run(places: Array, size: Dim) -> tuple[int, int, int] | None:
    """First, last plus one and step, where places of an axis of `size` elements rise by equal steps."""
    if places.ndim != 1 or not isinstance(size, int):
        return None
    places = places.astype(np.int64)
    places = np.where(places < 0, places + size, places)
    steps = np.diff(places)
    step = int(steps[0]) if steps.size else 1
    if step < 1 or (steps != step).any() or places[0] < 0 or places[-1] >= size:
        return None
    return int(places[0]), int(places[-1]) + 1, step


def grid(places: Array, sizes: Sequence[Dim]) -> list[Array] | None:
    """The indices of each axis, where `places[..., j]` is that of axis j and depends on axes of its own, those of axis j before those of
    axis j + 1, with none left over: [[(0, 1), (0, 4)], [(2, 1), (2, 4)]] are [0, 2] and [1, 4]. Negative ones count from the end."""
    found: list[Array] = []
    axis, rank = 0, places.ndim - 1
    for j, size in enumerate(sizes):
        own = places[..., j]
        varies = [i for i in range(rank) if (np.diff(own, axis=i) != 0).any()]
        others = len(sizes) - 1 - j
        until = max([axis, *(i + 1 for i in varies)]) if others else rank
        if until == axis and rank - axis > others:
            until += 1  # an axis of one element, where there are enough for all
        if any(i < axis for i in varies) or until > rank:
            return None
        if not isinstance(size, int) and (own < 0).any():
            return None
        part = own[(0,) * axis + (slice(None),) * (until - axis) + (0,) * (rank - until)]
        found.append(np.where(part < 0, part + size, part) if isinstance(size, int) else part)
        axis = until
    return found
