"""convc export"""

from __future__ import annotations

from pathlib import Path

import click

from ...ir.errors import UsageError
from ..engines.optimize import optimize
from ..files.model import Request, load_with_source
from ..files.onnx_file import export_onnx
from ..files.weights import WEIGHT_FILES, check_numbers, write_weights
from .console import Console
from .options import check_suffix, model_options

__all__ = ["command"]


@click.command("export")
@model_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The ONNX file to write; .safetensors or .npz for weights alone."
)
@click.option("-O", "level", type=click.IntRange(0, 3), default=0, show_default=True, help="Optimization level before the export.")
@click.option("--opset", type=int, help="ONNX opset, 7 or newer; default: the newest that onnxruntime here supports.")
@click.pass_obj
def command(console: Console, request: Request, output: Path, level: int, opset: int | None) -> None:
    """Write MODEL as an ONNX file, or its parameters by name. It is exported as written unless -O asks for passes."""
    check_suffix("-o", output, (".onnx", *WEIGHT_FILES))
    graph, source = load_with_source(request, console.zoo, console.say)
    if output.suffix in WEIGHT_FILES:
        if level or opset:
            extra = "-O" if level else "--opset"
            raise UsageError(f"'{output}' takes the weights of the network as written, as --weights reads them; leave out {extra}")
        check_numbers(graph)
        write_weights(graph, output)
    else:
        export_onnx(optimize(graph, level)[0], output, opset, source, resized=bool(request.inputs))
    console.say(f"wrote {output} ({output.stat().st_size:,} bytes)")
