"""convc run"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...backends.tvm.host import run_once
from ...ir.errors import UsageError
from ...ir.files import write_file
from ...ir.graph import Graph, fresh_name
from ...ir.types import Array, plain
from ..engines.memory import need_run
from ..engines.optimize import optimize
from ..engines.table import ENGINES, ON_DEVICES, engines_named
from ..files.entering import Entering
from ..files.images import is_image, save_image
from ..files.inputs import random_inputs, read_inputs
from ..files.model import Request, artifact_of
from ..files.weights import npz_bytes
from .console import Console, emit_json, tell
from .devices import emulate_option, placed
from .options import THREADS, model_options
from .pictures import entering_from

__all__ = ["command"]


@click.command("run")
@model_options
@click.option("-i", "--inputs", "files", multiple=True, help="[name=]photo.jpg, [name=]x.npy or xs.npz; default: random values.")
@click.option("-b", "--backend", default="tvm", show_default=True, help=f"One of {', '.join(ENGINES | ON_DEVICES)}.")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes to print.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write results: .npz, or .png for pictures.")
@click.option("--resize", is_flag=True, help="Scale photographs to the input's size.")
@click.option("--imagenet", is_flag=True, help="Normalize photographs as common ImageNet checkpoints expect.")
@click.option("--threads", type=THREADS, help="Threads; default: one a physical core.")
@emulate_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of random inputs.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(
    console: Console,
    request: Request,
    files: tuple[str, ...],
    backend: str,
    top: int,
    output: Path | None,
    resize: bool,
    imagenet: bool,
    threads: int | None,
    seed: int,
    emulate: bool,
    as_json: bool,
) -> None:
    """Run MODEL, an artifact directory or any other model, and print what came out.

    With --weights that `convc train` wrote, photographs are normalized as those were that it learned from, and classes have their names.
    """
    run_once()
    engine, *others = engines_named(backend)
    if others:
        raise UsageError(f"--backend takes one of them, not '{backend}'")
    if output is not None and output.suffix != ".npz" and not is_image(output):
        raise UsageError(f"'{output}' is neither .npz nor a picture such as .png")
    artifact = artifact_of(request)
    graph, _ = optimize(console.load(request, artifact), 0 if artifact else 2, prices=engine.prices)
    entering = entering_from(console, request, graph, files, imagenet=imagenet)
    inputs = read_inputs(graph, files, resize=resize, imagenet=imagenet, entering=entering) if files else random_inputs(graph, seed)
    need_run(graph, inputs)
    (engine,) = placed(console, [engine], emulate)
    run = engine.open(artifact, threads) if artifact else engine.start(graph, threads)
    results = {name: plain(value) for name, value in run(inputs).items()}
    written = _write(results, output) if output else []
    if as_json:
        emit_json({name: _record(value, top, entering) for name, value in results.items()})
    else:
        _print(graph, results, top, entering)
    for file in written:
        console.say(f"wrote {file}")


def _print(graph: Graph, results: Mapping[str, Array], top: int, entering: Entering | None) -> None:
    called = entering.class_name if entering is not None else "class {}".format
    for name, value in results.items():
        tell(f"{name}: {graph.by_name[name].typed.dtype}{list(value.shape)}")
        value = value if value.dtype.kind == "f" else value.astype(np.float64)  # small integers wrap, and booleans do not order
        if value.ndim == 2 and value.shape[1] > 1:
            for row in value:
                best = np.argsort(-row, kind="stable")[:top]
                tell("  " + "  ".join(f"{called(int(index))}: {row[index]:.6g}" for index in best))
        elif value.size:
            tell(f"  from {value.min():.6g} to {value.max():.6g}, mean {value.mean():.6g}")


def _record(value: Array, top: int, entering: Entering | None) -> dict[str, Any]:
    value = value if value.dtype.kind == "f" else value.astype(np.float64)
    if not value.size:
        return {"shape": list(value.shape)}
    record: dict[str, Any] = {"shape": list(value.shape), "min": float(value.min()), "max": float(value.max()), "mean": float(value.mean())}
    if value.ndim == 2:
        order = np.argsort(-value, axis=1, kind="stable")[:, :top]
        names = entering.classes if entering is not None else ()
        record["top"] = [
            [{"class": int(i), "value": float(row[i])} | ({"name": names[i]} if i < len(names) else {}) for i in best]
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
