"""convc look deconvnet"""

from __future__ import annotations

from pathlib import Path

import click

from ...files.model import Request
from ...look.backward import DECONVNET
from ..console import Console
from ..pictures import PictureOptions, picture_options
from .back import look_back
from .options import Which, Wish, at_option, class_option, layer_option, look_options, unit_option

__all__ = ["command"]


@click.command("deconvnet")
@look_options
@picture_options
@click.argument("photo", type=click.Path(path_type=Path))
@layer_option(required=False, about="Whose unit.")
@unit_option(required=False)
@at_option
@class_option
@click.pass_obj
def command(
    console: Console,
    request: Request,
    asked: Wish,
    pictures: PictureOptions,
    photo: Path,
    layer: str | None,
    unit: int | None,
    at: tuple[int, ...] | None,
    class_: str | None,
) -> None:
    """Take what excites a unit of MODEL back to PHOTO by transposed filters and remembered switches (Zeiler & Fergus 2014).

    A unit is --layer with --unit, at its strongest place or --at another; else it is a class, before the softmax.
    """
    look_back(console, request, asked, pictures, photo, Which(layer, unit, at, class_), DECONVNET)
