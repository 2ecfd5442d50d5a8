"""convc look maximize"""

from __future__ import annotations

from pathlib import Path

import click

from ....ir.errors import UsageError
from ....ir.graph import Node
from ...files.model import Request
from ...look.ascent import DECAY
from ...look.maximize import STEPS, maximize
from ..console import Console
from ..options import Number
from ..pictures import PictureOptions, picture_options
from .options import Which, Wish, class_option, finish, layer_option, loaded, look_options, unit_option, which
from .photographs import for_pictures, pixels_of, shots_for

__all__ = ["command"]


@click.command("maximize")
@look_options
@picture_options
@layer_option(required=False, about="Whose unit.")
@unit_option(required=False)
@class_option
@click.option("--steps", type=click.IntRange(1, 10_000), default=STEPS, show_default=True, help="Of gradient ascent.")
@click.option("--decay", type=Number(0, 1), default=DECAY, show_default=True, help="L2: how much of the picture a step takes away.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the noise that it begins with.")
@click.pass_obj
def command(
    console: Console,
    request: Request,
    asked: Wish,
    pictures: PictureOptions,
    layer: str | None,
    unit: int | None,
    class_: str | None,
    labels: Path | None,
    steps: int,
    decay: float,
    seed: int,
) -> None:
    """Climb to the picture that a class or a unit of MODEL likes best (Simonyan et al. 2014)."""
    graph = for_pictures(loaded(console, request))
    shots = shots_for(console, request, graph, [], pictures, labels)
    meant, called = which(graph, Which(layer, unit, class_=class_), shots.classes, _unnamed)
    look = maximize(
        graph, meant, pixels_of(shots), asked.engine(), called=called, steps=steps, decay=decay, seed=seed, threads=asked.threads
    )
    finish(console, asked, look)


def _unnamed(scores: Node) -> int:
    raise UsageError("maximize has no photograph to ask for a class; give --class, or --layer and --unit")
