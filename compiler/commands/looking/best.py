"""convc look best"""

from __future__ import annotations

from pathlib import Path

import click

from ...files.model import Request
from ...look.strongest import best_pictures
from ...look.units import Unit
from ..console import Console
from ..pictures import PictureOptions, picture_options
from .options import Wish, at_option, finish, layer_option, loaded, look_options, unit_option
from .photographs import PhotographReader, for_pictures, photographs_in, shots_for

__all__ = ["command"]


@click.command("best")
@look_options
@picture_options
@click.argument("folder", type=click.Path(path_type=Path))
@layer_option(required=True, about="Whose unit.")
@unit_option(required=True)
@at_option
@click.option("--most", type=click.IntRange(1, 64), default=9, show_default=True, help="How many pictures.")
@click.pass_obj
def command(
    console: Console,
    request: Request,
    asked: Wish,
    pictures: PictureOptions,
    folder: Path,
    layer: str,
    unit: int,
    at: tuple[int, ...] | None,
    most: int,
) -> None:
    """Find the pictures of FOLDER that excite a unit of MODEL most, each with what the unit sees of it."""
    found = photographs_in(folder)
    graph = for_pictures(loaded(console, request))
    reading = PhotographReader(console, shots_for(console, request, graph, found, pictures), found)
    look = best_pictures(graph, reading, Unit(layer, unit, at), asked.engine(), most=most, threads=asked.threads)
    reading.finished()
    finish(console, asked, look, skipped=[path.name for path in reading.skipped])
