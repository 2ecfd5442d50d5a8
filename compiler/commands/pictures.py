"""How photographs that a command reads are prepared: as options say, or --weights, where they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ...ir.errors import InvalidInput, UsageError
from ...ir.files import need_plain
from ...ir.graph import Graph
from ...ir.suggest import not_there
from ..files.entering import IMAGENET, Entering, entering_of
from ..files.images import Preparing
from ..files.model import Request
from ..files.photographs import photographs_in
from .console import Console
from .options import gather

__all__ = ["INPUTS", "PictureOptions", "entering_from", "labels_in", "picture_options", "preparing_from", "warn_of_lost"]

INPUTS = "[name=]photo.jpg, a folder of them, '*.jpg', [name=]x.npy, or xs.npz; default: random values."
F = TypeVar("F", bound=Callable[..., Any])
IMAGENET_MARGIN = 256 / 224  # of the shorter side to the middle that is cut out: Krizhevsky et al. 2012, sec. 2, and nearly everybody since
LABEL_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """As `picture_options` has them; its help says what each means."""

    resize: bool = False
    preprocess: str | None = None
    imagenet: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def picture_options(command: F) -> F:
    """How photographs are prepared. The command receives one `pictures`."""
    wrapped = gather("pictures", PictureOptions)(command)
    for decorate in (
        click.option("--std", metavar="R,G,B", callback=_numbers, help="And divide by these; pixels are from 0 to 1."),
        click.option("--mean", metavar="R,G,B", callback=_numbers, help="Take these from the channels of photographs."),
        click.option("--imagenet", is_flag=True, help="--mean and --std of common ImageNet checkpoints."),
        click.option(
            "--preprocess",
            type=click.Choice(["imagenet", "none"]),
            help="imagenet: the shorter side to 256/224 of the input's, its middle, and --imagenet; none: not even what --weights say.",
        ),
        click.option("--resize", is_flag=True, help="Scale photographs to the input's size, and cut out the middle."),
    ):
        wrapped = decorate(wrapped)
    return wrapped


def _numbers(context: click.Context, param: click.Parameter, text: str | None) -> tuple[float, ...]:
    """Raises: UsageError for what is no list of numbers, or is of pixels from 0 to 255."""
    if text is None:
        return ()
    try:
        found = tuple(float(each) for each in text.split(","))
    except ValueError as error:
        raise UsageError(f"{param.opts[0]} '{text}' is no list of numbers such as 0.5,0.5,0.5") from error
    least = 0 if param.name == "mean" else 1e-6
    if not all(least <= each <= 1 for each in found):
        raise UsageError(f"{param.opts[0]} '{text}' is not of pixels from 0 to 1; divide what is of 0 to 255 by 255")
    return found


def preparing_from(console: Console, request: Request, graph: Graph, files: Iterable[str], pictures: PictureOptions) -> Preparing:
    """What the options say, else the weights.

    Raises: UsageError where two of them say how channels are normalized; as `entering_from`.
    """
    imagenet = pictures.imagenet or pictures.preprocess == "imagenet"
    numbers = pictures.mean or pictures.std
    if numbers and (imagenet or pictures.preprocess == "none"):
        raise UsageError("--mean and --std say how channels are normalized, and so do --imagenet and --preprocess; leave one out")
    scaled = IMAGENET_MARGIN if pictures.preprocess == "imagenet" else 1.0 if pictures.resize else None
    entering = entering_from(console, request, graph, files, imagenet=imagenet or bool(numbers))
    if pictures.preprocess == "none":
        return Preparing(scaled)
    if numbers:
        mean, std = pictures.mean or (0.0,) * len(pictures.std), pictures.std or (1.0,) * len(pictures.mean)
        if len(mean) != len(std):
            raise UsageError(f"--mean has {len(mean)} numbers and --std {len(std)}; give one for each channel")
        entering = Entering(mean, std, source="--mean and --std")
    return Preparing(scaled, IMAGENET if imagenet else entering)


def entering_from(console: Console, request: Request, graph: Graph, files: Iterable[str], *, imagenet: bool = False) -> Entering | None:
    """What the weights of `request` say, said aloud where there is a photograph among the `files`.

    Raises: UsageError where the call, or a plan, says how photographs are normalized too; as `entering_of`.
    """
    entering = entering_of(request.weights, graph)
    if entering is not None and any(photographs_in(file.rpartition("=")[2]) for file in files):
        if imagenet:
            raise UsageError(f"'{request.weights}' says how pictures are normalized, and an option too; leave that out")
        console.say(f"{request.weights}: {entering.line}")
    return entering


def labels_in(path: Path, graph: Graph) -> tuple[str, ...]:
    """Names of classes, one a line.

    Raises: UsageError without the file; InvalidInput for another number of lines than any output of `graph` has classes.
    """
    try:
        need_plain(path)
        if path.stat().st_size > LABEL_BYTES:
            raise InvalidInput(f"'{path}' has more than {LABEL_BYTES >> 20} MiB, which are no labels")
        names = tuple(path.read_text(encoding="utf-8").splitlines())
    except FileNotFoundError as error:
        raise UsageError(not_there(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"'{path}' cannot be read as a text of a label a line: {error}") from error
    classes = [node.typed.shape[1] for node in graph.outputs if node.typed.rank == 2]
    if len(names) not in classes:
        have = ", ".join(f"{node.name} {node.type}" for node in graph.outputs)
        raise InvalidInput(f"'{path}' has {len(names):,} lines, and no output has as many classes: {have}")
    return names


def warn_of_lost(console: Console, entering: Entering | None, output: Path) -> None:
    """Where weights are written into a file that has no place for it, which is any but one of .safetensors."""
    if entering is None or output.suffix == ".safetensors":
        return
    if output.suffix == ".npz":
        console.say(f"warning: '{output}' has no place for how {entering.line}; a .safetensors file keeps it")
        return
    mean, deviation = (",".join(f"{value:.9g}" for value in values) for values in (entering.mean, entering.deviation))
    options = f"--mean {mean} --std {deviation}" + (" --labels FILE" if entering.classes else "")
    console.say(f"warning: '{output}' has no place for how {entering.line}; run it with {options}")
