"""convc summary"""

from __future__ import annotations

from dataclasses import asdict

import click

from ...ir.binding import batch_names, need_elements
from ...ir.errors import UsageError
from ...ir.graph import Graph
from ...ir.window_leftovers import surprises
from ..files.model import Request
from ..report.layer_table import LayerTable, layer_table
from ..report.text import count
from .console import Console, emit_json, print_table
from .options import model_options

__all__ = ["command"]


@click.command("summary")
@model_options
@click.option("-O", "level", type=click.IntRange(0, 3), default=0, show_default=True, help="Summarize what this level makes of it.")
@click.option("--all", "every", is_flag=True, help="Also activations and reshapes, which need no memory of their own.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(console: Console, request: Request, level: int, every: bool, as_json: bool) -> None:
    """Print a line per layer of MODEL: output, memory, parameters, multiply-adds, and totals.

    Everything is per image, whatever the batch. No weights are made.
    """
    graph = console.load(request)
    if level:
        from ..engines.optimize import optimize  # every pass there is; a network as it was written needs none

        graph, _ = optimize(graph, level)
    need_elements(graph, "count for an image")
    open_ = [name for name in graph.symbols if name not in batch_names(graph)]
    if open_:
        raise UsageError(f"the size {open_[0]} has no number, so nothing can be counted; give one, such as {_example(graph)}")
    table = layer_table(graph, every=every)
    if as_json:
        emit_json({"layers": [asdict(line) for line in table.lines], "totals": table.totals})
        return
    _print(table)
    for found in surprises(graph):
        console.say(f"note: {found}")


def _example(graph: Graph) -> str:
    """--input with a number for every open size."""
    keep = batch_names(graph)
    node = next(node for node in graph.inputs if set(node.typed.symbols) - keep)
    return f"--input {node.name}:{','.join(str(d) if isinstance(d, int) or str(d) in keep else '224' for d in node.typed.shape)}"


def _print(table: LayerTable) -> None:
    """Columns as in the course: CONV3-64, [224x224x64], memory: 224*224*64=3.2M, params: (3*3*3)*64 = 1,728."""
    totals = table.totals
    print_table(
        [
            (f"{x.layer}:", x.output, f"memory: {x.memory_text}", f"params: {x.weights_text}", f"{count(x.macs)} MACs", x.name)
            for x in table.lines
        ]
    )
    size, stored = _binary_bytes(totals["memory"] * 4), _binary_bytes(totals["weight_bytes"])
    trainable = f", {totals['trainable']:,} of them trainable" if totals["trainable"] != totals["params"] else ""
    click.echo(f"TOTAL memory: {totals['memory']:,} values * 4 bytes = {size} / image")
    click.echo(f"TOTAL params: {totals['weights']:,} weights + {totals['biases']:,} others = {totals['params']:,} ({stored}){trainable}")
    click.echo(f"TOTAL work:   {totals['macs']:,} multiply-adds, {totals['flops']:,} FLOPs / image")


def _binary_bytes(number: int) -> str:
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number / 2**10:.1f} KiB"
