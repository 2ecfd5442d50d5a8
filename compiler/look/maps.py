"""What the maps of a layer answer to a photograph, side by side."""

from __future__ import annotations

import numpy as np

from ...ir.graph import Graph
from ...ir.legible import legible
from ...ir.types import Array
from ..engines.engine import Engine
from .colours import diverging, sequential
from .photograph import Photograph
from .running import batches, ending_at, started
from .sheet import Framed, Look, scaled_up, sheet
from .units import maps_of

__all__ = ["MOST", "activation_maps"]

MOST = 64
WIDE = 96  # pixels that a map is enlarged to, at least


def activation_maps(
    graph: Graph,
    photo: Photograph,
    layer: str,
    engine: Engine,
    *,
    most: int = MOST,
    scale: int | None = None,
    common: bool = False,
    threads: int | None = None,
) -> Look:
    """Each channel of a layer as a picture, each in its own range unless `common`; of more than `most` the strongest, in order.

    Raises: UsageError for a layer that does not exist or has no maps.
    """  # fmt: skip
    node = maps_of(graph, layer)
    run = started(seen := ending_at(graph, [layer]), engine, threads)
    ((_, got),) = batches(seen, run, [photo.values])
    maps = got[layer][0]
    return _look(node.name, maps, photo, most, scale, common)


def _look(layer: str, maps: Array, photo: Photograph, most: int, scale: int | None, common: bool) -> Look:
    count, rows, cols = maps.shape
    finite = np.where(np.isfinite(maps), maps, 0).astype(np.float64)
    tops = np.abs(finite).reshape(count, -1).max(1, initial=0)
    shown = np.sort(np.argsort(-tops, kind="stable")[:most])
    times = scale or max(1, -(-WIDE // max(rows, cols, 1)))
    is_signed = bool((maps < 0).any())
    limit = float(tops.max(initial=0))
    paint = diverging if is_signed else sequential
    tiles = [Framed(scaled_up(paint(maps[c], limit if common else float(tops[c])), times), (_caption(c, finite[c]),)) for c in shown]
    silent = int((tops == 0).sum())
    which = f"the {len(shown)} strongest of {count}" if len(shown) < count else f"{count}"
    title = f"%{legible(layer)} on {legible(photo.name)}: {which} maps of {rows}x{cols}"
    colours = "blue below zero, white at it, red above" if is_signed else "black is zero"
    ranges = f"all to {limit:.3g}" if common else "each map in its own range"
    note = f"{colours}; {ranges}"
    words = f"; {silent} answer nothing" if silent else ""
    best = int(np.argmax(tops)) if count else 0
    lines = (f"{title}{words}; the strongest is {best}, {tops[best]:.4g}",)
    figures = {
        "layer": layer,
        "shape": [count, rows, cols],
        "shown": shown.tolist(),
        "max": finite.reshape(count, -1).max(1).tolist(),
        "mean": finite.reshape(count, -1).mean(1).tolist(),
        "active": (finite > 0).reshape(count, -1).mean(1).tolist(),
        "silent": np.flatnonzero(tops == 0).tolist(),
    }
    return Look(sheet(title, tiles, None, [note + words]), lines, figures)


def _caption(channel: int, values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{channel}  {high:.3g}" if low >= 0 else f"{channel}  {low:.2g} {high:.2g}"
