"""A picture of any kind in the channels that a network takes: by which rule, and in words.

Whatever is not RGB or grey in 8 bits is converted as people see it: LAB, CMYK, palettes, transparency, 16 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...ir.types import Array

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["in_channels"]

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B")  # Pillow's modes of grey in 16 bits, whose conversion to 8 it cuts off at 255
OF_SIXTEEN_BITS = ("PNG", "PPM")  # formats whose mode "I" is of 16 bits too: PNG's of Pillow before 11.3, and PPM's, scaled to them
WORDS = {
    "LAB": "LAB, converted to sRGB (CIE 1976, white D50)",
    "CMYK": "CMYK, converted to RGB without a colour profile",
    "YCbCr": "YCbCr, converted to RGB",
    "HSV": "HSV, converted to RGB",
    "1": "black and white",
}
# XYZ under D50, as ICC profiles have it, to linear sRGB: Bradford's adaptation to D65 included (Lindbloom).
D50 = (0.96422, 1.0, 0.82521)
TO_SRGB = ((3.1338561, -1.6168667, -0.4906146), (-0.9787684, 1.9161415, 0.0334540), (0.0719453, -0.2289914, 1.4052427))


def in_channels(picture: Image.Image, channels: int | None) -> tuple[Image.Image, list[str]]:
    """RGB or grey in 8 bits, whichever `channels` are, RGBA where they are four and it is that; and what was done. None: as it has colours.

    Raises: ValueError for floating-point pixels and integers of 32 bits, whose range nobody says.
    """
    if picture.mode == "F" or (picture.mode == "I" and picture.format not in OF_SIXTEEN_BITS):
        numbers = "floating-point numbers" if picture.mode == "F" else "integers of 32 bits or with a sign"
        raise ValueError(f"its pixels are {numbers}, of which no picture says the range; give them as .npy")
    if channels == 4 and picture.mode == "RGBA":
        return picture, []
    picture, said = _plain(picture)
    if channels == 3 and picture.mode == "L":
        return picture.convert("RGB"), [*said, "grey, taken as three equal channels"]
    if channels == 1 and picture.mode == "RGB":
        return picture.convert("L"), [*said, "colours, taken as grey (ITU-R 601)"]
    return picture, said


def _plain(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """As L or RGB."""
    from PIL import Image

    mode = picture.mode
    if mode in ("I", *SIXTEEN_BITS):
        grey = np.rint(np.clip(np.asarray(picture, np.float64), 0, 65535) / 257).astype(np.uint8)
        return Image.fromarray(grey), ["16 bits, of which 8 are kept"]
    if mode == "LAB":
        pixels = np.asarray(picture)
        parts = np.array_split(pixels, max(len(pixels) // 256, 1))  # float32 of a few rows at a time
        return Image.fromarray(np.concatenate([_srgb_of_lab(part) for part in parts])), [WORDS[mode]]
    said = [WORDS[mode]] if mode in WORDS else []
    if mode in ("P", "PA"):
        said.append("a palette, whose colours are taken")
    if picture.has_transparency_data:
        pixels = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(pixels)
        return white.convert("L" if mode in ("LA", "La", "L") else "RGB"), [*said, "transparency, laid over white"]
    return picture.convert("L" if mode in ("1", "L") else "RGB"), said


def _srgb_of_lab(pixels: Array) -> Array:
    """uint8[H,W,3] of uint8[H,W,3] as Pillow has LAB: L from 0 to 255, a and b bytes with a sign."""
    signed = pixels.view(np.int8)
    lightness = pixels[..., 0].astype(np.float32) * np.float32(100 / 255)
    y = (lightness + 16) / 116
    ratios = np.stack([y + signed[..., 1] / np.float32(500), y, y - signed[..., 2] / np.float32(200)], -1)
    xyz = np.where(ratios > 6 / 29, ratios**3, (ratios - 4 / 29) * (108 / 841)) * np.array(D50, np.float32)
    linear = np.clip(xyz @ np.array(TO_SRGB, np.float32).T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * curved).astype(np.uint8)
