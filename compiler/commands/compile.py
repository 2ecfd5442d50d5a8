"""convc compile"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...ir.errors import UsageError
from ..compiling.compile import compile_as
from ..files.model import Request
from ..files.weights import are_drawn
from ..report.html.report import Report
from ..targets.options import FP32, PRECISIONS, CompileOptions
from ..targets.table import TARGETS, target_named
from ..training.step import training_step
from .console import Console, emit_json
from .html_file import write_html
from .options import CALIBRATION, IN_PLACE, MEMORY, OPSET, SHARE, THREADS, html_option, model_options
from .outputs import OUTPUT_FOLDER
from .pictures import entering_from, warn_of_lost

__all__ = ["command"]

WINOGRAD = ("off", "f2", "f4", "auto")
TILES = "Winograd's tiles on a CPU: f2 of 2x2 results, f4 of 4x4 and, for 5x5 filters, 2x2; auto chooses by size and noise."

BATCHES = "On a GPU, how many images a run may have, for each of which kernels are made: fewer are run among others; default: 1,8,32,256."
PRECISION = "Of products, on cuda: fp16 or bf16, summed in float32; tf32, as tensor cores multiply it. Norms and softmax stay in fp32."
KINDS = [f"{name}:{model}" for name, target in TARGETS.items() for model in target.models]
MCPU = (
    "On a CPU, another processor than this, by LLVM's name: x86-64-v3, skylake-avx512, znver4, neoverse-n1, apple-m1. With commas a "
    "library for each, of which the best is loaded that a processor can run."
)
MTRIPLE = "What it runs under: x86_64-linux-gnu, aarch64-linux-gnu, arm64-apple-macos; default: what has the processor, this one first."
MACHINES = f"cpu is this processor, cuda the GPU here or else an H100; also {', '.join(KINDS)}."


def _target(context: click.Context, param: click.Parameter, name: str) -> str:
    """Refused before the network is read."""
    target_named(name)
    return name


def _batches(context: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Raises: UsageError for what are no whole numbers."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise UsageError(f"--batches {text}: give whole numbers with commas between them, such as 1,8,32")
    return tuple(map(int, words))


@click.command("compile")
@model_options
@click.option("-o", "--output", type=OUTPUT_FOLDER, required=True, help="The artifact directory to write.")
@click.option("-t", "--target", metavar="TARGET", callback=_target, default="cpu", show_default=True, help=MACHINES)
@click.option("--mcpu", metavar="NAME,NAME", help=MCPU)
@click.option("--mtriple", metavar="TRIPLE", help=MTRIPLE)
@click.option("-O", "level", type=click.IntRange(0, 3), default=2, show_default=True, help="Optimization level.")
@click.option("--precision", type=click.Choice(PRECISIONS), default=FP32, show_default=True, help=PRECISION)
@click.option("--calibration", multiple=True, metavar="FILE", help=CALIBRATION)
@click.option("--opset", type=int, help=OPSET)
@click.option("--threads", type=THREADS, help="Threads while checking; default: one a physical core.")
@click.option("--winograd", type=click.Choice(WINOGRAD), default="auto", show_default=True, help=TILES)
@click.option("--jobs", type=THREADS, help="Kernels compiled at a time; default: one a physical core.")
@click.option("--no-cache", "cached", flag_value=False, default=True, help="Compile every kernel, and keep none for other networks.")
@click.option("--database", metavar="DIR", help="Where convc tune kept what it found; default: the cache; off: nowhere.")
@click.option(
    "--no-check",
    "check",
    flag_value=False,
    default=True,
    help="Do not run the result against the reference, nor predict its noise.",
)
@click.option("--batches", metavar="1,8,32", callback=_batches, help=BATCHES)
@click.option("--cuda-graph/--no-cuda-graph", default=True, show_default=True, help="On a GPU, launch a run as a whole.")
@click.option("--training", is_flag=True, help="A step of training with sgd instead, as export writes it.")
@click.option("--memory", type=SHARE, help=MEMORY)
@click.option("--in-place", is_flag=True, help=IN_PLACE)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random input of the check.")
@html_option
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
@click.pass_obj
def command(
    console: Console,
    request: Request,
    output: Path,
    training: bool,
    html: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compile MODEL into an artifact directory and check it against the reference."""
    if options["memory"] is not None and not training:
        raise UsageError("--memory is of a step of training; give --training too")
    loaded = console.load(request)
    graph = training_step(loaded) if training else loaded
    seen: list[Report] = []
    entering = entering_from(console, request, loaded, options["calibration"])
    made = compile_as(graph, output, CompileOptions(**options), lambda text: console.say(f"  {text}"), seen.append, entering)
    if html is not None:
        write_html(console, html, seen[0])
    if as_json:
        emit_json({"manifest": made.manifest})
    else:
        sizes = ", ".join(f"{name} {record.bytes:,}" for name, record in made.files.items() if record)
        console.say(f"wrote {output} ({sizes} bytes)")
    if are_drawn(graph) and not training:
        console.say(f"note: the weights of @{loaded.name} are random; give --weights FILE")
    warn_of_lost(console, entering, output)
