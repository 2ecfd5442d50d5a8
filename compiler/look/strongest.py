"""Where a unit is strongest: in a photograph, and in which photographs of many."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.errors import InvalidInput
from ...ir.graph import Graph, Node
from ...ir.legible import legible
from ...ir.types import Array
from ..engines.engine import Engine
from .photograph import Photograph, field_box, fields_in
from .running import batches, ending_at, started
from .sheet import Framed, Look, Rectangle, boxed, cropped, sheet
from .units import Unit, UnitPlace, image_of, layer_named, need_place, need_unit

__all__ = ["best_pictures", "place_of", "unit_field"]

PATCH = 224
THUMB = 200


@dataclass(frozen=True, eq=False)
class _Found:
    """A picture, the unit's value at its strongest place there, and what it sees."""

    photo: Photograph
    value: float
    at: UnitPlace
    box: Rectangle


def place_of(maps: Array) -> UnitPlace:
    """The strongest place of a channel [H,W]; () of a single number."""
    return tuple(int(each) for each in np.unravel_index(int(np.argmax(np.nan_to_num(maps, nan=-np.inf))), maps.shape)) if maps.ndim else ()


def unit_field(graph: Graph, photo: Photograph, unit: Unit, engine: Engine, threads: int | None = None) -> Look:
    """The unit's receptive field, boxed on the photograph, and what lies in it; without a place, where the unit is strongest.

    Raises: UsageError for a layer, unit or place that does not exist.
    """
    node = _checked(graph, unit)
    (found,) = _answers(graph, node, [photo], unit, engine, threads)
    name = legible(unit.layer)
    words = "" if found.value else ", where it is silent"
    title = f"%{name}, unit {unit.channel}{_place(found.at)}: {found.value:.4g} on {legible(photo.name)}{words}"
    frame = Framed(boxed(photo.pixels, photo.drawn(found.box)), (_sees(found.box),))
    patch = Framed(cropped(photo.pixels, photo.drawn(found.box), min(photo.size)), ("what lies in its field",))
    return Look(sheet(title, [frame, patch], 2), (f"{title}; {_sees(found.box)}",), _figures(unit, [found]))


def best_pictures(
    graph: Graph, photos: Iterable[Photograph], unit: Unit, engine: Engine, *, most: int = 9, threads: int | None = None
) -> Look:
    """The pictures that excite a unit most, strongest first, each with the unit's field boxed and enlarged. Zeiler & Fergus 2014, fig. 2.

    Raises: UsageError as `unit_field`; InvalidInput where there are no pictures.
    """
    node = _checked(graph, unit)
    heap: list[tuple[float, int, _Found]] = []
    count = 0
    for number, found in enumerate(_answers(graph, node, photos, unit, engine, threads)):
        count += 1
        key = found.value if np.isfinite(found.value) else -np.inf
        (heapq.heappush if len(heap) < most else heapq.heappushpop)(heap, (key, -number, found))
    if not heap:
        raise InvalidInput("there are no pictures to look at")
    best = [found for _, _, found in sorted(heap, key=lambda each: each[:2], reverse=True)]
    name = legible(unit.layer)
    silent = "; it is silent in all of them" if not any(found.value for found in best) else ""
    title = f"%{name}, unit {unit.channel}: best {len(best)} of {count} pictures{silent}"
    tiles = [tile for found in best for tile in _pair(found)]
    lines = (title, *(f"{found.value:.4g}  {legible(found.photo.name)}{_place(found.at)}; {_sees(found.box)}" for found in best))
    return Look(sheet(title, tiles, 2 * max(1, round(len(best) ** 0.5 * 0.8))), lines, _figures(unit, best) | {"pictures": count})


def _pair(found: _Found) -> Iterator[Framed]:
    photo = found.photo
    thumb = cropped(boxed(photo.pixels, photo.drawn(found.box), width=4), (0, 0, photo.size[1], photo.size[0]), THUMB)
    yield Framed(thumb, (f"{found.value:.4g}{_place(found.at)}", photo.name))
    yield Framed(cropped(photo.pixels, photo.drawn(found.box), THUMB))


def _answers(graph: Graph, node: Node, photos: Iterable[Photograph], unit: Unit, engine: Engine, threads: int | None) -> Iterator[_Found]:
    image = image_of(graph)
    fields = fields_in(graph, image)[node]
    run = started(seen := ending_at(graph, [node.name]), engine, threads)
    waiting: list[Photograph] = []

    def values() -> Iterator[Array]:
        for photo in photos:
            waiting.append(photo)
            yield photo.values

    for count, got in batches(seen, run, values()):
        for photo, each in zip(waiting[:count], got[node.name], strict=True):
            maps = each[unit.channel]
            at = place_of(maps) if unit.at is None else unit.at
            yield _Found(photo, float(maps[at]), at, field_box(fields, at, photo.values.shape[2:]))
        del waiting[:count]


def _checked(graph: Graph, unit: Unit) -> Node:
    node = layer_named(graph, unit.layer)
    need_unit(node, unit.channel)
    if unit.at is not None:
        need_place(node, unit.at)
    return node


def _place(at: UnitPlace) -> str:
    return f" at {','.join(map(str, at))}" if at else ""


def _sees(box: Rectangle) -> str:
    left, top, right, bottom = (int(each) for each in box)
    return f"sees {right - left}x{bottom - top} pixels from {left},{top}"


def _figures(unit: Unit, found: list[_Found]) -> dict[str, Any]:
    best = [
        {"picture": each.photo.name, "value": each.value, "at": list(each.at), "field": [int(side) for side in each.box]} for each in found
    ]
    return {"layer": unit.layer, "unit": unit.channel, "best": best}
