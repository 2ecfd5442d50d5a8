"""What the commands that go back from a unit to the photograph have in common: deconvnet, guided, gradient."""

from __future__ import annotations

from pathlib import Path

import click

from ....ir.graph import Graph, Node
from ...files.model import Request
from ...look.attribution import projection
from ...look.backward import Way
from ...look.photograph import Photograph
from ...look.running import ending_at, repeated, started
from ..console import Console
from ..pictures import PictureOptions, picture_options
from .options import Which, Wish, at_option, class_option, finish, layer_option, loaded, look_options, unit_option, which
from .photographs import for_pictures, shots_for

__all__ = ["back_command", "top_class"]

WHOSE = "A unit is --layer with --unit, at its strongest place or --at another; else it is a class, before the softmax."


def _look_back(console: Console, request: Request, asked: Wish, pictures: PictureOptions, photo: Path, meant: Which, way: Way) -> None:
    graph = for_pictures(loaded(console, request), photo)
    shots = shots_for(console, request, graph, [photo], pictures)
    shot = shots.one(photo)
    unit, called = which(graph, meant, shots.classes, lambda scores: top_class(graph, scores, shot, asked))
    look = projection(graph, shot, unit, way, asked.engine(), called=called, threads=asked.threads)
    finish(console, asked, look, picture=photo.name)


def top_class(graph: Graph, scores: Node, photo: Photograph, asked: Wish) -> int:
    """The class with the highest score."""
    run = started(seen := ending_at(graph, [scores.name]), asked.engine(), asked.threads)
    values = run({seen.inputs[0].name: repeated(seen, photo.values)})[scores.name]
    return int(values.reshape(values.shape[0], values.shape[1], -1).mean(2)[0].argmax())


def back_command(name: str, way: Way, about: str) -> click.Command:
    """`convc look NAME`: what `way` takes back of a unit or a class, over a photograph; `about` is its line in the help."""

    @click.command(name, help=f"{about}\n\n{WHOSE}")
    @look_options
    @picture_options
    @click.argument("photo", type=click.Path(path_type=Path))
    @layer_option(required=False, about="Whose unit.")
    @unit_option(required=False)
    @at_option
    @class_option
    @click.pass_obj
    def command(
        console: Console,
        request: Request,
        asked: Wish,
        pictures: PictureOptions,
        photo: Path,
        layer: str | None,
        unit: int | None,
        at: tuple[int, ...] | None,
        class_: str | None,
    ) -> None:
        _look_back(console, request, asked, pictures, photo, Which(layer, unit, at, class_), way)

    return command
