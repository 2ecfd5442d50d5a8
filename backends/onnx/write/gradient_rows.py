"""Rows of gradients that ONNX has no operator for: written out in ops that have one, each by its own row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ....ir.errors import UnsupportedOp
from ....ir.gradient import NodeMaker
from ....ir.graph import Graph, Node
from ....ir.op import OpDef
from ....ir.ops.conv_weight_gradient import CONV_WEIGHT_GRADIENTS, ConvWeightGradient, by_taps
from ....ir.ops.leaf import INPUT, Input
from ....ir.ops.max_pool_gradient import MAX_POOL_GRADIENT, by_places
from ....ir.ops.shape import PAD, RESHAPE
from ....ir.terms import Term
from ....ir.types import DTYPES
from ...unsupported import Unsupported
from .onnx_emitter import OnnxEmitter, OnnxRow

__all__ = ["gradient_rows", "is_spreading", "spread_apart"]

FEW_CHANNELS = 8  # with one product a tap so narrow, onnxruntime is slower than by a convolution: 15 times for the first of LeNet-5
Rows = Callable[[], Mapping[OpDef[Any], OnnxRow | Unsupported]]


def gradient_rows(rows: Rows) -> dict[OpDef[Any], OnnxRow]:
    """`rows` has those of all ops."""

    def weight_gradient(node: Node, to: OnnxEmitter) -> None:
        channels = node.inputs[0].typed.shape[1]
        if node.op.groups == 1 and isinstance(channels, int) and channels <= FEW_CHANNELS:
            _by_exchange(node, to)
        else:
            _written_out(node, to, by_taps, rows())

    def max_pool_gradient(node: Node, to: OnnxEmitter) -> None:
        _written_out(node, to, by_places, rows())

    return {**dict.fromkeys(CONV_WEIGHT_GRADIENTS, weight_gradient), MAX_POOL_GRADIENT: max_pool_gradient}


def is_spreading(node: Node, graph: Graph) -> bool:
    """Whether this pad puts zeros behind each element of rows, as the way back of a slice with steps does along the last axis."""
    x, op = node.inputs[0], PAD.of(node)
    if x.kind is not RESHAPE or x.typed.dtype != "f32" or x.typed.rank < 3 or x.typed.shape[-1] != 1:
        return False
    named = [dim for dim in x.typed.shape if not isinstance(dim, int)]
    if len(named) > 1 or any(dim in x.typed.shape[-3:] for dim in named):
        return False
    only_behind = op.mode == "constant" and not op.value and op.pads[-1] > 0 and not any(op.pads[:-1])
    return only_behind and all(reader.kind is RESHAPE for reader in graph.readers[node])


def spread_apart(node: Node, to: OnnxEmitter) -> None:
    """A transposed convolution of one tap: onnxruntime pads the innermost axis element by element, which takes five times as long."""
    *_, rows, row, _ = node.inputs[0].typed.shape
    assert isinstance(rows, int)
    assert isinstance(row, int)
    behind = PAD.of(node).pads[-1]
    images = to.helper_node("Reshape", node, "images", [node.inputs[0].name, to.int64s(node, "shape", (-1, 1, rows, row))])
    tap = to.constant(node, "tap", np.ones((1, 1, 1, 1), DTYPES["f32"]))
    window = {"kernel_shape": (1, 1), "strides": (1, behind + 1), "output_padding": (0, behind)}
    spread = to.helper_node("ConvTranspose", node, "spread", [images, tap], **window)
    target = tuple(dim if isinstance(dim, int) else -1 for dim in node.typed.shape)
    to.node("Reshape", node, [spread, to.int64s(node, "target", target)])


def _by_exchange(node: Node, to: OnnxEmitter) -> None:
    """A convolution with channels for images, of which g is the filters, as many as there are images; stride and dilation change places."""
    op: ConvWeightGradient = node.op
    axes = len(op.kernel)
    turned = (1, 0, *range(2, axes + 2))
    x, g = (to.helper_node("Transpose", node, f"{operand.name}.turned", [operand.name], perm=turned) for operand in node.inputs)
    window = {"strides": op.dilations, "pads": op.pads, "dilations": op.strides}
    found = to.helper_node("Conv", node, "exchanged", [x, g], **window)
    limits = [
        to.int64s(node, what, values) for what, values in (("starts", (0,) * axes), ("ends", op.kernel), ("axes", range(2, axes + 2)))
    ]
    kept = to.helper_node("Slice", node, "kept", [found, *limits])  # there is more where rows are left over that no window read
    to.node("Transpose", node, [kept], perm=turned)


def _written_out(
    node: Node, to: OnnxEmitter, formula: Callable[[Any, Term, Term], Term], rows: Mapping[OpDef[Any], OnnxRow | Unsupported]
) -> None:
    """The nodes of a formula, each by its row, which looks around in a graph of these alone."""
    maker = NodeMaker(to.taken)
    maker.at = node
    operands = [Node(each.name, INPUT, Input(), (), each.typed, each.origin) for each in node.inputs]
    result = formula(node.op, *map(maker.term, operands)).value
    to.taken |= maker.taken
    parts = [made.like(name=node.name) if made is result else made for made in maker.made]  # the last, which none of them reads
    whole = to.graph
    to.graph = Graph(whole.name, whole.inputs, (parts[-1],), (*whole.inputs, *operands, *parts))
    try:
        for made in parts:
            if made.weights is not None:
                to.constants[made.name] = made.weights.array()
                continue
            row = rows[made.kind]
            if isinstance(row, Unsupported):
                raise UnsupportedOp(f"{node.where} cannot be exported to ONNX: {made.kind.name} cannot: {row.why}")
            row(made, to)
    finally:
        to.graph = whole
