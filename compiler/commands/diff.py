"""convc diff"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ...passes.analysis.structure import is_renamed
from ...passes.manager import Stage
from ..checking.graph_diff import changes, uncompared, with_nodes_of
from ..engines.onnxruntime import ONNXRUNTIME
from ..engines.optimize import optimize
from ..files.model import Request
from ..report.html.report import Report
from .coloured import print_changes
from .console import Console, emit_json
from .html_file import write_html
from .options import html_option, model_options

__all__ = ["command"]


@click.command("diff")
@model_options
@click.argument("other")
@click.option("-O", "level", type=click.IntRange(0, 3), default=0, show_default=True, help="Optimize OTHER first.")
@html_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(console: Console, request: Request, other: str, level: int, html: Path | None, as_json: bool) -> None:
    """Show how OTHER differs from MODEL, node by node: + came, - went, ~ computes the same value differently.

    Nodes are matched by name and structure, so neither order nor line breaks matter. Weights are compared too,
    where both networks have their values. Exits with 0 whether they differ or not: `convc verify` tells by its exit code.
    """
    first, _ = optimize(console.load(request), 0)
    second, _ = optimize(console.load(Request(other, request.inputs, request.options, None, request.strict_windows, request.strict)), level)
    found = list(changes(first, second))
    if html is not None:
        why = f"{other} beside {request.model}; what computes the same value has the name that it has there"
        stage = Stage("diff", why, with_nodes_of(first, second), (), 0.0, ONNXRUNTIME.prices)
        how = f"convc verify {shlex.quote(request.model)} {shlex.quote(other)}"
        write_html(console, html, Report(first, [stage], f"diff {request.model} {other}", how_to_check=how))
    if as_json:
        names = [{"old": change.old and change.old.name, "new": change.new and change.new.name, "text": str(change)} for change in found]
        emit_json({"other": other, "changes": names})
        return
    print_changes(map(str, found))
    count = "1 difference" if len(found) == 1 else f"{len(found)} differences"
    console.say(f"{count} between @{first.name} ({len(first.nodes)} nodes) and @{second.name} ({len(second.nodes)} nodes)")
    if found and is_renamed(first, second):
        console.say("they are the same network up to the names and the order of nodes")
    if open_ := uncompared(first, second):
        console.say(f"values of {len(open_)} parameters were not compared, the first %{open_[0].name}: they are not there")
