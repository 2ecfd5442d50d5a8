"""convc look unit"""

from __future__ import annotations

from pathlib import Path

import click

from ...files.model import Request
from ...look.strongest import unit_field
from ...look.units import Unit
from ..console import Console
from ..pictures import PictureOptions, picture_options
from .options import Wish, at_option, finish, layer_option, loaded, look_options, unit_option
from .photographs import for_pictures, shots_for

__all__ = ["command"]


@click.command("unit")
@look_options
@picture_options
@click.argument("photo", type=click.Path(path_type=Path))
@layer_option(required=True, about="Whose unit.")
@unit_option(required=True)
@at_option
@click.pass_obj
def command(
    console: Console,
    request: Request,
    asked: Wish,
    pictures: PictureOptions,
    photo: Path,
    layer: str,
    unit: int,
    at: tuple[int, ...] | None,
) -> None:
    """Rectangle what a unit of MODEL sees of PHOTO: its receptive field (Araujo et al. 2019), and what lies in it."""
    graph = for_pictures(loaded(console, request), photo)
    shot = shots_for(console, request, graph, [photo], pictures).one(photo)
    finish(console, asked, unit_field(graph, shot, Unit(layer, unit, at), asked.engine(), asked.threads))
