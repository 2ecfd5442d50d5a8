"""What the values of parameters look like: least, greatest, mean, deviation, zeros and a histogram."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from ....ir.errors import ConvcError
from ....ir.graph import Graph, Node
from ....ir.types import Array
from .node_rows import NodeRows

__all__ = ["weight_rows"]

LONGEST = 1.0  # seconds after which no further parameter is drawn
MOST_DRAWN = 1 << 26  # elements of one parameter
SAMPLED = 1 << 14  # elements of one parameter that its mean, its deviation and its histogram are of
BINS = 24


def weight_rows(graphs: Iterable[Graph], rows: NodeRows) -> dict[int, Any]:
    """By row: [least, greatest, mean, deviation, share of zeros, [counts of equal bins from least to greatest]].

    Small parameters come first. Left out are those that have no values here, and the largest where they take too long to draw.
    """
    waiting = {place: node for graph in graphs for place, node in zip(rows.of(graph), graph.nodes, strict=True)}
    found: dict[int, Any] = {}
    until = time.monotonic() + LONGEST
    for place, node in sorted(waiting.items(), key=lambda item: _elements(item[1])):
        if time.monotonic() > until:
            break
        if 0 < _elements(node) <= MOST_DRAWN and (row := _row(node)) is not None:
            found[place] = row
    return found


def _elements(node: Node) -> int:
    if node.weights is None or not (node.weights.type.is_float or node.weights.type.dtype.startswith(("i", "u"))):
        return 0
    numel = node.weights.type.numel
    return numel if isinstance(numel, int) else 0


def _row(node: Node) -> list[Any] | None:
    assert node.weights is not None
    try:
        values = np.asarray(node.weights.drawn())
    except ConvcError:  # given by a file that is not here
        return None
    flat = values.reshape(-1)
    low, high = float(flat.min()), float(flat.max())  # a NaN is either
    if not (math.isfinite(low) and math.isfinite(high)):
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            return None
        low, high = float(flat.min()), float(flat.max())
    sample = flat[:: max(flat.size // SAMPLED, 1)].astype(np.float64)
    zeros = 1 - np.count_nonzero(flat) / flat.size
    figures = (low, high, float(sample.mean()), float(sample.std()), zeros)
    return [*(float(f"{each:.4g}") for each in figures), _histogram(sample, low, high)]


def _histogram(values: Array, low: float, high: float) -> list[int]:
    if low == high:
        return [len(values)]
    places = (values - low) * (BINS / (high - low))
    return np.bincount(np.clip(places.astype(np.int64), 0, BINS - 1), minlength=BINS).tolist()
