"""What the values of parameters look like: least, greatest, mean, deviation, zeros and a histogram."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ....ir.errors import ConvcError
from ....ir.graph import Graph, Node
from ....ir.types import Array
from .node_rows import NodeRows

__all__ = ["weight_rows"]

# A clock would make two reports of one network differ: what is looked at is bounded by elements, which are the same on every machine.
MOST_DRAWN = 1 << 26  # elements of all parameters together
AT_ONCE = 1 << 18  # elements of one parameter that are float64 at a time
SAMPLED = 1 << 14  # elements of one parameter that its histogram is of
BINS = 24
FARTHEST = 400  # exponents of two that are squared as they are


def weight_rows(graphs: Iterable[Graph], rows: NodeRows) -> dict[int, Any]:
    """By row: [least, greatest, mean, deviation, share of zeros, [counts of equal bins from least to greatest]].

    All but the counts are of every element that is finite. Small parameters come first. Left out are those that have no values here, and
    the largest where there are too many elements.
    """
    waiting = {place: node for graph in graphs for place, node in zip(rows.of(graph), graph.nodes, strict=True)}
    found: dict[int, Any] = {}
    left = MOST_DRAWN
    for place, node in sorted(waiting.items(), key=lambda item: _turn(item[1])):
        elements = _elements(node)
        if elements > left:
            break
        if elements > 0 and (row := _row(node)) is not None:
            found[place] = row
            left -= elements
    return found


def _turn(node: Node) -> tuple[int, bool]:
    """Of one size those first that a pass made of others, which keep what they are made of: it is then drawn once."""
    return _elements(node), node.weights is None or node.weights.compute is None


def _elements(node: Node) -> int:
    if node.weights is None or not (node.weights.type.is_float or node.weights.type.dtype.startswith(("i", "u"))):
        return 0
    numel = node.weights.type.numel
    return numel if isinstance(numel, int) else 0


def _row(node: Node) -> list[Any] | None:
    assert node.weights is not None
    try:
        flat = np.asarray(node.weights.drawn()).reshape(-1)
    except ConvcError:  # given by a file that is not here
        return None
    low, high = float(flat.min()), float(flat.max())  # a NaN is either
    if not (math.isfinite(low) and math.isfinite(high)):
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            return None
        low, high = float(flat.min()), float(flat.max())
    sample, scale = _sample(flat), _scale(max(-low, high))
    mean, deviation = _moments(flat, scale, float((sample / scale).mean()))
    zeros = 1 - np.count_nonzero(flat) / flat.size
    figures = (low, high, mean * scale, deviation * scale, zeros)
    return [*(float(f"{each:.4g}") for each in figures), _histogram(sample / scale, low / scale, high / scale)]


def _scale(most: float) -> float:
    """A power of two, which changes no digit, by which numbers are divided whose squares float64 could not hold."""
    exponent = math.frexp(most)[1]
    return math.ldexp(1.0, exponent - 1) if abs(exponent) > FARTHEST else 1.0


def _moments(flat: Array, scale: float, near: float) -> tuple[float, float]:
    """Mean and deviation of all elements over `scale`, in one pass: differences from a number `near` the mean cancel little."""
    sums, squares = list[float](), list[float]()
    for start in range(0, flat.size, AT_ONCE):
        part = flat[start : start + AT_ONCE].astype(np.float64)
        if scale != 1:
            part /= scale
        part -= near
        sums.append(float(part.sum()))
        squares.append(float(np.einsum("i,i->", part, part)))
    beside = math.fsum(sums) / flat.size
    return near + beside, math.sqrt(max(math.fsum(squares) / flat.size - beside * beside, 0.0))


def _sample(flat: Array) -> Array:
    """All of a small parameter; of a larger one an element at random out of each of so many equal stretches, the same every time.

    Every so many elements would be one row of a kernel, one tap, or one channel, where their number divides it.
    """
    if flat.size <= SAMPLED:
        return flat.astype(np.float64)
    within = np.random.default_rng(flat.size).random(SAMPLED)
    places = ((np.arange(SAMPLED) + within) * (flat.size / SAMPLED)).astype(np.int64)
    return flat[np.minimum(places, flat.size - 1)].astype(np.float64)


def _histogram(values: Array, low: float, high: float) -> list[int]:
    if low == high:
        return [len(values)]
    places = (values - low) * (BINS / (high - low))
    return np.bincount(np.clip(places.astype(np.int64), 0, BINS - 1), minlength=BINS).tolist()
