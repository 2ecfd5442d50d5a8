"""Masks of concepts: a folder for each, with a picture named as the photograph is, white where the concept is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ....ir.errors import InvalidInput, UsageError
from ....ir.legible import legible
from ....ir.types import Array
from ...files.images import NOT_AN_IMAGE, is_image, opened_upright
from ...look.dissect import Masked, compared_size
from .photographs import PhotographReader

__all__ = ["concepts_in", "labelled"]

HALF = 127  # of 255: brighter is within

Concepts = Mapping[str, Mapping[str, Path]]  # of each concept its masks, by the stem of the photograph's name


def concepts_in(folder: Path) -> Concepts:
    """Raises: UsageError where it is no folder; InvalidInput where it has no folders of masks."""
    if not folder.is_dir():
        raise UsageError(f"--masks '{legible(folder)}': there is no such folder")
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
    for path, photo in reading.with_paths():
        masks = {name: _mask(of[path.stem], path) for name, of in concepts.items() if path.stem in of}
        found.append(Masked(photo, masks))
    if found and not any(each.masks for each in found):
        raise InvalidInput("no mask has the name of a picture; a mask of photo.jpg is CONCEPT/photo.png")
    return found


def _mask(path: Path, photo: Path) -> Array:
    from PIL import Image

    try:
        with opened_upright(path) as upright, opened_upright(photo) as picture:
            if upright.size != picture.size:
                have, want = (f"{each.width}x{each.height}" for each in (upright, picture))
                raise InvalidInput(
                    f"mask '{legible(path)}' is {have} pixels, its picture '{legible(photo.name)}' {want}; it must have that size"
                )
            grey = upright.convert("L")
            rows, cols = compared_size(grey.height, grey.width)
            return np.asarray(grey.resize((cols, rows), Image.Resampling.NEAREST)) > HALF
    except NOT_AN_IMAGE as error:
        raise InvalidInput(f"mask '{legible(path)}' cannot be read as an image: {legible(error)}") from error
