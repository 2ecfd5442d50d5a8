"""What the commands that go back from a unit to the photograph have in common: deconvnet, guided, gradient."""

from __future__ import annotations

from pathlib import Path

from ....ir.graph import Graph, Node
from ...files.model import Request
from ...look.attribution import projection
from ...look.backward import Way
from ...look.photograph import Photograph
from ...look.running import ending_at, repeated, started
from ..console import Console
from ..pictures import PictureOptions
from .options import Which, Wish, finish, loaded, which
from .photographs import for_pictures, shots_for

__all__ = ["look_back", "top_class"]


def look_back(console: Console, request: Request, asked: Wish, pictures: PictureOptions, photo: Path, meant: Which, way: Way) -> None:
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
