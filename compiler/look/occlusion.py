"""What a class loses where part of the photograph is covered. Zeiler & Fergus 2014, sec. 4.2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...ir.errors import UsageError
from ...ir.graph import Graph
from ...ir.progress import progress
from ...ir.types import Array
from ..engines.engine import Engine
from .colours import enlarged, signed_over
from .photograph import Photograph
from .running import batches, ending_at, started
from .sheet import Framed, Look, boxed, sheet
from .units import score_of, scored

__all__ = ["Covering", "covering", "occlusion"]

PARTS, STEPS = 5, 12  # a square of a fifth of the picture, at 12 places along each axis
MOST = 4096  # places


@dataclass(frozen=True, slots=True)
class Covering:
    """Squares of `side` pixels, `stride` further each."""

    side: int
    stride: int

    def places(self, rows: int, cols: int) -> tuple[list[int], list[int]]:
        """Where squares begin, so that the first and the last cover the border half."""
        ends = [range(-(self.side // 2), size - self.side // 2, self.stride) for size in (rows, cols)]
        return list(ends[0]), list(ends[1])


def covering(rows: int, cols: int, side: int | None, stride: int | None) -> Covering:
    """As asked for, or of a usual size. Raises: UsageError for more places than anybody waits for."""
    side = max(1, min(rows, cols) // PARTS) if side is None else side
    stride = max(1, -(-max(rows, cols) // STEPS)) if stride is None else stride
    found = Covering(side, stride)
    if side > max(rows, cols):
        raise UsageError(f"--side {side} is more than the picture's {rows}x{cols} pixels; give a smaller one")
    if (count := -(-rows // stride) * -(-cols // stride)) > MOST:
        raise UsageError(f"--stride {stride} makes {count:,} places of {rows}x{cols} pixels, expected at most {MOST:,}; give a larger one")
    return found


def occlusion(
    graph: Graph,
    photo: Photograph,
    class_: int,
    engine: Engine,
    *,
    called: str = "",
    side: int | None = None,
    stride: int | None = None,
    threads: int | None = None,
) -> Look:
    """How much the class's score falls where a square of the photograph's mean colour covers it: red where it is needed, blue where it
    stands against. Of a network that scores each place it is the mean of them all.

    Raises: UsageError for a class that does not exist, or squares that do not fit.
    """  # fmt: skip
    scores = score_of(graph)
    rows, cols = photo.values.shape[2:]
    squares = covering(rows, cols, side, stride)
    tops, lefts = squares.places(rows, cols)
    run = started(seen := ending_at(graph, [scores.name]), engine, threads)
    grey = photo.values.mean((2, 3), keepdims=True)
    found: list[float] = []

    def covered() -> Iterator[Array]:
        yield photo.values
        for top in tops:
            for left in lefts:
                picture = photo.values.copy()
                picture[:, :, max(top, 0) : top + squares.side, max(left, 0) : left + squares.side] = grey
                yield picture

    with progress("covering the photograph", len(tops) * len(lefts) + 1) as advance:
        for count, got in batches(seen, run, covered()):
            values = got[scores.name].reshape(count, got[scores.name].shape[1], -1).mean(2)
            found += values[:, class_].tolist()
            advance(count)
    whole, drops = found[0], found[0] - np.array(found[1:]).reshape(len(tops), len(lefts))
    title = f"{called or f'class {class_}'}: {scored(scores, whole)}, what covering takes of it"
    return _look(photo, drops, whole, squares, title, {"class": class_, "layer": scores.name})


def _look(photo: Photograph, drops: Array, whole: float, squares: Covering, title: str, about: dict[str, object]) -> Look:
    limit = float(np.abs(drops).max(initial=0))
    heat = signed_over(photo.pixels, _spread(drops, squares, photo), limit)
    row, col = np.unravel_index(int(np.argmax(drops)), drops.shape)
    left, top = (int(at) * squares.stride - squares.side // 2 for at in (col, row))
    box = (max(left, 0), max(top, 0), min(left + squares.side, photo.values.shape[3]), min(top + squares.side, photo.values.shape[2]))
    tiles = [
        Framed(boxed(photo.pixels, photo.drawn(box)), (f"{photo.name}: the square that takes most, {drops.max():.3g}",)),
        Framed(heat, (f"red takes, blue adds; full at {limit:.3g}",)),
    ]
    note = (
        f"squares of {squares.side} pixels in the mean colour, {squares.stride} apart: {drops.size} places; Zeiler & Fergus 2014, sec. 4.2"
    )
    lines = (f"{title}: at most {drops.max():.4g} at {box[0]},{box[1]}; {drops.size} places, {squares.side} pixels each",)
    figures = {**about, "score": whole, "side": squares.side, "stride": squares.stride, "drops": drops.tolist(), "strongest": list(box)}
    return Look(sheet(title, tiles, 2, [note]), lines, figures)


def _spread(drops: Array, squares: Covering, photo: Photograph) -> Array:
    """A value for each pixel: places' middles are `stride` apart, the first at the picture's border."""
    rows, cols = photo.values.shape[2:]
    along = _between(drops, squares.stride, cols)
    return enlarged(_between(along.T, squares.stride, rows).T, photo.size)


def _between(lines: Array, stride: int, count: int) -> Array:
    """Each line's values, `stride` apart, at `count` pixels by straight lines."""
    places = np.array([stride * number for number in range(lines.shape[1])], np.float64)
    pixels = np.array([number + 0.5 for number in range(count)], np.float64)
    found: list[Array] = [np.interp(pixels, places, line) for line in lines]
    return np.array(found)
