"""What a terminal has room for: how wide it is, whether it shows colours, and text broken between words to fit it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

__all__ = ["Screen", "cells_of", "screen_of", "table_lines", "table_width", "wrapped"]

USUAL = 80  # columns of a terminal that does not say
LEAST = 20  # below, text is no longer broken
GAP = "  "  # between the columns of a table
LONG = 11  # columns: longer words are broken before others are
SHORTEST = 8  # what is left of a word that is broken, in columns of a table
SEAMS = "_./-,"  # behind which a word is broken, if it has to be


@dataclass(frozen=True, slots=True)
class Screen:
    """Where lines go. `width` counts columns; None: a file or a pipe, whose lines are never broken, for programs read them."""

    width: int | None
    coloured: bool


def screen_of(stream: TextIO) -> Screen:
    """COLUMNS goes before what the terminal says; NO_COLOR (no-color.org) and TERM=dumb are heard."""
    try:
        if not stream.isatty():
            return Screen(None, False)
        told = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # closed, or no file at all
        return Screen(None, False)
    asked = os.environ.get("COLUMNS", "")
    width = (int(asked) if asked.isdecimal() and len(asked) < 6 else 0) or told or USUAL
    return Screen(width if width >= LEAST else None, not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


def cells_of(text: str) -> int:
    """Columns that a text takes: letters of East Asia take two, accents none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, width: int | None, hang: int = 4) -> list[str]:
    """One line as lines of at most `width` columns, broken at blanks; those after the first have `hang` more blanks in front.

    A word for which there is no room stays whole, so that it can be copied.
    """
    if width is None or cells_of(text) <= width:
        return [text]
    indent = len(text) - len(text.lstrip(" "))
    lines, line, free = list[str](), text[:indent], True
    for gap, word in re.findall(r"( *)([^ ]+)", text[indent:]):
        if not free and cells_of(line) + len(gap) + cells_of(word) > width:
            lines.append(line)
            line, gap = " " * min(indent + hang, width // 2), ""
        line, free = f"{line}{gap}{word}", False
    return [*lines, line]


def table_width(rows: Sequence[Sequence[str]]) -> int:
    """Columns that a table takes where nothing is broken."""
    widths = _widths(rows)
    return sum(widths) + len(GAP) * (len(widths) - 1)


def table_lines(rows: Sequence[Sequence[str]], width: int | None) -> list[list[str]]:
    """The lines of each row: aligned columns, of which those with the longest cells are broken, between words if they can be, where a line
    has no room for them.
    """
    needed = _widths(rows)
    widths = _narrowed(rows, needed, width)
    if widths == needed:  # nothing is broken: a table of 100,000 rows is written in a second
        return [[GAP.join(map(_padded, row, widths)).rstrip()] for row in rows]
    return [_row_lines(row, widths) for row in rows]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cells_of, column)) for column in zip(*rows, strict=True)]


def _narrowed(rows: Sequence[Sequence[str]], widths: list[int], width: int | None) -> list[int]:
    """The widest column gives way first, down to its longest word; only then are words broken, long ones first."""
    if width is None:
        return widths
    room = width - len(GAP) * (len(widths) - 1)
    words = [max(cells_of(word) for cell in column for word in cell.split(" ")) for column in zip(*rows, strict=True)]
    for least in (words, [SHORTEST if word > LONG else word for word in words], [min(word, SHORTEST) for word in words]):
        while sum(widths) > room:
            place = max(range(len(widths)), key=lambda at: (widths[at] - least[at] > 0, widths[at]))
            if widths[place] <= least[place]:
                break
            others = [each for at, each in enumerate(widths) if at != place and each < widths[place] and each > least[at]]
            step = min(sum(widths) - room, widths[place] - max([least[place], *others]))
            widths = [each - max(step, 1) if at == place else each for at, each in enumerate(widths)]
    return widths


def _row_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [[part for line in wrapped(cell, room, 0) for part in _pieces(line, room)] for cell, room in zip(row, widths, strict=True)]
    height = max(map(len, cells))
    filled = zip(*([*cell, *[""] * (height - len(cell))] for cell in cells), strict=True)
    return [GAP.join(_padded(part, room) for part, room in zip(parts, widths, strict=True)).rstrip() for parts in filled]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells_of(text))


def _pieces(word: str, room: int) -> list[str]:
    """A word that is longer than its column."""
    pieces = [""]
    for letter in word:
        if cells_of(pieces[-1] + letter) > room:
            seam = max(map(pieces[-1].rfind, SEAMS)) + 1
            rest = pieces[-1][seam:] if seam > 1 else ""
            pieces[-1:] = [pieces[-1].removesuffix(rest), rest]
        pieces[-1] += letter
    return pieces
