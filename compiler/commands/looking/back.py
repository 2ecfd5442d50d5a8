"""What the commands that go back from a unit to the photograph have in common: deconvnet, guided, gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import click

from ...look.attribution import projection, projections
from ...look.backward import Way
from ..options import gather
from .one_photograph import Seen, photo_options
from .options import Which, at_option, class_option, layer_option, units_option

__all__ = ["back_command"]

WHOSE = "A unit is --layer with --unit, at its strongest place or --at another; else it is a class, before the softmax. Of several units\
 each is drawn, in a grid."


@dataclass(frozen=True, slots=True)
class Backward:
    """What is taken back: units of a layer, or a class by number or name."""

    layer: str | None
    units: tuple[int, ...]
    at: tuple[int, ...] | None
    class_: str | None

    @property
    def which(self) -> Which:
        """Where it is one."""
        return Which(self.layer, self.units[0] if self.units else None, self.at, self.class_)


def _look_back(seen: Seen, meant: Backward, way: Way) -> None:
    graph, shot, asked = seen.graph, seen.photo, seen.asked
    unit, called = seen.meant(meant.which)
    if len(meant.units) > 1:
        units = [replace(unit, channel=channel) for channel in meant.units]
        look = projections(graph, shot, units, way, asked.engine(), threads=asked.threads)
    else:
        look = projection(graph, shot, unit, way, asked.engine(), called=called, threads=asked.threads)
    seen.finish(look, picture=shot.name)


def back_command(name: str, way: Way, about: str) -> click.Command:
    """`convc look NAME`: what `way` takes back of a unit or a class, over a photograph; `about` is its line in the help."""

    @click.command(name, help=f"{about}\n\n{WHOSE}")
    @photo_options
    @layer_option(required=False, about="Whose unit.")
    @units_option
    @at_option
    @class_option
    @gather("meant", Backward)
    def command(seen: Seen, meant: Backward) -> None:
        _look_back(seen, meant, way)

    return command
