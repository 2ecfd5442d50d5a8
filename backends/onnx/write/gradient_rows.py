"""Rows of gradients that ONNX has no operator for: written out in ops that have one, each by its own row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....ir.errors import UnsupportedOp
from ....ir.gradient import NodeMaker
from ....ir.graph import Graph, Node
from ....ir.op import OpDef
from ....ir.ops.conv_weight_gradient import CONV_WEIGHT_GRADIENTS, ConvWeightGradient, by_taps
from ....ir.ops.leaf import INPUT, Input
from ....ir.ops.max_pool_gradient import MAX_POOL_GRADIENT, by_places
from ....ir.terms import Term
from ...unsupported import Unsupported
from .onnx_emitter import OnnxEmitter, OnnxRow

__all__ = ["gradient_rows"]

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
