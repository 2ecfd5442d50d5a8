"""What the commands that go back from a unit to the photograph have in common: deconvnet, guided, gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import click

from ....ir.graph import Graph, Node
from ...files.model import Request
from ...look.attribution import projection, projections
from ...look.backward import Way
from ...look.photograph import Photograph
from ...look.running import ending_at, repeated, started
from ..console import Console
from ..options import gather
from ..pictures import PictureOptions, picture_options
from .options import Which, Wish, at_option, class_option, finish, layer_option, loaded, look_options, units_option, which
from .photographs import for_pictures, shots_for

__all__ = ["back_command", "top_class"]

WHOSE = "A unit is --layer with --unit, at its strongest place or --at another; else it is a class, before the softmax. Of several units\
 each is drawn, in a grid."


@dataclass(frozen=True, slots=True)
class Backward:
    """What is taken back: units of a layer, or a class by number or by a name of `labels`."""

    layer: str | None
    units: tuple[int, ...]
    at: tuple[int, ...] | None
    class_: str | None
    labels: Path | None

    @property
    def which(self) -> Which:
        """Where it is one."""
        return Which(self.layer, self.units[0] if self.units else None, self.at, self.class_)


def _look_back(console: Console, request: Request, asked: Wish, pictures: PictureOptions, photo: Path, meant: Backward, way: Way) -> None:
    graph = for_pictures(loaded(console, request), photo)
    shots = shots_for(console, request, graph, [photo], pictures, meant.labels)
    shot = shots.one(photo)
    unit, called = which(graph, meant.which, shots.classes, lambda scores: top_class(graph, scores, shot, asked))
    if len(meant.units) > 1:
        units = [replace(unit, channel=channel) for channel in meant.units]
        look = projections(graph, shot, units, way, asked.engine(), threads=asked.threads)
    else:
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
    @units_option
    @at_option
    @class_option
    @gather("meant", Backward)
    @click.pass_obj
    def command(
        console: Console,
        request: Request,
        asked: Wish,
        pictures: PictureOptions,
        photo: Path,
        meant: Backward,
    ) -> None:
        _look_back(console, request, asked, pictures, photo, meant, way)

    return command
