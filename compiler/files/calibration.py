"""Calibration inputs: photographs, cropped and mirrored, or arrays; some are held out to measure on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...ir.binding import as_declared, as_typed, batch_names, match_inputs
from ...ir.dims import symbol
from ...ir.errors import InvalidInput, UsageError
from ...ir.graph import Graph
from ...ir.memory import need_bytes
from ...ir.types import Array, TensorType
from .images import AS_THEY_ARE, Preparing
from .inputs import random_inputs, say_casts
from .photographs import Notes, Said, photographs_in, read_photographs
from .weights import load_arrays

__all__ = ["MOST_IMAGES", "Calibration", "Inputs", "batched", "calibration_of", "read_calibration"]

MOST_IMAGES = 10_000
SMALLEST_CROP = 0.5  # of the largest crop of that form
USUAL_SIDE = 224  # pixels, of an input whose size is only a name
HELD_OUT = 4  # one in so many inputs of an .npz file


class Inputs(NamedTuple):
    """How calibration inputs are asked for; the same ones give the same inputs. What follows the seed is of photographs, and means what it
    does to `convc run`.
    """

    files: tuple[str, ...]
    images: int = 32
    seed: int = 0
    imagenet: bool = False
    resize: bool = False
    preprocess: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Calibration:
    """Inputs to fit on and inputs held out, by name, images along the first axis.

    `is_real` is False for random values, by which weights are not whitened.
    """

    fit: Mapping[str, Array]
    held_out: Mapping[str, Array]
    is_real: bool = True

    def batches(self, graph: Graph, most: int) -> Iterator[dict[str, Array]]:
        """The inputs to fit on, `most` images at a time, or as many as the graph's own batch."""
        yield from batched(graph, self.fit, most)


def _own_batch(graph: Graph) -> int | None:
    """The batch that the network's inputs fix, None where it is a name."""
    first = graph.inputs[0].typed.shape[0] if graph.inputs and graph.inputs[0].typed.rank else 1
    return first if isinstance(first, int) else None


def _length(arrays: Mapping[str, Array]) -> int:
    return len(next(iter(arrays.values())))


def batched(graph: Graph, arrays: Mapping[str, Array], most: int) -> Iterator[dict[str, Array]]:
    step = _own_batch(graph) or most
    for at in range(0, _length(arrays), step):
        yield {name: array[at : at + step] for name, array in arrays.items()}


def read_calibration(
    graph: Graph,
    files: Sequence[str],
    images: int = 32,
    seed: int = 0,
    preparing: Preparing = AS_THEY_ARE,
    say: Said | None = None,
) -> Calibration:
    """`images` crops of photographs, of folders too, the last photograph's held out; or the rows of an .npz file, one in four held out.

    Crops are of any size and place. Where `preparing` says how photographs are scaled, what they show is as large in all of them as it is
    when the network is run, and only the place differs.

    Without files, random values.

    Raises: UsageError for files that are not there; InvalidInput for files that do not fit the network, or that hold one input only.
    """
    if not files:
        count = 2 * (_own_batch(graph) or 2)
        arrays = random_inputs(graph, seed, dict.fromkeys(batch_names(graph), count))
        return Calibration(arrays, arrays, is_real=False)
    found = {file: photographs_in(file) for file in files}
    paths = [path for each in found.values() for path in each or ()]
    others = [file for file, each in found.items() if each is None]
    if paths and others:
        other = others[0]
        raise UsageError(f"--calibration takes photographs or one .npz file, not both: '{other}' is no photograph and stands beside some")
    if paths:
        fit, held_out = _photographs(graph, paths, images, seed, preparing, say)
    elif len(files) == 1:
        return _of_file(graph, Path(files[0]), say)
    else:
        raise UsageError("--calibration takes one .npz file; put all inputs into it, along the first axis")
    return Calibration(fit, held_out)


def _of_file(graph: Graph, path: Path, say: Said | None) -> Calibration:
    """What cannot fit is refused before it is read."""
    source = f"'{path}'"

    def choose(unread: Mapping[str, Array]) -> Collection[str]:
        arrays = _in_rows(graph, unread, source)
        _match_rows(graph, as_typed(graph, arrays), source)
        return unread.keys()

    return calibration_of(graph, load_arrays(path, choose), source, say)


def _photographs(
    graph: Graph, paths: Sequence[Path], images: int, seed: int, preparing: Preparing, say: Said | None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Crops of random size and place, some mirrored. The last photograph is held out where there is another."""
    if len(graph.inputs) != 1:
        raise InvalidInput(f"@{graph.name} has {len(graph.inputs)} inputs; photographs serve one, so give an .npz file")
    (node,) = graph.inputs
    if node.typed.rank != 4:
        raise InvalidInput(f"input '{node.name}' is {node.typed}, which is not an image; give an .npz file")
    whole = TensorType(node.typed.dtype, (1, node.typed.shape[1], symbol("H"), symbol("W")))
    notes = Notes()
    normalizing = Preparing(entering=preparing.entering)
    read = [read_photographs([path], whole, normalizing, notes, skip=len(paths) > 1)[0] for path in paths]
    pictures = [each[0] for each in read if len(each)]
    if not pictures:
        raise InvalidInput(f"none of {len(paths)} photographs can be used; the first: {notes.skipped[0][1]}")
    if say is not None:
        notes.say(say)
    size = tuple(dim if isinstance(dim, int) else USUAL_SIDE for dim in node.typed.shape[2:])
    draws, step = np.random.default_rng(seed), _own_batch(graph) or 1

    def crops(sources: Sequence[Array], count: int) -> Array:
        numbers = range(max(count // step, 1) * step)
        return np.stack([_crop(sources[i % len(sources)], (size[0], size[1]), preparing.scaled, draws) for i in numbers])

    return {node.name: crops(pictures[:-1] or pictures, images)}, {node.name: crops(pictures[-1:], images // HELD_OUT)}


def _crop(picture: Array, size: tuple[int, int], scaled: float | None, draws: np.random.Generator) -> Array:
    """A part of the photograph [C,H,W] in the form of the input, scaled to it, mirrored every other time: the largest such part is `scaled`
    times as large.
    """
    from PIL import Image

    height, width = (int(side) for side in picture.shape[1:])
    largest = min(height / size[0], width / size[1])
    scale = largest * draws.uniform(SMALLEST_CROP, 1.0) if scaled is None else largest / scaled
    top, left = float(draws.uniform(0, height - scale * size[0])), float(draws.uniform(0, width - scale * size[1]))
    box = (left, top, left + scale * size[1], top + scale * size[0])
    planes = [np.asarray(Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BILINEAR, box)) for plane in picture]
    part = np.stack(planes)
    return np.ascontiguousarray(part[:, :, ::-1] if draws.random() < 0.5 else part)


def calibration_of(graph: Graph, arrays: Mapping[str, Array], source: str = "the calibration", say: Said | None = None) -> Calibration:
    """Rows of arrays, by the names of inputs or one for the only input; one in HELD_OUT, spread evenly, is held out. Floats of
    another width are cast to the input's type, and `say` hears of it.

    Raises: InvalidInput, naming the `source`, for arrays that do not fit the network, or that hold one input only.
    """
    arrays = _in_rows(graph, arrays, source)
    step = _own_batch(graph) or 1
    given, arrays = arrays, _fitting(graph, arrays, source)
    if say is not None:
        say_casts(given, arrays, say, source)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InvalidInput(f"{source}: '{name}' holds NaN or infinity")
    count = _length(arrays)
    distinct = min(count, 1 + any((array[i] != array[0]).any() for array in arrays.values() for i in range(1, count)))
    if distinct < 2:
        raise InvalidInput(f"{source} holds {distinct} distinct input; a calibration needs at least 2, and 32 are a good number")
    groups = np.arange(count // step)
    if len(groups) < 2:
        raise InvalidInput(f"{source} holds {count} inputs, and the network takes {step} at a time; give at least {2 * step}")
    out = groups % HELD_OUT == HELD_OUT - 1 if len(groups) >= HELD_OUT else groups == groups[-1]

    need_bytes(f"{source}, to fit on and held out,", sum(array.nbytes for array in arrays.values()), "give fewer inputs")

    def taken(chosen: Array) -> dict[str, Array]:
        at = (chosen[:, None] * step + np.arange(step)).ravel()
        return {name: array[at] for name, array in arrays.items()}

    return Calibration(taken(groups[~out]), taken(groups[out]))


def _in_rows(graph: Graph, arrays: Mapping[str, Array], source: str) -> Mapping[str, Array]:
    """By input, as many rows of each. Raises: InvalidInput, naming the source."""
    if len(arrays) == len(graph.inputs) == 1:
        arrays = {graph.inputs[0].name: next(iter(arrays.values()))}
    for name, array in arrays.items():
        if not array.ndim:
            raise InvalidInput(f"{source}: '{name}' is a single number; give inputs along the first axis of an array")
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        raise InvalidInput(f"{source} holds {', '.join(f'{count} of {name}' for name, count in rows.items())}; give as many of each input")
    return arrays


def _fitting(graph: Graph, arrays: Mapping[str, Array], source: str) -> dict[str, Array]:
    """The arrays in the float types of the inputs. Raises: InvalidInput, naming the source, for some that the network does not take."""
    try:
        arrays = as_declared(graph, arrays)
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}") from error
    _match_rows(graph, arrays, source)
    return arrays


def _match_rows(graph: Graph, arrays: Mapping[str, Array], source: str) -> None:
    try:
        match_inputs(graph, {name: array[: _own_batch(graph)] for name, array in arrays.items()})
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}") from error
