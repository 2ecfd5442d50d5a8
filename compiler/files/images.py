"""Photographs in, pictures out. Pixels are float32 in [0, 1]; NCHW."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...ir.errors import InvalidInput, UsageError
from ...ir.files import need_plain, write_file
from ...ir.legible import legible
from ...ir.suggest import not_there
from ...ir.types import Array, TensorType, limits_of
from .colours import in_channels
from .entering import Entering
from .picture_file import PictureFile

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "AS_THEY_ARE",
    "IMAGE_SUFFIXES",
    "NOT_AN_IMAGE",
    "Preparing",
    "is_image",
    "load_image",
    "load_views",
    "opened_upright",
    "save_image",
    "upright_size",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")  # whatever the name says: Pillow would hand PostScript to another program
NOT_AN_IMAGE = (OSError, ValueError, SyntaxError, struct.error)  # what Pillow raises of files that are none, or torn
ORIENTATION = 0x0112  # EXIF's tag
LYING = (5, 6, 7, 8)  # its values where rows are columns


def is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True)
class Preparing:
    """What is done to photographs before a network gets them.

    `scaled` is None where each has to have the input's size, else how much larger than the middle that is cut out the whole is made: 1, and
    256/224 as ImageNet's checkpoints were measured. `entering` says what each channel is normalized by.
    """

    scaled: float | None = None
    entering: Entering | None = None


AS_THEY_ARE = Preparing()


@contextmanager
def opened_upright(path: Path) -> Generator[tuple[Image.Image, list[str]]]:
    """The picture as it is meant to be seen, and what was done for that; when the block has ended, what is damaged of it too.

    Raises: any of NOT_AN_IMAGE, of a picture too large too, before it is decoded, and of one that takes too long, in the midst of it.
    """
    from PIL import Image, ImageOps

    need_plain(path)
    with warnings.catch_warnings(record=True) as damage:
        warnings.simplefilter("always", UserWarning)  # what Pillow says of damage
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # it is given as a file is opened
        try:
            with PictureFile(path) as file, Image.open(file, formats=FORMATS) as opened:
                said = ["the first of its frames"] if getattr(opened, "is_animated", False) else []
                if opened.mode.startswith("RGB") and any(";16" in str(tile[3]) for tile in opened.tile):
                    said.append("16 bits, of which 8 are kept")
                if opened.getexif().get(ORIENTATION, 1) not in (0, 1):
                    said.append("turned upright, as its EXIF has it")
                upright = ImageOps.exif_transpose(opened)
                upright.format = opened.format  # which a copy forgets, and what its integers mean depends on
                yield upright, said
                said.extend(dict.fromkeys(f"damaged ({legible(each.message)})" for each in damage if each.category is UserWarning))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError(str(error)) from error


def upright_size(path: Path) -> tuple[int, int]:
    """Columns and rows of the picture as it is meant to be seen, without decoding it. Raises: any of NOT_AN_IMAGE."""
    from PIL import Image

    need_plain(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing is decoded, and who reads it will hear
        try:
            with PictureFile(path) as file, Image.open(file, formats=FORMATS) as opened:
                cols, rows = opened.size
                return (rows, cols) if opened.getexif().get(ORIENTATION, 1) in LYING else (cols, rows)
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from error


def load_image(path: Path, type_: TensorType, preparing: Preparing = AS_THEY_ARE, said: list[str] | None = None) -> Array:
    """The photograph as [1,C,H,W] for an input of `type_`; what was converted is added to `said`.

    Raises: UsageError for a file that is not there; InvalidInput for one that is no image, or has channels that
    are not those of the input by any rule, or, unless it is scaled, another size.
    """
    (found,) = load_views(path, [(type_, preparing)], said)
    return found


def load_views(path: Path, views: Sequence[tuple[TensorType, Preparing]], said: list[str] | None = None) -> list[Array]:
    """The same for several inputs, decoded once; `said` is of the first. Raises: as `load_image`."""
    for type_, _ in views:
        if type_.rank != 4:
            raise InvalidInput(f"'{path}' is an image, but the input is {type_}; give an .npz file")
    wanted = [type_.shape[1] if isinstance(type_.shape[1], int) else None for type_, _ in views]
    try:
        with opened_upright(path) as (upright, done):
            made = [in_channels(upright, channels) for channels in wanted]
    except FileNotFoundError as error:
        raise UsageError(not_there(path)) from error
    except NOT_AN_IMAGE as error:
        raise InvalidInput(f"'{path}' cannot be read as an image: {error}") from error
    if said is not None:
        said += [*done, *made[0][1]]
    return [_as_input(picture, path, type_, preparing) for (picture, _), (type_, preparing) in zip(made, views, strict=True)]


def _as_input(picture: Image.Image, path: Path, type_: TensorType, preparing: Preparing) -> Array:
    """Raises: InvalidInput for channels, or a size, that are not those of the input."""
    _, channels, rows, cols = type_.shape
    if isinstance(channels, int) and len(picture.getbands()) != channels:
        have = f"{len(picture.getbands())} channels ({picture.mode})"
        raise InvalidInput(f"'{path}' has {have}, the input is {type_}; convert the picture first")
    wanted = (cols if isinstance(cols, int) else picture.width, rows if isinstance(rows, int) else picture.height)
    if preparing.scaled is None and picture.size != wanted:
        have, want = f"{picture.width}x{picture.height}", f"{wanted[0]}x{wanted[1]}"
        raise InvalidInput(f"'{path}' is {have} pixels, the input wants {want}; pass --resize to scale it")
    if preparing.scaled is not None:
        picture = _middle(picture, wanted, preparing.scaled)
    pixels = np.asarray(picture, dtype=np.float32) / 255
    pixels = pixels[None, None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)[None]
    if preparing.entering is not None:
        pixels = _normalized(pixels, preparing.entering, path, type_)
    return np.ascontiguousarray(pixels, dtype=np.float32)


def _middle(picture: Image.Image, wanted: tuple[int, int], scaled: float) -> Image.Image:
    """The middle in the form of the input, scaled to it; only that is ever made, whatever the picture's form."""
    from PIL import Image

    if picture.size == wanted and scaled == 1:
        return picture
    cols, rows = wanted
    step = min(picture.width / cols, picture.height / rows) / scaled  # pixels of the picture for one
    left, top = (picture.width - step * cols) / 2, (picture.height - step * rows) / 2
    box = (max(left, 0), max(top, 0), min(left + step * cols, picture.width), min(top + step * rows, picture.height))
    return picture.resize(wanted, Image.Resampling.BILINEAR, box)


def _normalized(pixels: Array, entering: Entering, path: Path, type_: TensorType) -> Array:
    mean, deviation = (np.array(each, np.float32)[:, None, None] for each in (entering.mean, entering.deviation))
    if len(mean) != pixels.shape[1]:
        wanted = "; give a number for each, R,G,B" if pixels.shape[1] == 3 else ""
        raise InvalidInput(f"'{path}' has {pixels.shape[1]} channels, and {len(mean)} are normalized, by {entering.source}{wanted}")
    pixels = (pixels - mean) / deviation
    if (reached := float(abs(pixels).max(initial=0))) > (most := float(limits_of(type_.dtype).max)):
        raise InvalidInput(
            f"what 'mean' and 'deviation' of {entering.source} make of '{path}' reaches {reached:.4g}, and {type_} ends at {most:.6g}"
        )
    return pixels


def save_image(path: Path, value: Array) -> None:
    """Write [1,C,H,W] or [C,H,W] with 1 or 3 channels as a picture; values are clipped to [0, 1].

    Raises: InvalidInput for another shape.
    """
    from PIL import Image

    planes = value[0] if value.ndim == 4 and value.shape[0] == 1 else value
    if planes.ndim != 3 or planes.shape[0] not in (1, 3):
        raise InvalidInput(f"a result of shape {list(value.shape)} is not a picture; write it as .npz")
    pixels = np.rint(np.clip(np.nan_to_num(planes), 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(pixels[0] if planes.shape[0] == 1 else pixels.transpose(1, 2, 0))
    data = io.BytesIO()
    picture.save(data, format="JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG")
    write_file(path, data.getvalue())
