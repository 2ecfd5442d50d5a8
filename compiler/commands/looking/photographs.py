"""Photographs for a look: one, or a folder of them, in the size that the network takes and in the one that is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ....ir.binding import specialize
from ....ir.dims import alone
from ....ir.errors import InvalidInput, InvalidModel, UsageError
from ....ir.graph import Graph
from ....ir.legible import legible, quoted
from ....ir.types import Array
from ....ir.usual_sizes import usual_sizes
from ...files.entering import Entering
from ...files.images import IMAGENET_MEAN, IMAGENET_STD, NOT_AN_IMAGE, is_image, load_image, opened_upright
from ...files.model import Request
from ...look.maximize import Pixels
from ...look.photograph import Photograph
from ...look.units import image_of
from ..console import Console
from ..pictures import entering_from
from .options import Wish

__all__ = ["PhotographReader", "for_pictures", "one_photograph", "photograph", "photographs_in", "pixels_of", "read_entering"]

DRAWN = (320, 560)  # rows or columns that a photograph is drawn with: enlarged to the first, reduced to the second
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
        with opened_upright(path) as picture:
            return picture.height, picture.width
    except FileNotFoundError as error:
        raise UsageError(f"there is no file '{legible(path)}'") from error
    except NOT_AN_IMAGE as error:
        raise InvalidInput(f"'{legible(path)}' cannot be read as an image: {legible(error)}") from error


def read_entering(console: Console, request: Request, graph: Graph, asked: Wish, files: Sequence[Path]) -> Entering | None:
    """How pictures enter. Raises: as `entering_from`."""
    return entering_from(console, request, graph, map(str, files), imagenet=asked.imagenet)


def one_photograph(graph: Graph, path: Path, asked: Wish, entering: Entering | None) -> Photograph:
    """Raises: UsageError for a file that is not there or no photograph's name; InvalidInput for one that cannot be read."""
    if not is_image(path):
        raise UsageError(f"'{legible(path)}' is no photograph; give a .jpg or .png")
    return photograph(graph, path, asked, entering)


def photograph(graph: Graph, path: Path, asked: Wish, entering: Entering | None) -> Photograph:
    """Raises: as `load_image`."""
    from PIL import Image

    image = image_of(graph)
    values = load_image(path, image.typed, resize=True, imagenet=asked.imagenet, entering=entering)
    with opened_upright(path) as upright:
        picture = upright.convert("RGB")
        shrink = max(1.0, max(picture.size) / DRAWN[1])
        grow = max(1.0, DRAWN[0] / max(picture.size))
        size = tuple(max(1, round(side * grow / shrink)) for side in picture.size)
        drawn = picture if size == picture.size else picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        return Photograph(path.name, values, np.asarray(drawn))


def photographs_in(folder: Path) -> tuple[Path, ...]:
    """The files of a folder, and of those in it, that have the name of a picture.

    Raises: UsageError where it is no folder; InvalidInput where it has none.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder '{legible(folder)}'" if not folder.exists() else f"'{legible(folder)}' is no folder; give one of pictures"
        )
    found = sorted(path for path in folder.rglob("*") if is_image(path) and path.is_file() and not path.name.startswith("."))
    if not found:
        raise InvalidInput(f"'{legible(folder)}' has no pictures, such as .jpg or .png; put some there")
    if len(found) > MOST:
        raise InvalidInput(f"'{legible(folder)}' has {len(found):,} pictures, expected at most {MOST:,}; give a part of them")
    return tuple(found)


class PhotographReader:
    """Photographs one after another; broken ones are named, the first few, skipped and counted."""

    def __init__(self, console: Console, graph: Graph, paths: Sequence[Path], asked: Wish, entering: Entering | None) -> None:
        self.console, self.graph, self.paths, self.asked, self.entering = console, graph, paths, asked, entering
        self.skipped: list[Path] = []

    def __iter__(self) -> Iterator[Photograph]:
        return (photo for _, photo in self.with_paths())

    def with_paths(self) -> Iterator[tuple[Path, Photograph]]:
        for path in self.paths:
            try:
                found = photograph(self.graph, path, self.asked, self.entering)
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


def pixels_of(graph: Graph, asked: Wish, entering: Entering | None) -> Pixels:
    """How a grey pixel enters. Raises: InvalidModel where the picture's channels have no number."""
    channels = image_of(graph).typed.shape[1]
    if not isinstance(channels, int):
        raise InvalidModel(f"@{legible(graph.name)} takes pictures of {channels} channels; give a number with --input")
    if entering is not None:
        return Pixels(_row(entering.mean, channels), _row(entering.deviation, channels))
    if asked.imagenet and channels == 3:
        return Pixels(np.array(IMAGENET_MEAN), np.array(IMAGENET_STD))
    return Pixels(np.zeros(channels), np.ones(channels))


def _row(values: Sequence[float], channels: int) -> Array:
    return np.broadcast_to(np.array(values, np.float64), (channels,))
