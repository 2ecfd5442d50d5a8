"""convc look filters"""

from __future__ import annotations

import click

from ...files.model import Request
from ...look.filters import MOST, filters
from ..console import Console
from .options import Wish, finish, layer_option, loaded, look_options

__all__ = ["command"]


@click.command("filters")
@look_options
@layer_option(required=False, about="A 2-D convolution; default: the first.")
@click.option("--most", type=click.IntRange(1), default=MOST, show_default=True, help="How many to draw.")
@click.option("--scale", type=click.IntRange(1, 64), help="Pixels for each weight; default: as many as make filters legible.")
@click.pass_obj
def command(console: Console, request: Request, asked: Wish, layer: str | None, most: int, scale: int | None) -> None:
    """Draw the filters of a convolution of MODEL as a grid, those that read three channels in colour."""
    finish(console, asked, filters(loaded(console, request), layer or "", most, scale))
