"""convc look occlusion"""

from __future__ import annotations

import click

from ...look.occlusion import occlusion
from .one_photograph import Seen, photo_options
from .options import Which, class_option

__all__ = ["command"]


@click.command("occlusion")
@photo_options
@class_option
@click.option("--side", type=click.IntRange(1), help="Of the square that covers, in the network's pixels; default: a fifth of the picture.")
@click.option("--stride", type=click.IntRange(1), help="How far it moves, in the same pixels; default: a twelfth.")
def command(seen: Seen, class_: str | None, side: int | None, stride: int | None) -> None:
    """Cover PHOTO square by square, and draw what that takes of a class's score in MODEL (Zeiler & Fergus 2014)."""
    unit, called = seen.meant(Which(class_=class_))
    asked = seen.asked
    look = occlusion(seen.graph, seen.photo, unit.channel, asked.engine(), called=called, side=side, stride=stride, threads=asked.threads)
    seen.finish(look, picture=seen.photo.name)
