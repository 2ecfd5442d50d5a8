"""convc look occlusion"""

from __future__ import annotations

from pathlib import Path

import click

from ...files.model import Request
from ...look.occlusion import occlusion
from ..console import Console
from ..pictures import PictureOptions, picture_options
from .back import top_class
from .options import Which, Wish, class_option, finish, loaded, look_options, which
from .photographs import for_pictures, shots_for

__all__ = ["command"]


@click.command("occlusion")
@look_options
@picture_options
@click.argument("photo", type=click.Path(path_type=Path))
@class_option
@click.option("--side", type=click.IntRange(1), help="Of the square that covers, in the network's pixels; default: a fifth of the picture.")
@click.option("--stride", type=click.IntRange(1), help="How far it moves, in the same pixels; default: a twelfth.")
@click.pass_obj
def command(
    console: Console,
    request: Request,
    asked: Wish,
    pictures: PictureOptions,
    photo: Path,
    class_: str | None,
    labels: Path | None,
    side: int | None,
    stride: int | None,
) -> None:
    """Cover PHOTO square by square, and draw what that takes of a class's score in MODEL (Zeiler & Fergus 2014)."""
    graph = for_pictures(loaded(console, request), photo)
    shots = shots_for(console, request, graph, [photo], pictures, labels)
    shot = shots.one(photo)
    unit, called = which(graph, Which(None, None, None, class_), shots.classes, lambda scores: top_class(graph, scores, shot, asked))
    look = occlusion(graph, shot, unit.channel, asked.engine(), called=called, side=side, stride=stride, threads=asked.threads)
    finish(console, asked, look, picture=photo.name)
