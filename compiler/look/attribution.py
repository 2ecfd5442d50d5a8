"""Pictures of what comes back: a deconvnet's pass, guided backpropagation, the gradient times the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.graph import Graph
from ...ir.legible import legible
from ...ir.progress import each
from ...ir.types import Array
from ..engines.engine import Engine
from .backward import GRADIENT, Way, looking_back
from .colours import about_grey, enlarged, signed_over, strongest
from .photograph import Photograph, field_box, fields_in
from .running import repeated, started
from .sheet import Framed, Look, Rectangle, boxed, cropped, sheet
from .strongest import place_of
from .units import Unit, UnitPlace, image_of, layer_named, need_unit

__all__ = ["projection", "projections"]

PATCH = 160  # pixels of a unit's field in a grid


@dataclass(frozen=True, eq=False)
class _Returned:
    """What came back of one unit: `seen` [C,h,w], in the network's pixels; `box` is the unit's field as drawn."""

    unit: Unit
    at: UnitPlace
    value: float
    seen: Array
    field: Rectangle
    box: Rectangle

    @property
    def is_silent(self) -> bool:
        return self.value == 0 and not self.seen.any()

    @property
    def place(self) -> str:
        return f" at {','.join(map(str, self.at))}" if self.at else ""

    @property
    def figures(self) -> dict[str, Any]:
        return {
            "unit": self.unit.channel,
            "at": list(self.at),
            "value": self.value,
            "silent": self.is_silent,
            "field": list(self.field),
            "largest": float(np.abs(self.seen).max()),
            "sum": float(self.seen.sum(dtype=np.float64)),
        }


def _returned(graph: Graph, photo: Photograph, unit: Unit, way: Way, engine: Engine, threads: int | None) -> _Returned:
    back = looking_back(graph, way, unit.layer, unit.channel, unit.at, times_input=way is GRADIENT)
    got = started(back, engine, threads)({back.inputs[0].name: repeated(back, photo.values)})
    value, seen = (got[node.name][0] for node in back.outputs)
    at = unit.at if unit.at is not None else place_of(value[0])
    fields = fields_in(graph, image_of(graph))[layer_named(graph, unit.layer)]
    field = field_box(fields, at, photo.values.shape[2:])
    strength = float(value.max()) if unit.at is None else float(value.ravel()[0])
    return _Returned(unit, at, strength, seen, field, photo.drawn(field))


def projection(
    graph: Graph, photo: Photograph, unit: Unit, way: Way, engine: Engine, *, called: str = "", threads: int | None = None
) -> Look:
    """The photograph with the unit's field, what comes back to it, and both enlarged within the field. `called` names a class.

    A gradient is multiplied by the picture and summed over its channels.

    Raises: UsageError as `deconvnet`.
    """
    found = _returned(graph, photo, unit, way, engine, threads)
    box = found.box
    is_whole = box[0] <= 0 and box[1] <= 0 and box[2] >= photo.size[1] and box[3] >= photo.size[0]
    picture, note = _painted(found.seen, photo, way)
    tiles = [Framed(photo.pixels if is_whole else boxed(photo.pixels, box), (photo.name,)), Framed(picture, (note,))]
    if not is_whole:
        side = photo.size[0]
        tiles += [Framed(cropped(photo.pixels, box, side), ("in its field",)), Framed(cropped(picture, box, side), ("in its field",))]
    words = "; it is silent here, and nothing goes back" if found.is_silent else ""
    title = f"{way.name} of %{legible(unit.layer)}, {called or f'unit {unit.channel}'}{found.place}: {found.value:.4g}{words}"
    figures = {"layer": unit.layer, **found.figures}
    return Look(
        sheet(title, tiles, len(tiles) if photo.size[1] <= 320 else 2, [way.source]),
        (f"{title}; largest {figures['largest']:.4g}",),
        figures,
    )


def projections(graph: Graph, photo: Photograph, units: Sequence[Unit], way: Way, engine: Engine, *, threads: int | None = None) -> Look:
    """A grid: of each unit of one layer what comes back, and the photograph, both within its field. Zeiler & Fergus 2014, fig. 2.

    Raises: UsageError as `deconvnet`, before any of them is computed.
    """
    for unit in units:
        need_unit(layer_named(graph, unit.layer), unit.channel)
    found = [_returned(graph, photo, unit, way, engine, threads) for unit in each("units", units)]
    tiles: list[Framed] = []
    for one in found:
        words = (f"unit {one.unit.channel}{one.place}", "silent" if one.is_silent else f"{one.value:.4g}")
        picture, _ = _painted(one.seen, photo, way)
        tiles += [Framed(cropped(picture, one.box, PATCH), words), Framed(cropped(photo.pixels, one.box, PATCH))]
    layer = units[0].layer
    title = f"{way.name} of %{legible(layer)}, {len(units)} units on {legible(photo.name)}"
    lines = [f"unit {one.unit.channel}{one.place}: {'silent' if one.is_silent else f'{one.value:.4g}'}" for one in found]
    columns = 2 * max(1, round(math.sqrt(len(units) * 0.8)))
    note = f"left what comes back, right what the unit sees; {way.source}"
    return Look(sheet(title, tiles, columns, [note]), (title, *lines), {"layer": layer, "units": [one.figures for one in found]})


def _painted(seen: Array, photo: Photograph, way: Way) -> tuple[Array, str]:
    """In the picture's size."""
    planes = np.stack([enlarged(plane, photo.size) for plane in seen])
    limit = strongest(seen)
    if way is GRADIENT:
        summed = seen.sum(0)
        limit = strongest(summed)
        return signed_over(
            photo.pixels, enlarged(summed, photo.size), limit
        ), f"gradient times input: red speaks for, blue against; full at {limit:.2g}"
    return about_grey(planes if len(planes) in (1, 3) else planes.sum(0, keepdims=True), limit), f"grey is zero, full colour at {limit:.2g}"
