"""Photographs for a look: one, or a folder of them, in the size that the network takes and in the one that is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....ir.binding import specialize
from ....ir.dims import alone
from ....ir.errors import InvalidInput, InvalidModel, UsageError
from ....ir.graph import Graph
from ....ir.legible import legible, quoted
from ....ir.progress import each
from ....ir.suggest import not_there
from ....ir.types import TensorType
from ....ir.usual_sizes import usual_sizes
from ...files.entering import entering_of
from ...files.images import NOT_AN_IMAGE, Preparing, is_image, load_views, upright_size
from ...files.model import Request
from ...look.maximize import Pixels
from ...look.photograph import Photograph
from ...look.units import image_of
from ..console import Console
from ..pictures import PictureOptions, labels_in, preparing_from

__all__ = ["DRAWN", "PhotographReader", "Shots", "for_pictures", "photographs_in", "pixels_of", "shots_for"]

DRAWN = 448  # rows or columns that a photograph is drawn with, or nearly
NAMED = 3  # broken files that are named; all are counted
MOST = 100_000  # files


def for_pictures(graph: Graph, photo: Path | None = None) -> Graph:
    """The graph with numbers for named rows and columns: the photograph's, where they fit, else usual ones. A named batch stays.

    Raises: InvalidModel as `image_of`, or for more than images that have no size.
    """
    image = image_of(graph)
    batch = alone(image.typed.shape[0])
    others = [name for name in graph.symbols if name != batch]
    if not others:
        return graph
    rows, cols = (alone(dim) for dim in image.typed.shape[2:])
    given = {}
    if photo is not None and rows and cols and rows != cols:
        given = dict(zip((rows, cols), _size_of(photo), strict=True))
    sizes = usual_sizes(graph, given)
    return specialize(graph, {name: sizes[name] for name in others})


def _size_of(path: Path) -> tuple[int, int]:
    try:
        cols, rows = upright_size(path)
        return rows, cols
    except FileNotFoundError as error:
        raise UsageError(not_there(path)) from error
    except NOT_AN_IMAGE as error:
        raise InvalidInput(f"'{legible(path)}' cannot be read as an image: {legible(error)}") from error


@dataclass(frozen=True, slots=True)
class Shots:
    """How photographs are read for a network, and what its classes are called."""

    graph: Graph
    preparing: Preparing
    classes: tuple[str, ...] = ()

    def one(self, path: Path) -> Photograph:
        """Raises: UsageError for a file that is not there or no photograph's name; InvalidInput for one that cannot be read."""
        if not is_image(path):
            raise UsageError(f"'{legible(path)}' is no photograph; give a .jpg or .png")
        return self.read(path)

    def read(self, path: Path) -> Photograph:
        """Drawn is what the network gets, the same part of the photograph with more pixels.

        Raises: as `load_image`.
        """
        image = image_of(self.graph).typed
        rows, cols = (dim for dim in image.shape[2:] if isinstance(dim, int))
        times = max(1, round(DRAWN / max(rows, cols)))
        drawn = TensorType("f32", (1, 3, rows * times, cols * times))
        values, shown = load_views(path, [(image, self.preparing), (drawn, Preparing(self.preparing.scaled))])
        return Photograph(path.name, values, np.rint(shown[0].transpose(1, 2, 0) * 255).astype(np.uint8))


def shots_for(
    console: Console, request: Request, graph: Graph, files: Sequence[Path], pictures: PictureOptions, labels: Path | None = None
) -> Shots:
    """By the options, else the weights. A photograph is scaled to the input, and its middle cut out; `labels` are names of the classes.

    Raises: as `preparing_from` and `labels_in`.
    """
    found = preparing_from(console, request, graph, map(str, files), pictures)
    said = entering_of(request.weights, graph)
    classes = labels_in(labels, graph) if labels is not None else said.classes if said is not None else ()
    return Shots(graph, Preparing(found.scaled or 1.0, found.entering), classes)


def photographs_in(folder: Path) -> tuple[Path, ...]:
    """The files of a folder, and of those in it, that have the name of a picture.

    Raises: UsageError where it is no folder; InvalidInput where it has none.
    """
    if not folder.is_dir():
        raise UsageError(f"'{legible(folder)}' is no folder; give one of pictures" if folder.exists() else not_there(folder, "folder"))
    found = sorted(path for path in folder.rglob("*") if is_image(path) and path.is_file() and not path.name.startswith("."))
    if not found:
        raise InvalidInput(f"'{legible(folder)}' has no pictures, such as .jpg or .png; put some there")
    if len(found) > MOST:
        raise InvalidInput(f"'{legible(folder)}' has {len(found):,} pictures, expected at most {MOST:,}; give a part of them")
    return tuple(found)


class PhotographReader:
    """Photographs one after another; broken ones are named, the first few, skipped and counted."""

    def __init__(self, console: Console, shots: Shots, paths: Sequence[Path]) -> None:
        self.console, self.shots, self.paths = console, shots, paths
        self.skipped: list[Path] = []

    def __iter__(self) -> Iterator[Photograph]:
        return (photo for _, photo in self.with_paths())

    def with_paths(self) -> Iterator[tuple[Path, Photograph]]:
        for path in each("photographs", self.paths):
            try:
                found = self.shots.read(path)
            except (InvalidInput, UsageError) as error:
                self.skip(path, str(error))
                continue
            yield path, found

    def skip(self, path: Path, why: str) -> None:
        self.skipped.append(path)
        if len(self.skipped) <= NAMED:
            self.console.say(f"warning: skipped {quoted(path.name)}: {legible(why)}")

    def finished(self) -> None:
        """Says how many were skipped. Raises: InvalidInput where none was left."""
        read = len(self.paths) - len(self.skipped)
        if not read:
            raise InvalidInput(f"none of the {len(self.skipped)} pictures can be read; the first is {quoted(self.skipped[0].name)}")
        if self.skipped:
            self.console.say(f"warning: skipped {len(self.skipped)} of {len(self.paths)} pictures that cannot be read; {read} are left")


def pixels_of(shots: Shots) -> Pixels:
    """How a grey pixel enters. Raises: InvalidModel where the picture's channels have no number."""
    graph, entering = shots.graph, shots.preparing.entering
    channels = image_of(graph).typed.shape[1]
    if not isinstance(channels, int):
        raise InvalidModel(f"@{legible(graph.name)} takes pictures of {channels} channels; give a number with --input")
    if entering is None:
        return Pixels(np.zeros(channels), np.ones(channels))
    if len(entering.mean) != channels:
        raise InvalidModel(
            f"@{legible(graph.name)} takes {channels} channels, and {len(entering.mean)} are normalized, by {entering.source}"
        )
    return Pixels(np.array(entering.mean, np.float64), np.array(entering.deviation, np.float64))
