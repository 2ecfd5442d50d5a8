"""A drawing as the bytes of a file: SVG by itself, PNG and PDF by cairosvg."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....ir.errors import BackendMissing, UsageError
from .svg import Drawing

__all__ = ["PICTURES", "picture_of"]

DOTS = 300 / 72  # a point: 300 an inch
MOST_DOTS = 32_000  # along a side, which is what Cairo can


def _svg(drawing: Drawing, cairo: Any) -> bytes:
    return drawing.svg.encode()


def _png(drawing: Drawing, cairo: Any) -> bytes:
    """Raises: UsageError for one that is too tall."""
    side = max(drawing.width, drawing.height) * DOTS
    if side > MOST_DOTS:
        raise UsageError(f"the picture would be {side:,.0f} dots long, a .png has at most {MOST_DOTS:,}; write it as .svg or .pdf")
    width, height = round(drawing.width * DOTS), round(drawing.height * DOTS)
    return cairo.svg2png(bytestring=drawing.svg.encode(), output_width=width, output_height=height)


def _pdf(drawing: Drawing, cairo: Any) -> bytes:
    return cairo.svg2pdf(bytestring=drawing.svg.encode())


PICTURES: dict[str, Callable[[Drawing, Any], bytes]] = {".svg": _svg, ".png": _png, ".pdf": _pdf}


def picture_of(suffix: str) -> Callable[[Drawing], bytes]:
    """What makes a file of that kind, asked for before the work; a pipe has no suffix, and gets SVG.

    Raises: BackendMissing where cairosvg, or Cairo, is not here.
    """
    make, cairo = PICTURES.get(suffix, _svg), None
    if make is not _svg:
        try:
            import cairosvg as cairo  # pyright: ignore[reportMissingImports]
        except (ImportError, OSError) as error:  # the latter where Python has it and the system has no Cairo
            way_out = 'pip install "convc[draw]", or write .svg, which needs nothing'
            raise BackendMissing(f"{suffix} needs cairosvg, which cannot be imported here ({error}); {way_out}") from error
    return lambda drawing: make(drawing, cairo)
