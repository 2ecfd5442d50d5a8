"""convc draw"""

from __future__ import annotations

from pathlib import Path

import click

from ...ir.files import write_file
from ..files.model import Request
from ..report.figure.pictures import PICTURES, picture_of
from ..report.figure.svg import draw
from .console import Console
from .options import check_suffix, model_options
from .outputs import OUTPUT_FILE

__all__ = ["command"]


@click.command("draw")
@model_options
@click.option("-o", "--output", type=OUTPUT_FILE, required=True, help="The picture to write: .svg, or .png or .pdf.")
@click.option("-O", "level", type=click.IntRange(0, 3), default=0, show_default=True, help="Draw what this level makes of it.")
@click.pass_obj
def command(console: Console, request: Request, output: Path, level: int) -> None:
    """Draw MODEL for a paper: blocks by scope, sizes between them, what is repeated once with a count.

    A .png has 300 dots an inch. It and a .pdf are made by cairosvg: pip install "convc[draw]".
    """
    check_suffix("-o", output, tuple(PICTURES))
    picture = picture_of(output.suffix)
    graph = console.load(request)
    if level:
        from ..engines.optimize import optimize  # every pass there is; a network as it was written needs none

        graph, _ = optimize(graph, level)
    drawing = draw(graph)
    data = picture(drawing)
    write_file(output, data)
    console.say(f"wrote {output} ({drawing.width:.0f} x {drawing.height:.0f} points, {len(data):,} bytes)")
