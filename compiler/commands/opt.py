"""convc opt"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ...ir.errors import UsageError
from ...ir.files import write_file
from ...ir.parser import parse_graph
from ...ir.printer import print_graph
from ..files.model import read_text
from ..files.weights import WEIGHT_FILES, write_weights
from .console import Console, echo
from .options import PassOptions, check_suffix, pass_options
from .outputs import OUTPUT_FILE
from .pipeline import run_pipeline

__all__ = ["command"]


@click.command("opt")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@pass_options
@click.option("-o", "--output", type=OUTPUT_FILE, help="Write here instead of standard output.")
@click.option("--save-weights", type=OUTPUT_FILE, help="Also write the result's weights as .safetensors or .npz.")
@click.option("--origins", is_flag=True, help="Also print where each node came from.")
@click.pass_obj
def command(console: Console, file: Path, output: Path | None, save_weights: Path | None, origins: bool, passes: PassOptions) -> None:
    """Run passes on the IR text in FILE ('-' for standard input) and print the result."""
    if save_weights is not None:
        check_suffix("--save-weights", save_weights, WEIGHT_FILES)
    if _is_model(console, file):
        raise UsageError(f"opt takes IR text, a .cir file, and '{file}' is a model; `convc inspect {file} --ir -O0` prints its text")
    text, name = (sys.stdin.read(), "<stdin>") if str(file) == "-" else (read_text(file), file.name)
    graph, _ = run_pipeline(console, parse_graph(text, name), passes)
    if save_weights is not None:
        write_weights(graph, save_weights)
    result = print_graph(graph, origins=origins)
    if output is None:
        echo(result, nl=False)
    else:
        write_file(output, result.encode())


def _is_model(console: Console, file: Path) -> bool:
    """Whether other commands would take it: an ONNX file, a network in Python or of the zoo, an artifact."""
    named = str(file)
    return (
        file.suffix == ".onnx" or file.is_dir() or named.rpartition(":")[0].endswith(".py") or (named in console.zoo and not file.exists())
    )
