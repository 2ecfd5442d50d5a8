"""Plots by matplotlib, for notebooks and papers; `Plot.figure` is its own, to be changed as any other."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BackendMissing, UsageError
from .files import write_file
from .legible import escaped, legible

__all__ = ["ABOVE", "AFTER", "BEFORE", "MARKED", "Plot", "named_places", "panels", "scale_of", "worded"]

BEFORE, AFTER, MARKED = "#9aa5b1", "#2b6cb0", "#b03a2e"
WIDTH = 9.0  # inches
DOTS = 110  # an inch, in a notebook
NAMED = 40  # places of an axis that have room for a name
LONGEST = 28  # characters of one
ABOVE = {
    "loc": "lower right",
    "bbox_to_anchor": (1.0, 1.0),
    "ncols": 4,
    "frameon": False,
    "borderaxespad": 0.2,
}  # of a legend: no bar is under it
COUNTED = ((1e12, "trillion "), (1e9, "billion "), (1e6, "million "), (1e3, "thousand "))
BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
PLAIN = {"parse_math": False}  # a name out of a file may hold a dollar, which is no formula


@dataclass(frozen=True, repr=False)
class Plot:
    """A figure of matplotlib's with its title. Notebooks show it as it is."""

    title: str
    figure: Any

    def __repr__(self) -> str:
        return f"<plot '{self.title}': .save('plot.svg') writes it, .figure is matplotlib's>"

    def _repr_png_(self) -> bytes:
        return self._drawn("png")

    def save(self, path: str | Path) -> None:
        """Write it; the suffix of `path` says as what: .svg, .pdf, .png.

        Raises: UsageError for a suffix that matplotlib does not know, and a path that cannot be written.
        """
        path = Path(path)
        known: Sequence[str] = sorted(self.figure.canvas.get_supported_filetypes())
        if path.suffix[1:].lower() not in known:
            raise UsageError(f"'{legible(path)}' is no picture; its suffix may be one of .{', .'.join(known)}")
        write_file(path, self._drawn(path.suffix[1:].lower()))

    def _drawn(self, kind: str) -> bytes:
        data = io.BytesIO()
        self.figure.savefig(data, format=kind, dpi=DOTS, bbox_inches="tight")
        return data.getvalue()


def panels(title: str, heights: Sequence[float]) -> tuple[Plot, list[Any]]:
    """A plot and its axes, one above the other. Units: `heights` inches.

    Raises: BackendMissing where matplotlib is not here.
    """
    try:
        figures: Any = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        way_out = 'pip install "convc[plot]"; tables and reports with --html need nothing'
        raise BackendMissing(f"a plot needs matplotlib, which cannot be imported here ({error}); {way_out}") from error
    figure = figures.Figure(figsize=(WIDTH, sum(heights) + 0.4), layout="constrained")
    axes = list(figure.subplots(len(heights), squeeze=False, height_ratios=list(heights))[:, 0])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    figure.suptitle(worded(title, 110), fontsize=11, **PLAIN)
    return Plot(worded(title, 110), figure), axes


def scale_of(most: float, *, of_bytes: bool = False) -> tuple[float, str]:
    """What figures up to `most` are divided by, and the word for it before what is counted, or for bytes the unit."""
    return next((each for each in (BYTES if of_bytes else COUNTED) if most >= each[0]), (1.0, "bytes" if of_bytes else ""))


def named_places(axis: Any, names: Sequence[str]) -> None:
    """The places 0, 1, ... of an axis, `axes.xaxis` or `axes.yaxis`, by name; of many, every so many-th."""
    step = -(-len(names) // NAMED)
    places = range(0, len(names), max(step, 1))
    turned = {"rotation": 90} if axis.axis_name == "x" else {}
    axis.set_ticks(list(places), [worded(names[place]) for place in places], fontsize=7, **turned, **PLAIN)


def worded(text: str, most: int = LONGEST) -> str:
    """A name out of a file on one line, of characters that the font has."""
    plain = "".join(c if c.isascii() or "\xa0" <= c <= "\xff" else f"\\u{{{ord(c):x}}}" for c in escaped(text[:400], backslash=False))
    return plain if len(plain) <= most else plain[: most - 3] + "..."
