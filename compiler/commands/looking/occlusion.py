"""convc look occlusion"""

from __future__ import annotations

from pathlib import Path

import click

from ...files.model import Request
from ...look.occlusion import occlusion
from ..console import Console
from .back import top_class
from .options import Which, Wish, class_option, finish, loaded, look_options, progress, which
from .photographs import for_pictures, one_photograph, read_entering

__all__ = ["command"]


@click.command("occlusion")
@look_options
@click.argument("photo", type=click.Path(path_type=Path))
@class_option
@click.option("--side", type=click.IntRange(1), help="Of the square that covers, in the network's pixels; default: a fifth of the picture.")
@click.option("--stride", type=click.IntRange(1), help="How far it moves; default: a twelfth.")
@click.pass_obj
def command(console: Console, request: Request, asked: Wish, photo: Path, class_: str | None, side: int | None, stride: int | None) -> None:
    """Cover PHOTO square by square, and draw what that takes of a class's score in MODEL (Zeiler & Fergus 2014)."""
    graph = for_pictures(loaded(console, request), photo)
    entering = read_entering(console, request, graph, asked, [photo])
    shot = one_photograph(graph, photo, asked, entering)
    unit, called = which(graph, Which(None, None, None, class_), entering, lambda scores: top_class(graph, scores, shot, asked))
    with progress(console, "covering") as on_step:
        look = occlusion(
            graph, shot, unit.channel, asked.engine(), called=called, side=side, stride=stride, threads=asked.threads, on_step=on_step
        )
    finish(console, asked, "occlusion", request, look, picture=photo.name)
