"""convc diff"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ...passes.analysis.structure import is_renamed
from ...passes.manager import Stage
from ..checking.graph_diff import Change, changes, sum_of, uncompared, with_nodes_of
from ..engines.onnxruntime import ONNXRUNTIME
from ..engines.optimize import optimize
from ..files.model import Request
from ..report.html.report import Report
from .coloured import print_changes
from .console import Console, emit_json, tell
from .html_file import write_html
from .options import html_option, model_options

__all__ = ["command"]

FEW = 5  # parameters that are listed in any case


@click.command("diff")
@model_options
@click.argument("other")
@click.option("-O", "level", type=click.IntRange(0, 3), default=0, show_default=True, help="Optimize OTHER first.")
@html_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(console: Console, request: Request, other: str, level: int, html: Path | None, as_json: bool) -> None:
    """Show how OTHER differs from MODEL, node by node: + came, - went, ~ computes the same value differently.

    Nodes are matched by name and structure, so neither order nor line breaks matter. Weights are compared too, where both networks have
    their values, and come last, summed; with -v each is listed. Exits with 0 whether they differ or not: `convc verify` tells by its exit
    code.
    """
    first, _ = optimize(console.load(request), 0)
    second, _ = optimize(console.load(Request(other, request.inputs, request.options, None, request.strict_windows, request.strict)), level)
    found = list(changes(first, second))
    structure, rest = ([change for change in found if change.is_of_parameter == is_it] for is_it in (False, True))
    if html is not None:
        why = f"{other} beside {request.model}; what computes the same value has the name that it has there"
        stage = Stage("diff", why, with_nodes_of(first, second), (), 0.0, ONNXRUNTIME.prices)
        how = f"convc verify {shlex.quote(request.model)} {shlex.quote(other)}"
        write_html(console, html, Report(first, [stage], f"diff {request.model} {other}", how_to_check=how))
    if as_json:
        emit_json({"other": other, "changes": list(map(_record, [*structure, *rest])), "parameters": sum_of(rest)})
        return
    print_changes(map(str, structure))
    if len(rest) <= FEW or console.verbosity > 0:
        print_changes(map(str, rest))
    else:
        tell(_summed(sum_of(rest)))
    count = "1 difference" if len(found) == 1 else f"{len(found)} differences"
    console.say(f"{count} between @{first.name} ({len(first.nodes)} nodes) and @{second.name} ({len(second.nodes)} nodes)")
    if found and is_renamed(first, second):
        console.say("they are the same network up to the names and the order of nodes")
    if open_ := uncompared(first, second):
        console.say(f"values of {len(open_)} parameters were not compared, the first %{open_[0].name}: they are not there")


def _record(change: Change) -> dict[str, Any]:
    old, new = change.old and change.old.name, change.new and change.new.name
    return {"old": old, "new": new, "is_parameter": change.is_of_parameter, "text": str(change)}


def _summed(of: Mapping[str, int]) -> str:
    words = {"came": "came", "went": "went", "changed": "have other values or another type"}
    parts = (f"{of[kind]:,} {said} ({of[f'{kind}_values']:,} values)" for kind, said in words.items() if of[kind])
    return f"parameters: {', '.join(parts)}; -v lists them"
