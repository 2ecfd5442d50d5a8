"""Rows of activations that ONNX names only from some opset on; below, they are written out in what it has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....ir.errors import UnsupportedOp
from ....ir.graph import Node
from ....ir.ops.activation_variants import TANH_GELU
from ....ir.types import DTYPES
from .onnx_emitter import OnnxEmitter, OnnxRow

__all__ = ["dense", "extreme", "gelu", "hard_swish", "mish", "modulo", "or_equal", "softmax"]


def softmax(op_type: str) -> OnnxRow:
    """Before opset 13 it is over all axes from `axis` on, so that the axis goes last where others follow it."""

    def row(node: Node, to: OnnxEmitter) -> None:
        shape = node.typed.shape
        axis = node.op.axis % len(shape)
        if to.opset >= 13 or all(dim == 1 for dim in shape[axis + 1 :]):
            to.node(op_type, node, axis=node.op.axis)
            return
        perm = list(range(len(shape)))
        perm[axis], perm[-1] = perm[-1], perm[axis]
        last = to.helper_node("Transpose", node, "last", [node.inputs[0].name], perm=perm)
        to.node("Transpose", node, [to.helper_node(op_type, node, "chosen", [last], axis=len(shape) - 1)], perm=perm)

    return row


def dense(node: Node, to: OnnxEmitter) -> None:
    """Before opset 11 Gemm wants a bias."""
    names = [operand.name for operand in node.inputs]
    if to.opset < 11 and len(names) == 2:
        names.append(_number(node, to, "zero", 0.0))
    to.node("Gemm", node, names, transB=1)


def extreme(op_type: str) -> OnnxRow:
    """Max and Min, which broadcast from opset 8 on."""

    def row(node: Node, to: OnnxEmitter) -> None:
        if to.opset < 8 and any(operand.typed.shape != node.typed.shape for operand in node.inputs):
            raise UnsupportedOp(f"{node.where}: {op_type} of operands of different shapes needs ONNX opset 8, not {to.opset}")
        to.node(op_type, node)

    return row


def or_equal(op_type: str) -> OnnxRow:
    """GreaterOrEqual and LessOrEqual, from opset 12 on."""

    def row(node: Node, to: OnnxEmitter) -> None:
        if to.opset >= 12:
            to.node(f"{op_type}OrEqual", node)
            return
        operands = [operand.name for operand in node.inputs]
        for name in (op_type, "Equal"):
            to.check_element_types(name, node, operands)
        to.node("Or", node, [to.helper_node(name, node, name.lower(), operands) for name in (op_type, "Equal")])

    return row


def gelu(node: Node, to: OnnxEmitter) -> None:
    """Gelu from opset 20 on; below, the formula in the form that exporters write. In float64 too: Gelu's constants are float32."""
    if to.opset >= 20 and node.typed.dtype != "f64":
        to.node("Gelu", node, approximate=node.op.approximate)
        return
    x = node.inputs[0].name
    share = _tanh_share(node, to, x) if node.op.approximate == "tanh" else _erf_share(node, to, x)
    grown = to.helper_node("Add", node, "grown", [share, _number(node, to, "one", 1.0)])
    gated = to.helper_node("Mul", node, "gated", [x, grown])
    to.node("Mul", node, [gated, _number(node, to, "half", 0.5)])


def mish(node: Node, to: OnnxEmitter) -> None:
    if to.opset >= 18:
        to.node("Mish", node)
        return
    soft = to.helper_node("Softplus", node, "softplus", [node.inputs[0].name])
    to.node("Mul", node, [node.inputs[0].name, to.helper_node("Tanh", node, "tanh", [soft])])


def hard_swish(node: Node, to: OnnxEmitter) -> None:
    """HardSwish from opset 14 on; in float64 written out, as its sixth is a float32."""
    x = node.inputs[0].name
    if node.typed.dtype == "f64":
        sixth = to.helper_node("Div", node, "sixth", [x, _number(node, to, "six", 6.0)])
        line = to.helper_node("Add", node, "line", [sixth, _number(node, to, "half", 0.5)])
        share = to.helper_node("Clip", node, "share", [line, _number(node, to, "zero", 0.0), _number(node, to, "one", 1.0)])
        to.node("Mul", node, [x, share])
    elif to.opset >= 14:
        to.node("HardSwish", node)
    else:
        to.node("Mul", node, [x, to.helper_node("HardSigmoid", node, "share", [x], alpha=1 / 6, beta=0.5)])


def modulo(node: Node, to: OnnxEmitter) -> None:
    """Of floats with the sign of the divisor, ONNX has it from opset 28 on."""
    if node.typed.is_float and not node.op.fmod and to.opset < 28:
        raise UnsupportedOp(f"{node.where}: of floats the remainder without fmod needs ONNX opset 28, not {to.opset}")
    to.node("Mod", node, fmod=int(node.op.fmod))


def _erf_share(node: Node, to: OnnxEmitter, x: str) -> str:
    return to.helper_node("Erf", node, "erf", [to.helper_node("Div", node, "scaled", [x, _number(node, to, "root", math.sqrt(2))])])


def _tanh_share(node: Node, to: OnnxEmitter, x: str) -> str:
    scale, cubic = TANH_GELU
    square = to.helper_node("Mul", node, "square", [x, x])
    cube = to.helper_node("Mul", node, "cube", [square, x])
    bent = to.helper_node("Add", node, "bent", [x, to.helper_node("Mul", node, "term", [cube, _number(node, to, "cubic", cubic)])])
    return to.helper_node("Tanh", node, "tanh", [to.helper_node("Mul", node, "scaled", [bent, _number(node, to, "scale", scale)])])


def _number(node: Node, to: OnnxEmitter, what: str, value: float) -> str:
    dtype: Any = DTYPES[node.typed.dtype]
    return to.constant(node, what, np.array(value, dtype))
