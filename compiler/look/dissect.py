"""Network dissection: which units of a layer answer to which concepts. Bau et al. 2017, sec. 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...ir.errors import InvalidInput
from ...ir.graph import Graph
from ...ir.legible import legible
from ...ir.memory import need_bytes
from ...ir.progress import progress, told
from ...ir.types import Array, TensorType
from ..engines.engine import Engine
from .colours import enlarged
from .photograph import Photograph
from .running import batches, ending_at, started
from .sheet import Framed, Look, sheet
from .units import maps_of

__all__ = ["DETECTS", "QUANTILE", "Masked", "agreement", "compared_size", "dissect"]

QUANTILE = 0.005  # of places of all pictures at which a unit counts as on
DETECTS = 0.04  # least IoU of a detector
SHOWN = 6  # detectors in the picture
EACH = 3  # of their pictures
THUMB = 160
DIMMED = 0.3  # of the light, where a unit is off
MOST_SIDE = 224  # rows and columns that masks are compared at


@dataclass(frozen=True, eq=False)
class Masked:
    """A photograph and where in it each concept is, [H,W] of booleans; a concept that is left out is nowhere in it."""

    photo: Photograph
    masks: Mapping[str, Array]


def dissect(
    graph: Graph,
    pictures: Sequence[Masked],
    layer: str,
    engine: Engine,
    *,
    quantile: float = QUANTILE,
    threads: int | None = None,
) -> Look:
    """For each unit of a layer the concept that its strongest places cover best, by IoU over all pictures together.

    A unit is on where it exceeds the value that it exceeds at `quantile` of all places of all pictures; maps are enlarged to the masks.

    Raises: UsageError for a layer without maps; InvalidInput where there are no pictures or no concepts.
    """
    node = maps_of(graph, layer)
    concepts = sorted({name for each in pictures for name in each.masks})
    if not pictures or not concepts:
        raise InvalidInput("there are no pictures with masks to compare units with")
    run = started(seen := ending_at(graph, [layer]), engine, threads)
    channels, rows, cols = TensorType(node.typed.dtype, node.typed.shape[1:]).concrete()
    need_bytes(f"the maps of %{legible(layer)} for {len(pictures)} pictures", len(pictures) * channels * rows * cols * 8)
    parts: list[Array] = []
    with progress("running the pictures", len(pictures)) as advance:
        for count, got in batches(seen, run, (each.photo.values for each in pictures)):
            parts.append(got[layer])
            advance(count)
    maps = np.concatenate(parts)
    places = np.moveaxis(maps, 1, 0).reshape(channels, -1)
    limits = np.quantile(places, 1 - quantile, axis=1, method="higher")
    masks = [[each.masks.get(name) for name in concepts] for each in pictures]
    table = agreement(maps, limits, masks)
    return _look(layer, table, concepts, pictures, maps, limits, quantile)


def agreement(maps: Array, limits: Array, masks: Sequence[Sequence[Array | None]]) -> Array:
    """IoU [channels, concepts] over all pictures: `maps` [n,C,h,w] above `limits` [C], against `masks` of each picture."""
    channels, concepts = maps.shape[1], len(masks[0])
    both, on, there = np.zeros((channels, concepts)), np.zeros(channels), np.zeros(concepts)
    for each, given in told("comparing units with concepts", len(maps), zip(maps, masks, strict=True)):
        size = next((mask.shape for mask in given if mask is not None), each.shape[1:])
        known = [np.zeros(size, bool) if mask is None else mask for mask in given]
        flat = np.stack([mask.ravel() for mask in known]).astype(np.float32)
        is_on = np.stack([(enlarged(plane, size) > limit).ravel() for plane, limit in zip(each, limits, strict=True)]).astype(np.float32)
        both += is_on @ flat.T
        on += is_on.sum(1)
        there += flat.sum(1)
    either = on[:, None] + there[None] - both
    return both / np.maximum(either, 1)


def _look(
    layer: str, table: Array, concepts: Sequence[str], pictures: Sequence[Masked], maps: Array, limits: Array, quantile: float
) -> Look:
    best: list[int] = [int(each) for each in table.argmax(1)]
    ious: Array = table.max(1)
    order = np.argsort(-ious, kind="stable")
    detectors = [int(unit) for unit in order if ious[unit] > DETECTS]
    unique = sorted({concepts[best[unit]] for unit in detectors})
    title = f"%{legible(layer)}: {len(detectors)} of {len(ious)} units detect {len(unique)} of {len(concepts)} concepts"
    tiles = [
        tile for unit in map(int, order[:SHOWN]) for tile in _row(unit, concepts[best[unit]], float(ious[unit]), pictures, maps, limits)
    ]
    rows = [
        f"unit {int(unit)}  {legible(concepts[best[unit]])}  IoU {ious[unit]:.3f}" for unit in order[: max(10, min(len(detectors), 40))]
    ]
    note = f"bright: on, {quantile:.2%} of places; outline: the concept; Bau et al. 2017"
    figures = {
        "layer": layer,
        "pictures": len(pictures),
        "concepts": list(concepts),
        "quantile": quantile,
        "detects": DETECTS,
        "detectors": len(detectors),
        "detected": unique,
        "units": [{"unit": u, "concept": concepts[best[u]], "iou": float(ious[u]), "limit": float(limits[u])} for u in range(len(ious))],
        "iou": table.tolist(),
    }
    return Look(sheet(title, tiles, min(EACH, len(pictures)), [note]), (title, *rows), figures)


def _row(unit: int, concept: str, iou: float, pictures: Sequence[Masked], maps: Array, limits: Array) -> Iterator[Framed]:
    """The pictures in which the unit is strongest."""
    tops = maps[:, unit].reshape(len(pictures), -1).max(1)
    for number in np.argsort(-tops, kind="stable")[:EACH]:
        found = pictures[int(number)]
        yield Framed(
            _lit(found, maps[number, unit], float(limits[unit]), concept),
            (f"{unit}: {concept}, IoU {iou:.3f}", f"{tops[number]:.3g}  {found.photo.name}"),
        )


def _lit(found: Masked, plane: Array, limit: float, concept: str) -> Array:
    from PIL import Image

    rows, cols = found.photo.size
    size = (max(1, round(THUMB * rows / max(rows, cols))), max(1, round(THUMB * cols / max(rows, cols))))
    pixels = np.asarray(Image.fromarray(found.photo.pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    is_on = enlarged(plane, size) > limit
    lit = np.where(is_on[..., None], pixels, pixels * DIMMED).astype(np.uint8)
    mask = found.masks.get(concept)
    if mask is not None:
        inside = enlarged(mask.astype(np.float32), size) > 0.5
        lit[_edge(inside)] = (255, 214, 0)
    return lit


def _edge(inside: Array) -> Array:
    """The places within whose neighbours are not all within."""
    padded = np.pad(inside, 1)
    around = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~around


def compared_size(rows: int, cols: int) -> tuple[int, int]:
    """At which a picture's masks are compared: its own, or smaller."""
    shrink = max(1.0, max(rows, cols) / MOST_SIDE)
    return max(1, round(rows / shrink)), max(1, round(cols / shrink))
