"""The table of layers of `convc summary`: output, memory, parameters and work of each, in the words of the papers' tables.

Rows, columns and lengths that have only a name stay names: 3*H*W values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...ir.dims import Dim, alone, evaluate
from ...ir.errors import InvalidModel
from ...ir.graph import Graph, Node
from ...ir.ops.conv import CONVS, Conv, conv_of
from ...ir.ops.conv_transpose import CONV_TRANSPOSES, ConvTranspose, conv_transpose_of
from ...ir.ops.leaf import PARAM
from ...ir.ops.linear import DENSE
from ...ir.ops.norm import BATCH_NORM
from ...ir.ops.opaque import OPAQUE, OPAQUE_RESULT
from ...ir.ops.pool import AVG_POOL, MAX_POOL, AvgPool, MaxPool
from ...ir.ops.shape import FLATTEN
from ...ir.types import TensorType
from ...ir.usual_sizes import one_image
from ...passes.analysis.cost import node_cost
from .text import count

__all__ = ["Figure", "LayerLine", "LayerTable", "layer_label", "layer_table"]

Figure = Dim | None
Costs = tuple[Figure, Figure]  # multiply-adds and FLOPs


@dataclass(frozen=True)
class LayerLine:
    """One layer. `memory` counts values of one image, `weights` excludes biases. Texts hold the arithmetic; `output` is in the order of
    papers, and `shape` the value's own.

    Where named sizes are left, `memory` and `macs` are expressions over them, or None where one would be too long; `macs` are None also for
    what another runtime computes.
    """

    name: str
    layer: str
    output: str
    memory: Figure
    memory_bytes: Figure
    memory_text: str
    weights: int
    weights_text: str
    biases: int
    macs: Figure
    shape: tuple[Dim, ...] = ()


@dataclass(frozen=True, slots=True)
class _PerImage:
    """What a type comes to for one image: as `LayerLine` has it."""

    shape: tuple[Dim, ...]
    output: str
    memory: Figure
    nbytes: Figure
    text: str


@dataclass(frozen=True)
class LayerTable:
    """A line per layer, and sums of the lines and of the graph, per image where that makes a difference."""

    lines: Sequence[LayerLine]
    totals: Mapping[str, Figure]


def layer_table(graph: Graph, *, every: bool = False, sizes: Mapping[str, int] | None = None) -> LayerTable:
    """Everything is per image, whatever the batch. Ops that work in place have a line if they have parameters, or with `every`.

    `sizes` are numbers for named sizes, also for a batch that cannot be 1; others stay names.
    """
    sizes = {**one_image(graph), **(sizes or {})}
    images = _images(graph, sizes)
    known: dict[TensorType, _PerImage] = {}
    shown = [node for node in (*graph.inputs, *graph.ops) if node.kind is not OPAQUE_RESULT]
    listed = [node for node in shown if every or not _is_in_place(node) or _params(node, graph)]
    costs = _costs((*graph.inputs, *graph.ops), sizes)
    for type_ in (node.typed for node in listed):
        if type_ not in known:
            known[type_] = _value(type_, sizes, images)
    lines = [_line(node, graph, known[node.typed], images, costs[node]) for node in listed]
    return LayerTable(lines, _totals(lines, graph, costs, images))


def _is_in_place(node: Node) -> bool:
    """What can write over its operand, or is a view of it: the course's tables give it no line and no memory of its own."""
    return node.kind.facts.activation or node.kind.facts.is_view


def _images(graph: Graph, sizes: Mapping[str, int]) -> Dim:
    """The batch where all inputs share one, else 1; of none, 1 too, and all there is of it comes to nothing."""
    batches = {evaluate(node.typed.shape[0], sizes) for node in graph.inputs if node.typed.rank > 1}
    return (batches.pop() if len(batches) == 1 else 1) or 1


def _totals(lines: Sequence[LayerLine], graph: Graph, costs: Mapping[Node, Costs], images: Dim) -> dict[str, Figure]:
    params = [node.typed for node in graph.params]
    count = sum(_number(type_.shape) for type_ in params)
    fixed = {stat for node in graph.ops if node.kind is BATCH_NORM for stat in node.inputs[3:]}
    fixed |= {node for node in graph.params if PARAM.of(node).init in ("constant", "full")}
    return {
        "memory": _sum(line.memory for line in lines),
        "memory_bytes": _sum(line.memory_bytes for line in lines),
        "weights": sum(line.weights for line in lines),
        "biases": sum(line.biases for line in lines),
        "params": count,
        "trainable": count - sum(_number(node.typed.shape) for node in fixed),
        "weight_bytes": sum(_number((type_.nbytes,)) for type_ in params),
        "macs": _sum((costs[node][0] for node in graph.ops), images),
        "flops": _sum((costs[node][1] for node in graph.ops), images),
    }


def _value(type_: TensorType, sizes: Mapping[str, int], images: Dim) -> _PerImage:
    shape = tuple(evaluate(dim, sizes) for dim in type_.shape)
    shape = (1, *shape[1:]) if shape and shape[0] == images else shape
    memory = _values(shape)
    return _PerImage(shape, _output(shape), memory, None if memory is None else memory * type_.itemsize, _memory(shape, memory))


def _line(node: Node, graph: Graph, value: _PerImage, images: Dim, cost: Costs) -> LayerLine:
    params, is_free = _params(node, graph), _is_in_place(node) or value.memory == 0
    weights = [p for p in params if p.typed.rank > 1]
    return LayerLine(
        name=node.name,
        layer=layer_label(node),
        output=value.output,
        memory=0 if is_free else value.memory,
        memory_bytes=0 if is_free else value.nbytes,
        memory_text="in place" if is_free else value.text,
        weights=sum(_number(p.typed.shape) for p in weights),
        weights_text=" + ".join(_weights(node, p) for p in weights) or _statistics(params),
        biases=sum(_number(p.typed.shape) for p in params if p.typed.rank <= 1),
        macs=None if node.kind.facts.opaque else _sum(cost[:1], images),
        shape=value.shape,
    )


def _params(node: Node, graph: Graph) -> list[Node]:
    """Parameters whose first reader is this node, so that shared ones count once."""
    return [p for p in dict.fromkeys(node.inputs) if p.weights is not None and graph.readers[p][0] is node]


def layer_label(node: Node) -> str:
    """CONV3-64, POOL2, FC: the words of the papers' tables."""
    if node.kind in CONVS:
        return _conv_label("CONV", node, conv_of(node))
    if node.kind in CONV_TRANSPOSES:
        return _conv_label("UPCONV", node, conv_transpose_of(node))
    if node.kind is MAX_POOL:
        return _pool_label("POOL", MAX_POOL.of(node))
    if node.kind is AVG_POOL:
        return _pool_label("AVGPOOL", AVG_POOL.of(node))
    if node.kind is OPAQUE:
        return OPAQUE.of(node).operator.upper()
    return "FC" if node.kind is DENSE else node.kind.name.upper()


def _conv_label(word: str, node: Node, op: Conv | ConvTranspose) -> str:
    kernel = _alike(node.inputs[1].typed.concrete()[2:])
    stride = f"/{_alike(op.strides)}" if max(op.strides) > 1 else ""
    groups = f" g{op.groups}" if op.groups > 1 else ""
    return f"{word}{kernel}-{node.typed.shape[1]}{stride}{groups}"


def _alike(sizes: Sequence[int]) -> str:
    """One number where all axes have the same."""
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))


def _pool_label(word: str, op: MaxPool | AvgPool) -> str:
    axes = len(op.kernel)
    kernel, stride = (_alike(op.kernel), _alike(op.strides)) if axes > 2 else (op.kernel[0], op.strides[0])
    return f"{word}{kernel}" + (f"/{stride}" if stride != kernel else "")


def _output(shape: tuple[Dim, ...]) -> str:
    """[HxWxC] as the papers write it, a volume [DxHxWxC]; a flat layer is [1x1xC]."""
    if len(shape) in (4, 5):
        return f"[{'x'.join(map(_extent, (*shape[2:], shape[1])))}]"
    return f"[1x1x{_extent(shape[1])}]" if len(shape) == 2 else f"[{'x'.join(map(_extent, shape[1:]))}]"


def _memory(shape: tuple[Dim, ...], total: Figure) -> str:
    if len(shape) in (4, 5):
        product = "*".join(map(_extent, (*shape[2:], shape[1])))
        return f"{product}={count(total)}" if isinstance(total, int) else product
    return "*".join(map(_extent, shape[1:])) or "1"


def _extent(dim: Dim) -> str:
    """A size as a factor; what is computed from a name is bracketed."""
    return str(dim) if isinstance(dim, int) or alone(dim) else f"({dim})"


def _weights(node: Node, param: Node) -> str:
    """(3*3*3)*64 = 1,728 for a convolution; inputs*outputs for a dense layer, an image's inputs spelled out."""
    shape = param.typed.concrete()
    total = math.prod(shape)
    if node.kind in CONVS:
        return f"({'*'.join(map(str, (*shape[2:], shape[1])))})*{shape[0]} = {total:,}"
    if node.kind is DENSE:
        source = node.inputs[0]
        flat = source.inputs[0].typed.shape if source.kind is FLATTEN else (1, shape[1])
        image = f"{flat[2]}*{flat[3]}*{flat[1]}" if len(flat) == 4 and flat[2:] != (1, 1) else str(shape[1])
        return f"{image}*{shape[0]} = {total:,}"
    return f"{'*'.join(map(str, shape))} = {total:,}"


def _statistics(params: list[Node]) -> str:
    """Batch norm's scale, shift, mean and variance, or whatever else has one axis."""
    total = sum(_number(p.typed.shape) for p in params)
    return f"{len(params)}*{total // len(params)} = {total:,}" if total else "0"


def _number(shape: tuple[Dim, ...]) -> int:
    return math.prod(dim for dim in shape if isinstance(dim, int))


def _costs(nodes: Iterable[Node], sizes: Mapping[str, int]) -> dict[Node, Costs]:
    """By node. Of a great network most are like another, and cost the same."""
    known: dict[object, Costs] = {}
    costs: dict[Node, Costs] = {}
    for node in nodes:
        alike = (node.kind, node.op, node.type, *[operand.type for operand in node.inputs])
        found = known.get(alike)
        if found is None:
            found = known[alike] = _cost(node, sizes)
        costs[node] = found
    return costs


def _cost(node: Node, sizes: Mapping[str, int]) -> Costs:
    """Multiply-adds and FLOPs."""
    try:
        cost = node_cost(node, sizes)
    except InvalidModel:  # a dimension has a greatest size
        return None, None
    return cost.macs, cost.flops


def _values(shape: tuple[Dim, ...]) -> Figure:
    try:
        return TensorType("f32", shape).numel
    except InvalidModel:  # a dimension has a greatest size
        return None


def _sum(figures: Iterable[Figure], images: Dim = 1) -> Figure:
    """The sum, of one image; None where it would be too long, or nobody divides it by a batch such as N*N."""
    total: Dim = 0
    try:
        for figure in figures:
            if figure is None:
                return None
            total = total + figure
        return total if total == 0 else total // images if isinstance(images, int) else None
    except InvalidModel:  # a dimension has a greatest size
        return None
