"""Photographs in, pictures out. Pixels are float32 in [0, 1]; NCHW."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...ir.errors import InvalidInput, UsageError
from ...ir.files import need_plain, write_file
from ...ir.types import Array, TensorType, limits_of
from .entering import Entering

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "IMAGE_SUFFIXES", "NOT_AN_IMAGE", "is_image", "load_image", "opened_upright", "save_image"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
# Per-channel statistics that the common ImageNet checkpoints were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NOT_AN_IMAGE = (OSError, ValueError, SyntaxError, struct.error)  # what Pillow raises of files that are none, or torn
SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B")  # Pillow's modes of grey in 16 bits, whose conversion to 8 it cuts off at 255


def is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


@contextmanager
def opened_upright(path: Path) -> Generator[Image.Image]:
    """The picture as it is meant to be seen, in 8 bits a channel.

    Raises: any of NOT_AN_IMAGE, of a picture too large too, before it is decoded.
    """
    from PIL import Image, ImageOps

    need_plain(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # it is given as a file is opened
        try:
            with Image.open(path) as opened:
                yield _in_eight_bits(ImageOps.exif_transpose(opened))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError(str(error)) from error


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if picture.mode not in SIXTEEN_BITS:
        return picture
    return Image.fromarray(np.rint(np.clip(np.asarray(picture, np.float64), 0, 65535) / 257).astype(np.uint8))


def load_image(path: Path, type_: TensorType, *, resize: bool = False, imagenet: bool = False, entering: Entering | None = None) -> Array:
    """The photograph as [1,C,H,W] for an input of `type_`; `entering`, or else `imagenet`, says what each channel is normalized by.

    Raises: UsageError for a file that is not there; InvalidInput for one that is no image, or has the
    wrong channels or, unless `resize`, size.
    """
    from PIL import Image

    if type_.rank != 4:
        raise InvalidInput(f"'{path}' is an image, but the input is {type_}; give an .npz file")
    try:
        with opened_upright(path) as upright:
            picture = upright.convert("RGB") if upright.mode == "P" else upright.copy()
    except FileNotFoundError as error:
        raise UsageError(f"there is no file '{path}'") from error
    except NOT_AN_IMAGE as error:
        raise InvalidInput(f"'{path}' cannot be read as an image: {error}") from error
    _, channels, rows, cols = type_.shape
    if len(picture.getbands()) != channels:
        have = f"{len(picture.getbands())} channels ({picture.mode})"
        raise InvalidInput(f"'{path}' has {have}, the input is {type_}; convert the picture first")
    wanted = (cols if isinstance(cols, int) else picture.width, rows if isinstance(rows, int) else picture.height)
    if picture.size != wanted:
        if not resize:
            have, want = f"{picture.width}x{picture.height}", f"{wanted[0]}x{wanted[1]}"
            raise InvalidInput(f"'{path}' is {have} pixels, the input wants {want}; pass --resize to scale it")
        picture = picture.resize(wanted, Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, dtype=np.float32) / 255
    pixels = pixels[None, None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)[None]
    if imagenet and channels == 3 and entering is None:
        entering = Entering(IMAGENET_MEAN, IMAGENET_STD)
    if entering is not None:
        mean, deviation = (np.array(each, np.float32)[:, None, None] for each in (entering.mean, entering.deviation))
        if len(mean) != channels:
            raise InvalidInput(f"'{path}' has {channels} channels, and the weights say how {len(mean)} are normalized")
        pixels = (pixels - mean) / deviation
        if (reached := float(abs(pixels).max(initial=0))) > (most := float(limits_of(type_.dtype).max)):
            raise InvalidInput(
                f"what 'mean' and 'deviation' of the weights make of '{path}' reaches {reached:.4g}, and {type_} ends at {most:.6g}"
            )
    return np.ascontiguousarray(pixels, dtype=np.float32)


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
