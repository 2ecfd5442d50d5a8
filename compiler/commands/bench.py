"""convc bench"""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version

import click

from ...ir.binding import batch_names
from ...ir.errors import UsageError
from ..bench import measure, names
from ..inputs import random_inputs
from ..load import Request
from ..pipelines import optimize
from .options import THREADS, Desk, emit_json, model_options, print_table

__all__ = ["command"]

PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "apache-tvm", "openvino")


@click.command("bench")
@model_options
@click.option("-b", "--backends", default="tvm,onnx", show_default=True, help="Engines to measure, turn by turn.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Images a run, where the batch is a name.")
@click.option("--threads", type=THREADS, help="Threads of every engine; default: one a physical core.")
@click.option("--runs", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Counted turns.")
@click.option("-O", "level", type=click.IntRange(0, 3), default=2, show_default=True, help="Optimization level, for all alike.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(desk: Desk, request: Request, backends: str, batch: int, threads: int | None, runs: int, level: int, as_json: bool) -> None:
    """Time engines on MODEL: median and spread of interleaved runs."""
    from ...backends.tvm.host import physical_cores

    engines = [name.strip() for name in backends.split(",")]
    for name in engines:
        if name not in names():
            near = get_close_matches(name, names(), n=1)
            raise UsageError(f"unknown backend '{name}'; " + (f"did you mean '{near[0]}'?" if near else f"known are {', '.join(names())}"))
    graph, _ = optimize(desk.load(request), level)
    inputs = random_inputs(graph, sizes=dict.fromkeys(batch_names(graph), batch))
    timings = measure(graph, engines, inputs, threads or physical_cores(), runs)
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "threads": threads or physical_cores()}
    machine |= {"batch": batch, "runs": runs, "versions": _versions()}
    if as_json:
        emit_json({"model": request.model, **machine, "engines": [asdict(timing) for timing in timings]})
        return
    desk.say(
        f"{request.model}, batch {batch}, {machine['threads']} threads, {runs} turns; " + ", ".join(map(" ".join, _versions().items()))
    )
    first = timings[0].median
    rows = [
        (t.engine, f"{t.median:.2f}", f"{t.p10:.2f}", f"{t.p90:.2f}", f"{t.gflops:.0f}", f"{t.median / first:.2f}", f"{t.start:.1f}")
        for t in timings
    ]
    print_table(rows, ("engine", "median ms", "p10", "p90", "GF/s", f"over {timings[0].engine}", "ready in s"))


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
