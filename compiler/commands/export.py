"""convc export"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from ...backends.onnx.write.export import need_opset
from ...ir.errors import ConvcError, UsageError
from ...ir.graph import Graph
from ...passes.recompute import step_within, words_of
from ..compiling.precision import NARROW, Narrowed, feeds_of, in_precision, need_float32, need_use
from ..engines.onnxruntime import ONNXRUNTIME
from ..engines.optimize import optimize
from ..files.entering import Entering
from ..files.model import Request, load_with_source
from ..files.onnx_file import export_onnx
from ..files.weights import WEIGHT_FILES, check_numbers, write_weights
from ..targets.options import FP32, PRECISIONS
from ..training.onnx_step import export_training
from ..training.step import evaluation_step, training_step
from .console import Console
from .options import CALIBRATION, MEMORY, NAMES, OPSET, SHARE, check_suffix, gather, model_options, names_for
from .outputs import OUTPUT_FILE
from .pictures import entering_from, warn_of_lost

__all__ = ["command"]

PRECISION = "Of products and weights; inputs and outputs, norms, pool sums and softmax stay in fp32."


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What `convc export` was asked for; the help of its options says what each means."""

    output: Path
    level: int
    precision: str
    calibration: tuple[str, ...]
    opset: int | None
    training: bool
    evaluation: bool
    memory: float | None
    names: str


@click.command("export")
@model_options
@click.option("-o", "--output", type=OUTPUT_FILE, required=True, help="The ONNX file to write; .safetensors or .npz for weights alone.")
@click.option("-O", "level", type=click.IntRange(0, 3), default=0, show_default=True, help="Optimization level before the export.")
@click.option("--precision", type=click.Choice(PRECISIONS), default=FP32, show_default=True, help=PRECISION)
@click.option("--calibration", multiple=True, metavar="FILE", help=CALIBRATION)
@click.option("--training", is_flag=True, help="A step of training with sgd: weights and state in, loss and the next ones out.")
@NAMES
@click.option("--memory", type=SHARE, help=MEMORY)
@click.option("--evaluation", is_flag=True, help="Loss and accuracy, weights as inputs.")
@click.option("--opset", type=int, help=OPSET)
@gather("given", ExportOptions)
@click.pass_obj
def command(console: Console, request: Request, given: ExportOptions) -> None:
    """Write MODEL as an ONNX file, or its parameters by name. It is exported as written unless -O asks for passes.

    --names pytorch has a table for alexnet_owt, vgg11, vgg13, vgg16, vgg19, vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn, googlenet_bn,
    inception_v3, squeezenet1_0, squeezenet1_1, mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small, shufflenet_v2, regnet_x_800mf,
    regnet_y_400mf, efficientnet_b0, efficientnet_v2_s, convnext_tiny, convnext_small, convnext_base, convnext_large, vit_b_16,
    vit_b_32, vit_l_16, densenet121, resnet18, resnet34, resnet50_v1_5, resnet101_v1_5 and resnet152_v1_5.
    """
    output = given.output
    check_suffix("-o", output, (".onnx", *WEIGHT_FILES))
    if given.precision == "tf32":
        raise UsageError("tf32 is how a GPU multiplies float32, and no file says it: the runtime that loads one decides; export as fp32")
    need_use(given.calibration, given.precision)
    need_opset(given.opset)
    graph, source = load_with_source(request, console.zoo, console.say)
    entering = entering_from(console, request, graph, given.calibration)
    _need_fitting(given)
    if output.suffix in WEIGHT_FILES:
        check_numbers(graph)
        write_weights(graph, output, names_for(console, request.model, given.names), entering)
        warn_of_lost(console, entering, output)
    elif given.training or given.evaluation:
        step = _improved(console, training_step(graph) if given.training else evaluation_step(graph), given, entering)
        export_training(step, output, given.opset, entering)
    else:
        export_onnx(_improved(console, graph, given, entering), output, given.opset, source, resized=bool(request.inputs))
        warn_of_lost(console, entering, output)
    console.say(f"wrote {output} ({output.stat().st_size:,} bytes)")


def _need_fitting(given: ExportOptions) -> None:
    """Raises: UsageError for options that do not go together, or are not of such a file."""
    output, is_step = given.output, given.training or given.evaluation
    if is_step and ((given.training and given.evaluation) or given.precision != FP32 or output.suffix != ".onnx"):
        raise UsageError("--training and --evaluation each write one .onnx file of their own, in fp32")
    if given.memory is not None and not given.training:
        raise UsageError("--memory is of a step of training; give --training too")
    if output.suffix not in WEIGHT_FILES and given.names != "convc":
        raise UsageError(f"--names is of a file of weights, and '{output}' is none; leave it out")
    if output.suffix in WEIGHT_FILES and (given.level or given.opset or given.precision != FP32):
        extra = "-O" if given.level else "--opset" if given.opset else "--precision"
        raise UsageError(f"'{output}' takes the weights of the network as written, as --weights reads them; leave out {extra}")


def _improved(console: Console, graph: Graph, given: ExportOptions, entering: Entering | None) -> Graph:
    """After the passes, in less memory and in the precision that were asked for."""
    better = optimize(graph, given.level)[0]
    if given.memory is not None:
        found = step_within(better, given.memory)
        console.say(words_of(found, better))
        better = found.graph
    if narrowed := _narrowed(console, better, given.precision, given.calibration, entering):
        better = narrowed.graph
        for line in narrowed.lines:
            console.say(line)
    return better


def _narrowed(console: Console, graph: Graph, precision: str, calibration: tuple[str, ...], entering: Entering | None) -> Narrowed | None:
    """What leaves the range of 16 bits on an input drawn at random, or on those for calibration, stays in float32."""
    if precision not in NARROW:
        return None
    need_float32(graph, precision)
    try:
        feeds = feeds_of(graph, calibration, 0, drawn=True, entering=entering, say=console.say)
        return in_precision(graph, precision, feeds, ONNXRUNTIME.prices)
    except ConvcError as error:  # nothing here computes what only another runtime can
        if calibration:
            raise
        console.say(f"warning: what leaves the range of {precision} was not looked for: {error}")
        return in_precision(graph, precision, [], ONNXRUNTIME.prices)
