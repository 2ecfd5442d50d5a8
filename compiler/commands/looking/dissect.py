"""convc look dissect"""

from __future__ import annotations

from pathlib import Path

import click

from ...files.model import Request
from ...look.dissect import QUANTILE, dissect
from ..console import Console
from ..options import SHARE
from ..pictures import PictureOptions, picture_options
from .masks import concepts_in, labelled
from .options import Wish, finish, layer_option, loaded, look_options
from .photographs import PhotographReader, for_pictures, photographs_in, shots_for

__all__ = ["command"]


@click.command("dissect")
@look_options
@picture_options
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--masks",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder for each concept, with masks named as the pictures are: white where it is.",
)
@layer_option(required=True, about="Whose units.")
@click.option("--quantile", type=SHARE, default=QUANTILE, show_default=True, help="Share of all places at which a unit counts as on.")
@click.pass_obj
def command(
    console: Console, request: Request, asked: Wish, pictures: PictureOptions, folder: Path, masks: Path, layer: str, quantile: float
) -> None:
    """Hold each unit of a layer of MODEL to the concepts of a folder of masks (Bau et al. 2017): a table of IoU.

    A picture without a mask of some concept does not show it. Masks have their picture's size.
    """
    found, concepts = photographs_in(folder), concepts_in(masks)
    graph = for_pictures(loaded(console, request))
    reading = PhotographReader(console, shots_for(console, request, graph, found, pictures), found)
    shown = labelled(reading, concepts)
    reading.finished()
    look = dissect(graph, shown, layer, asked.engine(), quantile=quantile, threads=asked.threads)
    finish(console, asked, look, skipped=[path.name for path in reading.skipped])
