"""convc look maps"""

from __future__ import annotations

import click

from ...look.maps import MOST, activation_maps
from .one_photograph import Seen, photo_options
from .options import layer_option

__all__ = ["command"]


@click.command("maps")
@photo_options
@layer_option(required=True, about="Whose maps.")
@click.option("--most", type=click.IntRange(1), default=MOST, show_default=True, help="How many to draw: the strongest.")
@click.option("--scale", type=click.IntRange(1, 64), help="Pixels for each value; default: as many as make maps legible.")
@click.option("--common", is_flag=True, help="One range of colours for all; default: each map its own.")
def command(seen: Seen, layer: str, most: int, scale: int | None, common: bool) -> None:
    """Draw what each map of a layer of MODEL answers to PHOTO, as a contact sheet."""
    asked = seen.asked
    look = activation_maps(seen.graph, seen.photo, layer, asked.engine(), most=most, scale=scale, common=common, threads=asked.threads)
    seen.finish(look, picture=seen.photo.name)
