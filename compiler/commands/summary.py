"""convc summary"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import click

from ...ir.binding import batch_names
from ...ir.dims import Dim, evaluate
from ...ir.errors import UsageError
from ...ir.graph import Graph, Node
from ...ir.ops.norm import BATCH_NORM
from ...passes.cost import graph_cost, node_cost
from ...passes.windows import surprises
from ..load import Request
from ..pipelines import optimize
from ..report import count
from .options import Desk, emit_json, model_options, print_table

__all__ = ["command"]

# Ops that can write over their operand: the course's tables give them no line and no memory of their own.
IN_PLACE = {
    *("relu", "leaky_relu", "clip", "sigmoid", "tanh", "softmax", "log_softmax", "dropout", "identity", "flatten", "reshape"),
    *("elu", "selu", "hard_sigmoid", "hard_swish", "gelu", "mish", "prelu", "softplus"),
}


@dataclass(frozen=True)
class Line:
    """One layer. `memory` counts values of one image, `weights` excludes biases. Texts hold the arithmetic."""

    name: str
    layer: str
    output: str
    memory: int
    memory_text: str
    weights: int
    weights_text: str
    biases: int
    macs: int


@click.command("summary")
@model_options
@click.option("-O", "level", type=click.IntRange(0, 3), default=0, show_default=True, help="Summarize what this level makes of it.")
@click.option("--all", "every", is_flag=True, help="Also activations and reshapes, which need no memory of their own.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(desk: Desk, request: Request, level: int, every: bool, as_json: bool) -> None:
    """Print a line per layer of MODEL: output, memory, parameters, multiply-adds, and totals.

    Everything is per image, whatever the batch. No weights are made.
    """
    graph, _ = optimize(desk.load(request), level)
    sizes = dict.fromkeys(batch_names(graph), 1)
    open_ = [name for name in graph.symbols if name not in sizes]
    if open_:
        raise UsageError(f"the size {open_[0]} has no number, so nothing can be counted; give one, such as {_example(graph)}")
    images = _images(graph)
    lines = [_line(node, graph, sizes, images) for node in (*graph.inputs, *graph.ops)]
    if not every:
        hidden = {node.name for node in graph.ops if node.kind.name in IN_PLACE and not any(_params(node, graph))}
        lines = [line for line in lines if line.name not in hidden]
    if as_json:
        emit_json({"layers": [asdict(line) for line in lines], "totals": _totals(lines, graph, sizes, images)})
        return
    _print(lines, _totals(lines, graph, sizes, images))
    for found in surprises(graph):
        desk.say(f"note: {found}")


def _example(graph: Graph) -> str:
    """--input with a number for every open size."""
    keep = batch_names(graph)
    node = next(node for node in graph.inputs if set(node.typed.symbols) - keep)
    return f"--input {node.name}:{','.join(str(d) if isinstance(d, int) or str(d) in keep else '224' for d in node.typed.shape)}"


def _images(graph: Graph) -> int:
    """The batch where it is a number that all inputs share, else 1."""
    batches = {node.typed.shape[0] for node in graph.inputs if node.typed.rank > 1}
    batch = batches.pop() if len(batches) == 1 else 1
    return batch if isinstance(batch, int) else 1


def _totals(lines: list[Line], graph: Graph, sizes: Mapping[str, int], images: int) -> dict[str, int]:
    """Sums of the lines and of the graph, per image where that makes a difference."""
    cost = graph_cost(graph, sizes)
    statistics = {stat for node in graph.ops if node.kind is BATCH_NORM for stat in node.inputs[3:]}
    return {
        "memory": sum(line.memory for line in lines),
        "weights": sum(line.weights for line in lines),
        "biases": sum(line.biases for line in lines),
        "params": cost.params,
        "trainable": cost.params - sum(_number(node.typed.shape) for node in statistics),
        "weight_bytes": cost.weight_bytes,
        "macs": cost.macs // images,
        "flops": cost.flops // images,
    }


def _print(lines: list[Line], totals: Mapping[str, int]) -> None:
    """Columns as in the course: CONV3-64, [224x224x64], memory: 224*224*64=3.2M, params: (3*3*3)*64 = 1,728."""
    rows = [
        (f"{x.layer}:", x.output, f"memory: {x.memory_text}", f"params: {x.weights_text}", f"{count(x.macs)} MACs", x.name) for x in lines
    ]
    print_table(rows)
    size = f"{totals['memory'] * 4 / 2**20:.1f} MiB" if totals["memory"] * 4 >= 2**20 else f"{totals['memory'] * 4 / 2**10:.1f} KiB"
    stored = f"{totals['weight_bytes'] / 2**20:.1f} MiB" if totals["weight_bytes"] >= 2**20 else f"{totals['weight_bytes'] / 2**10:.1f} KiB"
    trainable = f", {totals['trainable']:,} of them trainable" if totals["trainable"] != totals["params"] else ""
    click.echo(f"TOTAL memory: {totals['memory']:,} values * 4 bytes = {size} / image")
    click.echo(f"TOTAL params: {totals['weights']:,} weights + {totals['biases']:,} others = {totals['params']:,} ({stored}){trainable}")
    click.echo(f"TOTAL work:   {totals['macs']:,} multiply-adds, {totals['flops']:,} FLOPs / image")


def _line(node: Node, graph: Graph, sizes: Mapping[str, int], images: int) -> Line:
    shape = tuple(evaluate(dim, sizes) for dim in node.typed.shape)
    shape = (1, *shape[1:]) if shape and shape[0] == images else shape
    memory = 0 if node.kind.name in IN_PLACE else _number(shape)
    params = _params(node, graph)
    weights = [p for p in params if p.typed.rank > 1]
    return Line(
        name=node.name,
        layer=_label(node),
        output=_output(shape),
        memory=memory,
        memory_text=_memory(shape, memory) if memory else "in place",
        weights=sum(_number(p.typed.shape) for p in weights),
        weights_text=" + ".join(_weights(node, p) for p in weights) or _statistics(params),
        biases=sum(_number(p.typed.shape) for p in params if p.typed.rank <= 1),
        macs=_number((node_cost(node, sizes).macs,)) // images,
    )


def _params(node: Node, graph: Graph) -> list[Node]:
    """Parameters whose first reader is this node, so that shared ones count once."""
    return [p for p in dict.fromkeys(node.inputs) if p.weights is not None and graph.readers[p][0] is node]


def _label(node: Node) -> str:
    """CONV3-64, POOL2, FC: the words of the papers' tables."""
    match node.kind.name:
        case "conv2d" | "conv_transpose2d":
            rows, cols = node.inputs[1].typed.concrete()[2:]
            kernel = f"{rows}" if rows == cols else f"{rows}x{cols}"
            stride = f"/{node.op.strides[0]}" if node.op.strides[0] == node.op.strides[1] != 1 else ""
            stride = stride or (f"/{node.op.strides[0]}x{node.op.strides[1]}" if node.op.strides != (1, 1) else "")
            groups = f" g{node.op.groups}" if node.op.groups > 1 else ""
            return f"{'CONV' if node.kind.name == 'conv2d' else 'UPCONV'}{kernel}-{node.typed.shape[1]}{stride}{groups}"
        case "max_pool" | "avg_pool":
            kernel, stride = node.op.kernel[0], node.op.strides[0]
            return f"{'' if node.kind.name == 'max_pool' else 'AVG'}POOL{kernel}" + (f"/{stride}" if stride != kernel else "")
        case "dense":
            return "FC"
        case name:
            return name.upper()


def _output(shape: tuple[Dim, ...]) -> str:
    """[HxWxC] as the papers write it; a flat layer is [1x1xC]."""
    if len(shape) == 4:
        return f"[{shape[2]}x{shape[3]}x{shape[1]}]"
    return f"[1x1x{shape[1]}]" if len(shape) == 2 else f"[{'x'.join(map(str, shape[1:]))}]"


def _memory(shape: tuple[Dim, ...], total: int) -> str:
    if len(shape) == 4:
        return f"{shape[2]}*{shape[3]}*{shape[1]}={count(total)}"
    return "*".join(map(str, shape[1:])) or "1"


def _weights(node: Node, param: Node) -> str:
    """(3*3*3)*64 = 1,728 for a convolution; inputs*outputs for a dense layer, an image's inputs spelled out."""
    shape = param.typed.concrete()
    total = math.prod(shape)
    if node.kind.name == "conv2d":
        return f"({shape[2]}*{shape[3]}*{shape[1]})*{shape[0]} = {total:,}"
    if node.kind.name == "dense":
        source = node.inputs[0]
        flat = source.inputs[0].typed.shape if source.kind.name == "flatten" else (1, shape[1])
        image = f"{flat[2]}*{flat[3]}*{flat[1]}" if len(flat) == 4 and flat[2:] != (1, 1) else str(shape[1])
        return f"{image}*{shape[0]} = {total:,}"
    return f"{'*'.join(map(str, shape))} = {total:,}"


def _statistics(params: list[Node]) -> str:
    """Batch norm's scale, shift, mean and variance, or whatever else has one axis."""
    total = sum(_number(p.typed.shape) for p in params)
    return f"{len(params)}*{total // len(params)} = {total:,}" if total else "0"


def _number(shape: tuple[Dim, ...]) -> int:
    return math.prod(dim for dim in shape if isinstance(dim, int))
