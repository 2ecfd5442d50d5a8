"""convc export"""

from __future__ import annotations

from pathlib import Path

import click

from ..compile import export_onnx
from ..load import Request
from ..pipelines import optimize
from .options import Desk, model_options

__all__ = ["command"]


@click.command("export")
@model_options
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
@click.option("-O", "level", type=click.IntRange(0, 3), default=0, show_default=True, help="Optimization level before the export.")
@click.option("--opset", type=int, help="ONNX opset, 13 or newer; default: the newest that onnxruntime here supports.")
@click.pass_obj
def command(desk: Desk, request: Request, output: Path, level: int, opset: int | None) -> None:
    """Write MODEL as an ONNX file. The network is exported as written unless -O asks for passes."""
    graph, _ = optimize(desk.load(request), level)
    export_onnx(graph, output, opset)
    desk.say(f"wrote {output} ({output.stat().st_size:,} bytes)")
