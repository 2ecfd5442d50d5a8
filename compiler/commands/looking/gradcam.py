"""convc look gradcam"""

from __future__ import annotations

from pathlib import Path

import click

from ...files.model import Request
from ...look.cam import class_map
from ..console import Console
from ..pictures import PictureOptions, picture_options
from .back import top_class
from .options import Which, Wish, class_option, finish, layer_option, loaded, look_options, which
from .photographs import for_pictures, shots_for

__all__ = ["command"]


@click.command("gradcam")
@look_options
@picture_options
@click.argument("photo", type=click.Path(path_type=Path))
@class_option
@layer_option(required=False, about="Whose maps; default: the last before the classes.")
@click.pass_obj
def command(
    console: Console,
    request: Request,
    asked: Wish,
    pictures: PictureOptions,
    photo: Path,
    class_: str | None,
    labels: Path | None,
    layer: str | None,
) -> None:
    """Draw where the maps of a layer of MODEL speak for a class, over PHOTO (Selvaraju et al. 2017)."""
    graph = for_pictures(loaded(console, request), photo)
    shots = shots_for(console, request, graph, [photo], pictures, labels)
    shot = shots.one(photo)
    unit, called = which(graph, Which(None, None, None, class_), shots.classes, lambda scores: top_class(graph, scores, shot, asked))
    look = class_map(graph, shot, unit.channel, asked.engine(), layer=layer or "", called=called, threads=asked.threads)
    finish(console, asked, look, picture=photo.name)
