"""What the commands that look at one photograph have in common: its options, and how they begin and end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ....ir.graph import Graph, Node
from ...files.model import Request
from ...look.photograph import Photograph
from ...look.running import ending_at, repeated, started
from ...look.sheet import Look
from ...look.units import Unit
from ..console import Console
from ..pictures import PictureOptions, picture_options
from .options import Which, Wish, finish, loaded, look_options, which
from .photographs import for_pictures, shots_for

__all__ = ["Seen", "photo_options"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A network, the photograph that it is shown, and what its `classes` are called, where that is known."""

    console: Console
    asked: Wish
    graph: Graph
    photo: Photograph
    classes: tuple[str, ...]

    def meant(self, asked: Which) -> tuple[Unit, str]:
        """As `which`: where none is named, the class with the highest score."""
        return which(self.graph, asked, self.classes, self._top_class)

    def _top_class(self, scores: Node) -> int:
        run = started(ending := ending_at(self.graph, [scores.name]), self.asked.engine(), self.asked.threads)
        values = run({ending.inputs[0].name: repeated(ending, self.photo.values)})[scores.name]
        return int(values.reshape(values.shape[0], values.shape[1], -1).mean(2)[0].argmax())

    def finish(self, look: Look, **more: Any) -> None:
        finish(self.console, self.asked, look, **more)


def photo_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """MODEL, what every look is asked, PHOTO and how it is prepared. The command receives one `seen`, which knows what `--labels` say."""

    def shown(
        console: Console, request: Request, asked: Wish, pictures: PictureOptions, photo: Path, labels: Path | None = None, **more: Any
    ) -> Any:
        graph = for_pictures(loaded(console, request), photo)
        shots = shots_for(console, request, graph, [photo], pictures, labels)
        return command(seen=Seen(console, asked, graph, shots.one(photo), shots.classes), **more)

    named = click.argument("photo", type=click.Path(path_type=Path))
    return look_options(picture_options(named(click.pass_obj(functools.wraps(command)(shown)))))
