"""convc run"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...backends.tvm.host import run_once
from ...ir.errors import InvalidInput, UsageError
from ...ir.files import write_file
from ...ir.graph import Graph, fresh_name
from ...ir.types import Array, plain
from ..engines.memory import need_run
from ..engines.optimize import optimize
from ..engines.table import ENGINES, ON_DEVICES, engines_named
from ..files.entering import class_name, entering_of
from ..files.images import is_image, save_image
from ..files.inputs import Feed, random_inputs, read_batches
from ..files.model import Request, artifact_of
from ..files.weights import are_drawn, npz_bytes
from .console import Console, emit_json, tell
from .devices import emulate_option, placed
from .options import THREADS, gather, model_options
from .outputs import OUTPUT_FILE
from .pictures import INPUTS, PictureOptions, labels_in, picture_options, preparing_from
from .score import labelled
from .unkept import say_unkept

__all__ = ["command"]

SCORE = "Only how many are right, top-1 and top-5: -i is a folder with a folder of photographs for each class, called as --labels has it."


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `convc run` was asked for; the help of its options says what each means."""

    files: tuple[str, ...]
    backend: str
    top: int
    output: Path | None
    labels: Path | None
    scored: bool
    threads: int | None
    seed: int
    emulate: bool
    as_json: bool


@click.command("run")
@model_options
@click.option("-i", "--inputs", "files", multiple=True, help=INPUTS)
@click.option("-b", "--backend", default="tvm", show_default=True, help=f"One of {', '.join(ENGINES | ON_DEVICES)}.")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes to print.")
@click.option("-o", "--output", type=OUTPUT_FILE, help="Write results: .npz, or .png for pictures.")
@picture_options
@click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes, one a line.")
@click.option("--score", "scored", is_flag=True, help=SCORE)
@click.option("--threads", type=THREADS, help="Threads; default: one a physical core.")
@emulate_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of random inputs.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@gather("given", RunOptions)
@click.pass_obj
def command(console: Console, request: Request, given: RunOptions, pictures: PictureOptions) -> None:
    """Run MODEL, an artifact directory or any other model, and print what came out.

    With --weights that `convc train` wrote, photographs are normalized as those were that it learned from, and classes have their names.
    """
    run_once()
    engine, *others = engines_named(given.backend)
    if others:
        raise UsageError(f"--backend takes one of them, not '{given.backend}'")
    if given.output is not None and given.output.suffix != ".npz" and not is_image(given.output):
        raise UsageError(f"'{given.output}' is neither .npz nor a picture such as .png")
    artifact = artifact_of(request)
    loaded = console.load(request, artifact)
    graph, _ = optimize(loaded, 0 if artifact else 2, prices=engine.prices)
    classes = labels_in(given.labels, graph) if given.labels is not None else _classes(request, graph)
    truth = labelled(given.files, graph, classes) if given.scored else None
    files = truth.files if truth is not None else given.files
    preparing = preparing_from(console, request, graph, files, pictures)
    batches = read_batches(graph, files, preparing, console.say) if files else iter([Feed(random_inputs(graph, given.seed))])
    first = next(batches)
    need_run(graph, first.arrays)
    (engine,) = placed(console, [engine], given.emulate)
    say_unkept(console, () if artifact else [engine])
    run = engine.open(artifact, given.threads) if artifact else engine.start(graph, given.threads)
    made = [(batch.names, _of_photographs(run(batch.arrays), batch)) for batch in chain([first], batches)]
    names = [name for each, _ in made for name in each]
    results = _together(made)
    if artifact.is_drawn if artifact else are_drawn(loaded):
        random, way_out = ("weights", "--weights FILE") if files else ("weights and inputs", "--weights FILE and -i FILE")
        where = "" if artifact is None else "convc compile "  # whose artifact has its weights in it
        console.say(f"note: the {random} of @{graph.name} are random, and so is what it says; give {where}{way_out}")
    _say_what_is_odd(console, results)
    written = _write(results, given.output) if given.output else []
    score = truth.score(names, results) if truth is not None else None
    if given.as_json:
        record = {"outputs": {name: _record(value, given.top, classes, names) for name, value in results.items()}}
        emit_json(record | ({"score": score.record()} if score is not None else {}))
    elif score is not None:
        score.show(console)
    else:
        _print(graph, results, given.top, classes, names)
    for file in written:
        console.say(f"wrote {file}")


def _say_what_is_odd(console: Console, results: Mapping[str, Array]) -> None:
    for name, value in results.items():
        odd = value.size - int(np.count_nonzero(np.isfinite(value))) if value.dtype.kind == "f" else 0
        if odd:
            console.say(
                f"note: {odd:,} of {value.size:,} values of '{name}' are NaN or infinite, of inputs that are finite; "
                "`convc verify` says of each engine whether float64 has them so"
            )


def _classes(request: Request, graph: Graph) -> tuple[str, ...]:
    entering = entering_of(request.weights, graph)
    return entering.classes if entering is not None else ()


def _of_photographs(results: Mapping[str, Array], batch: Feed) -> dict[str, Array]:
    """A row for each photograph. Raises: InvalidInput for results that have none."""
    found = {name: plain(value) for name, value in results.items()}
    if not batch.names:
        return found
    rows = len(next(iter(batch.arrays.values())))
    for name, value in found.items():
        if value.shape[:1] != (rows,):
            raise InvalidInput(f"result '{name}' is {list(value.shape)}, without a row for each of {rows} photographs; give one at a time")
    return {name: value[: len(batch.names)] for name, value in found.items()}


def _together(made: Sequence[tuple[tuple[str, ...], dict[str, Array]]]) -> dict[str, Array]:
    """All rows. Raises: InvalidInput where photographs of different sizes, each run for itself, made results of different sizes."""
    names, first = made[0]
    for others, each in made[1:]:
        for name, value in each.items():
            if value.shape[1:] != first[name].shape[1:]:
                sizes = [f"{list(one.shape[1:])} of '{of[0]}'" for of, one in ((names, first[name]), (others, value))]
                raise InvalidInput(
                    f"result '{name}' is {sizes[0]} and {sizes[1]}, each [1,...], and results are written together; "
                    "give one size with --input and --resize, or one photograph at a time"
                )
    return {name: np.concatenate([each[name] for _, each in made]) if len(made) > 1 else value for name, value in first.items()}


def _print(graph: Graph, results: Mapping[str, Array], top: int, classes: Sequence[str], names: Sequence[str]) -> None:
    for name, value in results.items():
        tell(f"{name}: {graph.by_name[name].typed.dtype}{list(value.shape)}")
        value = value if value.dtype.kind == "f" else value.astype(np.float64)  # small integers wrap, and booleans do not order
        if value.ndim == 2 and value.shape[1] > 1:
            for place, row in enumerate(value):
                best = np.argsort(-row, kind="stable")[:top]
                of = f"{names[place]}: " if place < len(names) else ""
                tell(f"  {of}" + "  ".join(f"{class_name(int(index), classes)}: {row[index]:.6g}" for index in best))
        elif value.size:
            tell(f"  from {value.min():.6g} to {value.max():.6g}, mean {value.mean():.6g}")


def _record(value: Array, top: int, classes: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    value = value if value.dtype.kind == "f" else value.astype(np.float64)
    if not value.size:
        return {"shape": list(value.shape)}
    record: dict[str, Any] = {"shape": list(value.shape), "min": float(value.min()), "max": float(value.max()), "mean": float(value.mean())}
    if names:
        record["photographs"] = list(names)
    if value.ndim == 2:
        order = np.argsort(-value, axis=1, kind="stable")[:, :top]
        record["top"] = [
            [{"class": int(i), "value": float(row[i])} | ({"name": classes[i]} if i < len(classes) else {}) for i in best]
            for row, best in zip(value, order, strict=True)
        ]
    return record


def _write(results: Mapping[str, Array], output: Path) -> list[Path]:
    """All results in one .npz, or a picture each: with several, the output's name goes before the suffix."""
    if output.suffix == ".npz":
        write_file(output, npz_bytes(results))
        return [output]
    taken: set[str] = set()
    plain = [fresh_name(re.sub(r"[^\w.-]", "_", name), taken) for name in results]
    files = [output if len(results) == 1 else output.with_name(f"{output.stem}.{name}{output.suffix}") for name in plain]
    for file, value in zip(files, results.values(), strict=True):
        save_image(file, value)
    return files
