"""Rows of quantized numbers: to steps and back, and products of steps."""

from __future__ import annotations

from typing import Any

from ....ir.errors import UnsupportedOp
from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops import integer, qlinear, quantize
from .onnx_emitter import OnnxEmitter, OnnxRow, simple

__all__ = ["QUANTIZED"]


def _dequantize(node: Node, to: OnnxEmitter) -> None:
    dtype = node.typed.dtype
    if dtype == "f64" or (dtype == "f16" and to.opset < 19):
        raise UnsupportedOp(f"{node.where}: ONNX DequantizeLinear has no scale of {dtype} at opset {to.opset}; cast it to f32")
    _by_axis("DequantizeLinear")(node, to)


def _by_axis(op_type: str) -> OnnxRow:
    """Before opset 13 the scale is a single number, and there is no axis to tell; before 21 there are no blocks."""

    def row(node: Node, to: OnnxEmitter) -> None:
        if node.op.block and to.opset < 21:
            raise UnsupportedOp(f"{node.where}: {op_type} with scales of blocks needs ONNX opset 21, not {to.opset}")
        if to.opset >= 13:
            to.node(op_type, node, axis=node.op.axis, **({"block_size": node.op.block} if node.op.block else {}))
        elif node.inputs[1].typed.rank:
            raise UnsupportedOp(f"{node.where}: {op_type} with a scale for each channel needs ONNX opset 13, not {to.opset}")
        else:
            to.node(op_type, node)

    return row


def _quantize(node: Node, to: OnnxEmitter) -> None:
    if node not in _dynamic_results(node.inputs[1], to):
        _by_axis("QuantizeLinear")(node, to)


def _dynamic_scale(node: Node, to: OnnxEmitter) -> None:
    """One DynamicQuantizeLinear for steps, scale and zero; what is not there gets a name of its own."""
    steps, _, zero = _dynamic_results(node, to)
    names = [to.free_name(node, what) if made is None else made.name for what, made in (("steps", steps), ("zero", zero))]
    to.node("DynamicQuantizeLinear", node, None, [names[0], node.name, names[1]])


def _dynamic_zero(node: Node, to: OnnxEmitter) -> None:
    found = _dynamic_results(node.inputs[1], to)
    if node in found:
        return
    if found[2] is None or node.inputs[0] is not node.inputs[1].inputs[0]:
        raise UnsupportedOp(f"{node.where}: its scale is not the dynamic_scale of the same value; ONNX has both of one value or none")
    to.node("Identity", node, [found[2].name])


def _dynamic_results(scale: Node, to: OnnxEmitter) -> tuple[Node | None, Node, Node | None]:
    """Steps, scale and zero that one operator computes: of each the first that there is, of the value that the scale is of."""
    if scale.kind is not quantize.DYNAMIC_SCALE:
        return None, scale, None
    x, readers = scale.inputs[0], to.graph.readers[scale]
    zero = next((reader for reader in readers if reader.kind is quantize.DYNAMIC_ZERO and reader.inputs[0] is x), None)
    steps = (reader for reader in readers if reader.kind is quantize.QUANTIZE_LINEAR and reader.inputs == (x, scale, zero))
    return next(steps, None), scale, zero


def _conv(op_type: str, weight: int) -> OnnxRow:
    """`weight` is its place among the operands."""

    def row(node: Node, to: OnnxEmitter) -> None:
        op, kernel = node.op, node.inputs[weight].typed.concrete()[2:]
        to.node(op_type, node, kernel_shape=kernel, group=op.groups, strides=op.strides, pads=op.pads, dilations=op.dilations)

    return row


QUANTIZED: dict[OpDef[Any], OnnxRow] = {
    quantize.QUANTIZE_LINEAR: _quantize,
    quantize.DEQUANTIZE_LINEAR: _dequantize,
    quantize.DYNAMIC_SCALE: _dynamic_scale,
    quantize.DYNAMIC_ZERO: _dynamic_zero,
    **dict.fromkeys(qlinear.QLINEAR_CONVS, _conv("QLinearConv", 3)),
    qlinear.QLINEAR_MATMUL: simple("QLinearMatMul"),
    **dict.fromkeys(integer.CONV_INTEGERS, _conv("ConvInteger", 1)),
    integer.MATMUL_INTEGER: simple("MatMulInteger"),
}
