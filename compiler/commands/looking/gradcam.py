"""convc look gradcam"""

from __future__ import annotations

import click

from ...look.cam import class_map
from .one_photograph import Seen, photo_options
from .options import Which, class_option, layer_option

__all__ = ["command"]


@click.command("gradcam")
@photo_options
@class_option
@layer_option(required=False, about="Whose maps; default: the last before the classes.")
def command(seen: Seen, class_: str | None, layer: str | None) -> None:
    """Draw where the maps of a layer of MODEL speak for a class, over PHOTO (Selvaraju et al. 2017)."""
    unit, called = seen.meant(Which(class_=class_))
    asked = seen.asked
    look = class_map(seen.graph, seen.photo, unit.channel, asked.engine(), layer=layer or "", called=called, threads=asked.threads)
    seen.finish(look, picture=seen.photo.name)
