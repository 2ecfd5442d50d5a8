"""Masks of concepts: a folder for each, with a picture named as the photograph is, white where the concept is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ....ir.errors import InvalidInput, UsageError
from ....ir.legible import legible
from ....ir.memory import need_bytes
from ....ir.suggest import not_there
from ....ir.types import Array, TensorType
from ...files.images import NOT_AN_IMAGE, Preparing, is_image, load_image, upright_size
from ...look.dissect import Masked, compared_size
from ...look.units import image_of
from .photographs import DRAWN, PhotographReader, Shots

__all__ = ["concepts_in", "labelled"]

HALF = 0.5  # brighter is within

Concepts = Mapping[str, Mapping[str, Path]]  # of each concept its masks, by the stem of the photograph's name


def concepts_in(folder: Path) -> Concepts:
    """Raises: UsageError where it is no folder; InvalidInput where it has no folders of masks."""
    if not folder.is_dir():
        raise UsageError(f"--masks: {not_there(folder, 'folder')}")
    found = {
        each.name: {path.stem: path for path in sorted(each.iterdir()) if is_image(path) and path.is_file()}
        for each in sorted(folder.iterdir())
        if each.is_dir() and not each.name.startswith(".")
    }
    found = {name: masks for name, masks in found.items() if masks}
    if not found:
        raise InvalidInput(
            f"--masks '{legible(folder)}' has no folders of masks; each concept is a folder, with a mask for each picture that shows it"
        )
    return found


def labelled(reading: PhotographReader, concepts: Concepts) -> list[Masked]:
    """Each photograph that can be read with its masks.

    Raises: InvalidInput for a mask that cannot be read, or is of another size than its photograph; and where no mask has a photograph.
    """
    found: list[Masked] = []
    rows, cols = (dim for dim in image_of(reading.shots.graph).typed.shape[2:] if isinstance(dim, int))
    each = 3 * max(DRAWN, rows) * max(DRAWN, cols) + len(concepts) * math.prod(compared_size(rows, cols))
    need_bytes(f"the {len(reading.paths)} pictures with their masks", each * len(reading.paths), "give a part of them")
    for path, photo in reading.with_paths():
        masks = {name: _mask(of[path.stem], path, reading.shots) for name, of in concepts.items() if path.stem in of}
        found.append(Masked(photo, masks))
    if found and not any(each.masks for each in found):
        raise InvalidInput("no mask has the name of a picture; a mask of photo.jpg is CONCEPT/photo.png")
    return found


def _mask(path: Path, photo: Path, shots: Shots) -> Array:
    """The same part of it as the network gets of the photograph."""
    try:
        have, want = ("x".join(map(str, upright_size(each))) for each in (path, photo))
    except NOT_AN_IMAGE as error:
        raise InvalidInput(f"mask '{legible(path)}' cannot be read as an image: {legible(error)}") from error
    if have != want:
        raise InvalidInput(f"mask '{legible(path)}' is {have} pixels, its picture '{legible(photo.name)}' {want}; it must have that size")
    rows, cols = (dim for dim in image_of(shots.graph).typed.shape[2:] if isinstance(dim, int))
    size = compared_size(rows, cols)
    return load_image(path, TensorType("f32", (1, 1, *size)), Preparing(shots.preparing.scaled))[0, 0] > HALF
