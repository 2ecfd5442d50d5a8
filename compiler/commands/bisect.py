"""convc bisect"""

from __future__ import annotations

import click

from ...ir.errors import Mismatch
from ..checking.pass_check import PassCheck, bisect
from ..engines.onnxruntime import ONNXRUNTIME
from ..engines.optimize import optimize
from ..files.inputs import read_inputs
from ..files.model import Request
from ..report.text import graph_diff
from .coloured import print_changes
from .console import Console, emit_json, tell
from .options import PassOptions, model_options, pass_options
from .pictures import INPUTS, PictureOptions, picture_options, preparing_from
from .pipeline import steps_of

__all__ = ["command"]


@click.command("bisect")
@model_options
@pass_options
@click.option("-i", "--inputs", "files", multiple=True, help=INPUTS)
@picture_options
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of random inputs.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(
    console: Console, request: Request, files: tuple[str, ...], pictures: PictureOptions, seed: int, as_json: bool, passes: PassOptions
) -> None:
    """Find the first pass, and in it the first rewrite, that changes the results of MODEL. Exits with 1 if there is one."""
    graph = console.load(request)
    typed, _ = optimize(graph, 0)
    preparing = preparing_from(console, request, typed, files, pictures)
    inputs = read_inputs(typed, files, preparing, console.say) if files else None
    steps = steps_of(passes)
    found = bisect(graph, steps, PassCheck(typed, inputs, seed), ONNXRUNTIME.prices)
    if found is None:
        if as_json:
            emit_json({"bad": None, "passes": [step.name for step in steps]})
        else:
            tell(f"no pass changes the results: {', '.join(step.name for step in steps)}")
        return
    if as_json:
        emit_json({"bad": {"pass": found.name, "rewrite": found.number, "complaint": found.complaint}})
    else:
        print_changes(graph_diff(found.before, found.after))
    raise Mismatch(str(found))
