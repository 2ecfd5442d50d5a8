"""convc summary"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import click

from ...ir.binding import need_elements
from ...ir.dims import Expr
from ...ir.usual_sizes import counting_sizes
from ...ir.window_leftovers import surprises
from ...passes.analysis.receptive_field import Field, receptive_fields
from ..files.model import Request
from ..report.field_text import field_cells, field_record
from ..report.layer_table import Figure, LayerLine, LayerTable, layer_table
from ..report.text import count
from .console import Console, emit_json, fits, print_table, tell
from .options import model_options

__all__ = ["command"]

Fields = Mapping[str, Mapping[str, Sequence[Field]]]  # of each value, by image
UNITS = {"memory": "memory_values"}  # in JSON, where a key says its unit
ROOM = 60  # characters for an expression
SHORT = ("layer", "output", "memory", "params", "MACs")  # headings where there is no room for the arithmetic
FIELD = ("field", "stride", "offset")


@click.command("summary")
@model_options
@click.option("-O", "level", type=click.IntRange(0, 3), default=0, show_default=True, help="Summarize what this level makes of it.")
@click.option("--all", "every", is_flag=True, help="Also activations and reshapes, which need no memory of their own.")
@click.option(
    "--receptive-field",
    is_flag=True,
    help="Also what a unit sees of the image: its size, how far it moves from unit to unit, where it begins.",
)
@click.option("--json", "as_json", is_flag=True, help='As JSON. What depends on a named size is a text, such as "64*H*W".')
@click.pass_obj
def command(console: Console, request: Request, level: int, every: bool, receptive_field: bool, as_json: bool) -> None:
    """Print a line per layer of MODEL: output, memory, parameters, multiply-adds, and totals.

    Everything is per image, whatever the batch. Rows, columns and lengths that have only a name stay names; totals are also counted at
    numbers that fit. No weights are made. A receptive field (Araujo et al. 2019) reaches into the padding, where its offset is negative.
    """
    graph = console.load(request)
    if level:
        from ..engines.optimize import optimize  # every pass there is; a network as it was written needs none

        graph, _ = optimize(graph, level)
    need_elements(graph, "count for an image")
    table, sizes = layer_table(graph, every=every), counting_sizes(graph)
    example = layer_table(graph, every=every, sizes=sizes) if sizes else None
    fields = {node.name: seen for node, seen in receptive_fields(graph).items()} if receptive_field else None
    if as_json:
        _emit(table, example, sizes, fields)
        return
    _print(table, example, sizes, fields)
    for found in surprises(graph):
        console.say(f"note: {found}")


def _emit(table: LayerTable, example: LayerTable | None, sizes: Mapping[str, int], fields: Fields | None) -> None:
    """Expressions as texts, null for one that is too long; the totals at numbers beside them. Of shapes only the list is for programs."""
    seen = [{"receptive_field": field_record(fields[line.name])} if fields else {} for line in table.lines]
    layers = [_texts(vars(line)) | more for line, more in zip(table.lines, seen, strict=True)]
    record = {"layers": layers, "totals": _texts(table.totals)}
    emit_json(record | ({"sizes": sizes, "totals_at_sizes": _texts(example.totals)} if example else {}))


def _texts(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {UNITS.get(name, name): _text(figure) for name, figure in figures.items() if name != "output"}


def _text(figure: Any) -> Any:
    if isinstance(figure, tuple):
        return list(map(_text, cast("tuple[Any, ...]", figure)))
    return str(figure) if isinstance(figure, Expr) else figure


def _print(table: LayerTable, example: LayerTable | None, sizes: Mapping[str, int], fields: Fields | None) -> None:
    """Columns as in the course: CONV3-64, [224x224x64], memory: 224*224*64=3.2M, params: (3*3*3)*64 = 1,728. A terminal that has no room
    for them gets the figures alone."""

    def seen(name: str) -> Sequence[str]:
        return field_cells(fields[name]) if fields else ()

    rows = [(*_cells(x), *seen(x.name), x.name) for x in table.lines]
    if fits(rows):
        print_table(rows)
    else:
        rows = [(*_figures(x, exact=not fields), *_without_words(seen(x.name)), x.name) for x in table.lines]
        print_table(rows, (*SHORT, *(FIELD if fields else ()), "name"))
    totals = example.totals if example else table.totals
    memory, nbytes, macs, flops, params = (_int(totals[name]) for name in ("memory", "memory_bytes", "macs", "flops", "params"))
    size, stored = _binary_bytes(nbytes), _binary_bytes(_int(totals["weight_bytes"]))
    width = f" * {nbytes // memory} bytes" if memory and nbytes % memory == 0 else ""
    trainable = f", {totals['trainable']:,} of them trainable" if totals["trainable"] != params else ""
    at = f", where {', '.join(f'{name}={number}' for name, number in sizes.items())}" if example else ""
    memory_line = f"TOTAL memory: {_named(table.totals['memory'])}{memory:,} values{width} = {size} / image{at}"
    params_line = f"TOTAL params: {totals['weights']:,} weights + {totals['biases']:,} others = {params:,} ({stored}){trainable}"
    work_line = f"TOTAL work:   {_named(table.totals['macs'])}{macs:,} multiply-adds, {flops:,} FLOPs / image{at}"
    for line in (memory_line, params_line, work_line):
        tell(line, hang=14, bold=True)


def _cells(line: LayerLine) -> tuple[str, ...]:
    figures = f"memory: {line.memory_text}", f"params: {line.weights_text}", f"{_macs(line.macs)} MACs"
    return f"{line.layer}:", line.output, *figures


def _figures(line: LayerLine, *, exact: bool) -> tuple[str, ...]:
    """The same without the arithmetic, parameters `exact` or to three digits."""
    memory = count(line.memory) if isinstance(line.memory, int) and line.memory else line.memory_text
    params = line.weights_text.rpartition(" = ")[2]
    return line.layer, line.output, memory, params if exact else count(int(params.replace(",", ""))), _macs(line.macs)


def _without_words(cells: Sequence[str]) -> list[str]:
    """Of "field: 11x11"."""
    return [cell.rpartition(": ")[2] for cell in cells]


def _macs(figure: Figure) -> str:
    return count(figure) if isinstance(figure, int) else _short(figure) or "-"


def _named(figure: Figure) -> str:
    """A total over named sizes, before what it comes to."""
    short = "" if isinstance(figure, int) else _short(figure)
    return f"{short} = " if short else ""


def _short(figure: Figure) -> str:
    """An expression that a line has room for."""
    return text if figure is not None and len(text := str(figure)) <= ROOM else ""


def _int(figure: Figure) -> int:
    assert isinstance(figure, int)  # every named size has a number
    return figure


def _binary_bytes(number: int) -> str:
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number / 2**10:.1f} KiB"
