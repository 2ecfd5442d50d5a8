"""Pictures of what comes back: a deconvnet's pass, guided backpropagation, the gradient times the picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.graph import Graph
from ...ir.legible import legible
from ...ir.types import Array
from ..engines.engine import Engine
from .backward import GRADIENT, Way, looking_back
from .colours import about_grey, enlarged, signed_over, strongest
from .photograph import Photograph, field_box, fields_in
from .running import repeated, started
from .sheet import Framed, Look, boxed, cropped, sheet
from .strongest import place_of
from .units import Unit, image_of, layer_named

__all__ = ["projection"]


def projection(
    graph: Graph, photo: Photograph, unit: Unit, way: Way, engine: Engine, *, called: str = "", threads: int | None = None
) -> Look:
    """The photograph with the unit's field, what comes back to it, and both enlarged within the field. `called` names a class.

    A gradient is multiplied by the picture and summed over its channels.

    Raises: UsageError as `deconvnet`.
    """
    back = looking_back(graph, way, unit.layer, unit.channel, unit.at, times_input=way is GRADIENT)
    run = started(back, engine, threads)
    got = run({back.inputs[0].name: repeated(back, photo.values)})
    value, seen = (got[node.name][0] for node in back.outputs)
    at = unit.at if unit.at is not None else place_of(value[0])
    fields = fields_in(graph, image := image_of(graph))[layer_named(graph, unit.layer)]
    assert image.typed.rank == 4
    box = photo.drawn(field_box(fields, at, photo.values.shape[2:]))
    is_whole = box[0] <= 0 and box[1] <= 0 and box[2] >= photo.size[1] and box[3] >= photo.size[0]
    picture, note = _painted(seen, photo, way)
    tiles = [Framed(photo.pixels if is_whole else boxed(photo.pixels, box), (photo.name,)), Framed(picture, (note,))]
    if not is_whole:
        side = photo.size[0]
        tiles += [Framed(cropped(photo.pixels, box, side), ("in its field",)), Framed(cropped(picture, box, side), ("in its field",))]
    strength = float(value.max()) if unit.at is None else float(value.ravel()[0])
    place = f" at {','.join(map(str, at))}" if at else ""
    is_silent = strength == 0 and not seen.any()
    words = "; it is silent here, and nothing goes back" if is_silent else ""
    title = f"{way.name} of %{legible(unit.layer)}, {called or f'unit {unit.channel}'}{place}: {strength:.4g}{words}"
    figures: dict[str, Any] = {
        "layer": unit.layer,
        "unit": unit.channel,
        "at": list(at),
        "value": strength,
        "silent": is_silent,
        "field": list(field_box(fields, at, photo.values.shape[2:])),
        "largest": float(np.abs(seen).max()),
        "sum": float(seen.sum(dtype=np.float64)),
    }
    return Look(
        sheet(title, tiles, len(tiles) if photo.size[1] <= 320 else 2, [way.source]),
        (f"{title}; largest {figures['largest']:.4g}",),
        figures,
    )


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
