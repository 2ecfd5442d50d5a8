"""What the commands of `convc look` share: which unit, which photograph, where to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ....backends.tvm.host import run_once
from ....ir.errors import UsageError
from ....ir.files import write_file
from ....ir.graph import Graph, Node
from ....ir.legible import legible
from ...engines.engine import Engine
from ...engines.table import ENGINES, engine_named
from ...files.entering import class_name
from ...files.model import Request, artifact_of
from ...look.sheet import Look
from ...look.units import Unit, class_named, score_of
from ..console import Console, emit_json, tell
from ..options import THREADS, check_suffix, gather, model_options
from ..outputs import OUTPUT_FILE

__all__ = [
    "Which",
    "Wish",
    "at_option",
    "class_option",
    "finish",
    "layer_option",
    "loaded",
    "look_options",
    "unit_option",
    "units_option",
    "which",
]

MOST_UNITS = 64
ENGINE = "onnx"  # TVM's compiler takes longer than the few runs of a look
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Wish:
    """What every look is asked: where to write it, and on which engine."""

    output: Path | None
    as_json: bool
    backend: str
    threads: int | None

    def engine(self) -> Engine:
        return engine_named(self.backend, ENGINES)

    def check(self) -> None:
        """Raises: UsageError, before any work, where nothing would come of it."""
        self.engine()
        if self.output is None:
            if not self.as_json:
                raise UsageError("where to? give -o picture.png, or --json for the figures alone")
            return
        check_suffix("-o", self.output, (".png",))


@dataclass(frozen=True, slots=True)
class Which:
    """A unit of a layer, or a class."""

    layer: str | None = None
    unit: int | None = None
    at: tuple[int, ...] | None = None
    class_: str | None = None


def look_options(command: F) -> F:
    """MODEL and what every look is asked. The command receives `request` and `asked`."""

    @functools.wraps(command)
    def once(**given: Any) -> Any:
        run_once()
        given["asked"].check()
        return command(**given)

    inner: Any = gather("asked", Wish)(once)
    for decorate in (
        click.option("--threads", type=THREADS, help="Threads; default: one a physical core."),
        click.option("-b", "--backend", default=ENGINE, show_default=True, help=f"One of {', '.join(ENGINES)}."),
        click.option("--json", "as_json", is_flag=True, help="The figures, as JSON."),
        click.option("-o", "--output", type=OUTPUT_FILE, help="The picture to write, .png."),
    ):
        inner = decorate(inner)
    return model_options(inner)


def layer_option(*, required: bool, about: str) -> Callable[[F], F]:
    return click.option("--layer", required=required, metavar="NAME", help=about + " `convc summary MODEL --all` lists names.")


def unit_option(*, required: bool) -> Callable[[F], F]:
    return click.option("--unit", type=int, required=required, metavar="N", help="Which channel of the layer, from 0.")


def units_option(command: F) -> F:
    """One unit, or several, which are drawn beside each other. The command receives `units`, empty where none is named."""
    told = "Which channel of the layer, from 0; several are drawn as a grid."
    return click.option("--unit", "units", metavar="N,N", callback=_units, help=told)(command)


def _units(context: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...]:
    """Raises: UsageError for what are no whole numbers, one that is there twice, and more than anybody looks at."""
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.removeprefix("-").isdecimal() and len(part) < 10 for part in parts):
        raise UsageError(f"--unit '{legible(text)}' is no unit; give its number, or several, such as 3,5,8")
    units = tuple(map(int, parts))
    if (twice := next((unit for unit in units if units.count(unit) > 1), None)) is not None:
        raise UsageError(f"--unit names {twice} twice; leave one out")
    if len(units) > MOST_UNITS:
        raise UsageError(f"--unit names {len(units)} units; at most {MOST_UNITS} are drawn beside each other")
    return units


def class_option(command: F) -> F:
    """A class, by its number or its name. The command receives `class_` and `labels`."""
    named = click.option("--class", "class_", metavar="NUMBER|NAME", help="Default: the class with the highest score.")
    labels = click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes, one a line.")
    return named(labels(command))


def at_option(command: F) -> F:
    told = "ROW,COLUMN of the unit; default: where it is strongest."
    return click.option("--at", metavar="PLACE", callback=_place, help=told)(command)


def _place(context: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Raises: UsageError for what are no two whole numbers."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise UsageError(f"--at '{legible(text)}' is no place; give ROW,COLUMN from 0, such as 3,5")
    return int(parts[0]), int(parts[1])


def loaded(console: Console, request: Request) -> Graph:
    """The network, of an artifact too."""
    return console.load(request, artifact_of(request))


def finish(console: Console, asked: Wish, look: Look, **more: Any) -> None:
    """The picture whole, then the figures or the words. Nothing is printed of a picture that could not be written."""
    if asked.output is not None:
        write_file(asked.output, look.png)
    if asked.as_json:
        emit_json({**look.figures, **more})
    else:
        for line in look.lines:
            tell(line)
    if asked.output is not None:
        console.say(f"wrote {legible(asked.output)} ({look.picture.width} x {look.picture.height} pixels)")


def which(graph: Graph, asked: Which, classes: Sequence[str], top: Callable[[Node], int]) -> tuple[Unit, str]:
    """The unit that is meant, and what it is called: of a layer, or of the scores that a class has. `top` finds the highest.

    Raises: UsageError for half of a unit, or a unit and a class.
    """
    if asked.layer is not None or asked.unit is not None:
        if asked.class_ is not None:
            raise UsageError("--class names a unit of the scores, and --layer with --unit another; leave one out")
        if asked.layer is None or asked.unit is None:
            raise UsageError("a unit has a layer and a number; give --layer NAME and --unit N, or --class alone")
        return Unit(asked.layer, asked.unit, asked.at), ""
    scores = score_of(graph)
    number = top(scores) if asked.class_ is None else class_named(scores, asked.class_, classes)
    return Unit(scores.name, number, asked.at), class_name(number, classes)
