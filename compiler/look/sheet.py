"""A contact sheet: pictures in rows, gutters between them, a caption under each and a title over all."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.errors import UsageError
from ...ir.legible import escaped
from ...ir.types import Array

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Framed", "Look", "Rectangle", "boxed", "cropped", "scaled_up", "sheet"]

GUTTER, MARGIN = 10, 14
PAGE, INK, FAINT, MARK = (255, 255, 255), (24, 24, 28), (120, 120, 128), (255, 64, 32)
TITLE, CAPTION = 16, 12  # points
NARROWEST = 84  # pixels that a caption has, whatever is over it
ASPECT = 1.5  # of the page, as near as the tiles allow
MOST_PIXELS = 1 << 26
ELLIPSIS = "..."

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom: pixels, the last two not in it


@dataclass(frozen=True, eq=False)
class Framed:
    """Pixels [H,W,3] of bytes and the lines under them, of which the first is the strongest."""

    pixels: Array
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Look:
    """What was seen: a picture, the lines that say it in words, and the figures for `--json`."""

    picture: Image.Image
    lines: tuple[str, ...]
    figures: dict[str, Any]

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    @property
    def png(self) -> bytes:
        data = io.BytesIO()
        self.picture.save(data, "PNG", optimize=False)
        return data.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png


def sheet(title: str, tiles: Sequence[Framed], columns: int | None = None, notes: Sequence[str] = ()) -> Image.Image:
    """The page. Tiles of one row stand on one line; each column is as wide as its widest.

    Raises: UsageError for a page of more pixels than anybody looks at.
    """
    from PIL import Image, ImageDraw, ImageFont

    columns = max(1, min(len(tiles), columns or _columns(tiles)))
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    widths = [max(NARROWEST, *(row[c].pixels.shape[1] for row in rows if c < len(row))) for c in range(columns)]
    heights = [max(tile.pixels.shape[0] for tile in row) for row in rows]
    words = [max(len(tile.lines) for tile in row) * (CAPTION + 4) + (4 if any(tile.lines for tile in row) else 0) for row in rows]
    top = MARGIN + TITLE + 8 + len(notes) * (CAPTION + 5) + 6
    width = max(2 * MARGIN + sum(widths) + GUTTER * (columns - 1), 420)
    height = top + sum(heights) + sum(words) + GUTTER * (len(rows) - 1) + MARGIN
    if width * height > MOST_PIXELS:
        raise UsageError(f"the picture would be {width} x {height} pixels; show fewer with --most, or at a smaller --scale")
    page = Image.new("RGB", (width, height), PAGE)
    draw = ImageDraw.Draw(page)
    large, small = ImageFont.load_default(TITLE), ImageFont.load_default(CAPTION)
    draw.text((MARGIN, MARGIN), fitted(title, large, width - 2 * MARGIN), INK, large)
    for number, note in enumerate(notes):
        draw.text((MARGIN, MARGIN + TITLE + 8 + number * (CAPTION + 5)), fitted(note, small, width - 2 * MARGIN), FAINT, small)
    y = top
    for row, high, said in zip(rows, heights, words, strict=True):
        x = MARGIN
        for tile, wide in zip(row, widths, strict=False):
            page.paste(Image.fromarray(np.ascontiguousarray(tile.pixels)), (x, y))
            for number, line in enumerate(tile.lines):
                place = (x, y + high + 4 + number * (CAPTION + 4))
                draw.text(place, fitted(line, small, wide), FAINT if number else INK, small)
            x += wide + GUTTER
        y += high + said + GUTTER
    return page


def fitted(text: str, font: Any, width: float) -> str:
    """One line of what the font has, cut where it would be wider."""
    text = "".join(c if c.isascii() or "\xa0" <= c <= "\xff" else f"\\u{{{ord(c):x}}}" for c in escaped(text[:400], backslash=False))
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(text[:middle] + ELLIPSIS) <= width else (low, middle - 1)
    return text[:low] + ELLIPSIS


def _columns(tiles: Sequence[Framed]) -> int:
    wide = max(NARROWEST, *(tile.pixels.shape[1] for tile in tiles)) + GUTTER
    high = max(tile.pixels.shape[0] + len(tile.lines) * (CAPTION + 4) for tile in tiles) + GUTTER
    return min(range(1, len(tiles) + 1), key=lambda n: abs(math.log(max(n * wide / (math.ceil(len(tiles) / n) * high), 1e-9) / ASPECT)))


def scaled_up(pixels: Array, times: int) -> Array:
    """Each pixel as a square of `times` pixels."""
    return np.repeat(np.repeat(pixels, times, 0), times, 1)


def boxed(pixels: Array, box: Rectangle, colour: tuple[int, int, int] = MARK, width: int = 3) -> Array:
    """The picture with a frame around `box`, as far as that lies in it."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = (
        max(0, round(box[0])),
        max(0, round(box[1])),
        min(picture.width, round(box[2])) - 1,
        min(picture.height, round(box[3])) - 1,
    )
    if right >= left and bottom >= top:
        draw.rectangle((left, top, right, bottom), outline=colour, width=width)
        if right - left > 2 * width + 2 and bottom - top > 2 * width + 2:
            draw.rectangle((left + width, top + width, right - width, bottom - width), outline=(255, 255, 255), width=1)
    return np.asarray(picture)


def cropped(pixels: Array, box: Rectangle, size: int) -> Array:
    """What lies in the box, in a square of `size` pixels: grey where the box leaves the picture."""
    from PIL import Image

    left, top = math.floor(box[0]), math.floor(box[1])
    right, bottom = max(math.ceil(box[2]), left + 1), max(math.ceil(box[3]), top + 1)
    rows, cols = pixels.shape[:2]
    if (right - left) * (bottom - top) > MOST_PIXELS:
        left, top, right, bottom = 0, 0, cols, rows
    cut = np.full((bottom - top, right - left, 3), 128, np.uint8)
    inner = pixels[max(top, 0) : min(bottom, rows), max(left, 0) : min(right, cols)]
    first = (max(-top, 0), max(-left, 0))
    cut[first[0] : first[0] + inner.shape[0], first[1] : first[1] + inner.shape[1]] = inner
    longest = max(cut.shape[:2])
    wanted = (max(1, round(cut.shape[1] * size / longest)), max(1, round(cut.shape[0] * size / longest)))
    how = Image.Resampling.NEAREST if size >= longest and longest < 24 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(cut).resize(wanted, how))
