"""convc look maps"""

from __future__ import annotations

from pathlib import Path

import click

from ...files.model import Request
from ...look.maps import MOST, activation_maps
from ..console import Console
from ..pictures import PictureOptions, picture_options
from .options import Wish, finish, layer_option, loaded, look_options
from .photographs import for_pictures, shots_for

__all__ = ["command"]


@click.command("maps")
@look_options
@picture_options
@click.argument("photo", type=click.Path(path_type=Path))
@layer_option(required=True, about="Whose maps.")
@click.option("--most", type=click.IntRange(1), default=MOST, show_default=True, help="How many to draw: the strongest.")
@click.option("--scale", type=click.IntRange(1, 64), help="Pixels for each value; default: as many as make maps legible.")
@click.option("--common", is_flag=True, help="One range of colours for all; default: each map its own.")
@click.pass_obj
def command(
    console: Console,
    request: Request,
    asked: Wish,
    pictures: PictureOptions,
    photo: Path,
    layer: str,
    most: int,
    scale: int | None,
    common: bool,
) -> None:
    """Draw what each map of a layer of MODEL answers to PHOTO, as a contact sheet."""
    graph = for_pictures(loaded(console, request), photo)
    shot = shots_for(console, request, graph, [photo], pictures).one(photo)
    look = activation_maps(graph, shot, layer, asked.engine(), most=most, scale=scale, common=common, threads=asked.threads)
    finish(console, asked, look, picture=photo.name)
