"""One row per op: the ONNX node that computes it. Names are ONNX's already, so most rows are a name and attributes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.dims import Dim
from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops import (
    activation,
    activation_variants,
    compare,
    conv,
    conv_transpose,
    elementwise,
    leaf,
    linear,
    norm,
    resize,
    shape,
    thresholds,
    trigonometry,
    unary,
)
from ....ir.types import DTYPES
from ...unsupported import Unsupported
from .gradient_rows import gradient_rows, is_spreading, spread_apart
from .indexed_rows import INDEXED
from .onnx_emitter import OnnxEmitter, OnnxRow, simple
from .opaque_rows import OPAQUE_ROWS
from .pointwise_rows import dense, extreme, gelu, hard_swish, mish, modulo, or_equal, softmax
from .pool_rows import POOLS
from .quantized_rows import QUANTIZED
from .random_rows import RANDOM
from .resize_rows import resize as resize_row
from .sample_rows import SAMPLED
from .several_rows import SEVERAL
from .slice_rows import slice_row
from .structure_rows import STRUCTURE

__all__ = ["ROWS"]


def _conv(node: Node, to: OnnxEmitter) -> None:
    op = node.op
    attributes: dict[str, Any] = {"kernel_shape": node.inputs[1].typed.concrete()[2:], "group": op.groups}
    attributes |= {"strides": op.strides, "pads": op.pads, "dilations": op.dilations}
    is_transposed = node.kind in conv_transpose.CONV_TRANSPOSES
    if is_transposed:
        attributes["output_padding"] = op.output_padding
    to.node("ConvTranspose" if is_transposed else "Conv", node, **attributes)


def _clip(node: Node, to: OnnxEmitter) -> None:
    """Bounds are operands; an open side is an empty name."""
    dtype = DTYPES[node.typed.dtype]
    low = to.constant(node, "min", np.array(node.op.min, dtype)) if node.op.min > -math.inf else ""
    high = to.constant(node, "max", np.array(node.op.max, dtype)) if node.op.max < math.inf else ""
    inputs = [node.inputs[0].name, low, high]
    while not inputs[-1]:
        inputs.pop()
    to.node("Clip", node, inputs)


def _dropout(node: Node, to: OnnxEmitter) -> None:
    ratio = to.constant(node, "ratio", np.array(node.op.ratio, np.float32))
    to.node("Dropout", node, [node.inputs[0].name, ratio])


def _pad(node: Node, to: OnnxEmitter) -> None:
    if not node.op.pads:  # onnxruntime refuses to pad a scalar
        to.node("Identity", node)
        return
    if is_spreading(node, to.graph):
        spread_apart(node, to)
        return
    inputs = [node.inputs[0].name, to.int64s(node, "pads", node.op.pads)]
    if node.op.mode == "constant":
        inputs.append(to.constant(node, "value", np.array(node.op.value, DTYPES[node.typed.dtype])))
    to.node("Pad", node, inputs, mode=node.op.mode)


def _reshape(node: Node, to: OnnxEmitter) -> None:
    to.node("Reshape", node, [node.inputs[0].name, to.dims(node, "shape", _reshape_target(node))])


def _reshape_target(node: Node) -> Sequence[Dim]:
    """Numbers for a symbolic shape, if they can say it: 0 copies the input's dimension at that place, one -1 is the rest."""
    x = node.inputs[0].typed.shape
    target: list[int] = []
    for axis, dim in enumerate(node.typed.shape):
        if isinstance(dim, int):
            target.append(dim)
        elif axis < len(x) and x[axis] == dim:
            target.append(0)
        else:
            target.append(-1)
    return target if target.count(-1) <= 1 else node.typed.shape


def _cast(node: Node, to: OnnxEmitter) -> None:
    from onnx import helper

    to.node("Cast", node, to=helper.np_dtype_to_tensor_dtype(DTYPES[node.op.to]))


ROWS: dict[OpDef[Any], OnnxRow | Unsupported] = {
    leaf.INPUT: Unsupported("not a node in ONNX: export writes it as a graph input"),
    leaf.PARAM: Unsupported("not a node in ONNX: export writes it as an initializer"),
    **dict.fromkeys((*conv.CONVS, *conv_transpose.CONV_TRANSPOSES), _conv),
    **POOLS,
    norm.BATCH_NORM: simple("BatchNormalization", lambda op: {"epsilon": op.epsilon}),
    norm.LOCAL_RESPONSE_NORM: simple("LRN", lambda op: {"size": op.size, "alpha": op.alpha, "beta": op.beta, "bias": op.bias}),
    linear.DENSE: dense,
    linear.MATMUL: simple("MatMul"),
    activation.RELU: simple("Relu"),
    activation.LEAKY_RELU: simple("LeakyRelu", lambda op: {"alpha": op.alpha}),
    activation.CLIP: _clip,
    activation.SIGMOID: simple("Sigmoid"),
    activation.TANH: simple("Tanh"),
    activation.SOFTMAX: softmax("Softmax"),
    activation.LOG_SOFTMAX: softmax("LogSoftmax"),
    activation.DROPOUT: _dropout,
    activation_variants.ELU: simple("Elu", lambda op: {"alpha": op.alpha}),
    activation_variants.SELU: simple("Selu", lambda op: {"alpha": op.alpha, "gamma": op.gamma}),
    activation_variants.HARD_SIGMOID: simple("HardSigmoid", lambda op: {"alpha": op.alpha, "beta": op.beta}),
    activation_variants.HARD_SWISH: hard_swish,
    activation_variants.GELU: gelu,
    activation_variants.MISH: mish,
    activation_variants.PRELU: simple("PRelu"),
    thresholds.SHRINK: simple("Shrink", lambda op: {"bias": op.bias, "lambd": op.lambd}),
    thresholds.HARDMAX: softmax("Hardmax"),
    unary.EXP: simple("Exp"),
    unary.LOG: simple("Log"),
    unary.SQRT: simple("Sqrt"),
    unary.ERF: simple("Erf"),
    unary.ABS: simple("Abs"),
    unary.NEG: simple("Neg"),
    unary.FLOOR: simple("Floor"),
    unary.CEIL: simple("Ceil"),
    unary.ROUND: simple("Round"),
    unary.SOFTPLUS: simple("Softplus"),
    unary.LOGICAL_NOT: simple("Not"),
    trigonometry.SIN: simple("Sin"),
    trigonometry.COS: simple("Cos"),
    trigonometry.TAN: simple("Tan"),
    trigonometry.ASIN: simple("Asin"),
    trigonometry.ACOS: simple("Acos"),
    trigonometry.ATAN: simple("Atan"),
    trigonometry.SINH: simple("Sinh"),
    trigonometry.COSH: simple("Cosh"),
    trigonometry.ASINH: simple("Asinh"),
    trigonometry.ACOSH: simple("Acosh"),
    trigonometry.ATANH: simple("Atanh"),
    elementwise.ADD: simple("Add"),
    elementwise.SUB: simple("Sub"),
    elementwise.MUL: simple("Mul"),
    elementwise.DIV: simple("Div"),
    elementwise.MOD: modulo,
    elementwise.POW: simple("Pow"),
    elementwise.MAXIMUM: extreme("Max"),
    elementwise.MINIMUM: extreme("Min"),
    elementwise.CAST: _cast,
    elementwise.IDENTITY: simple("Identity"),
    compare.EQUAL: simple("Equal"),
    compare.GREATER: simple("Greater"),
    compare.LESS: simple("Less"),
    compare.GREATER_OR_EQUAL: or_equal("Greater"),
    compare.LESS_OR_EQUAL: or_equal("Less"),
    compare.LOGICAL_AND: simple("And"),
    compare.LOGICAL_OR: simple("Or"),
    compare.WHERE: simple("Where"),
    shape.CONCAT: simple("Concat", lambda op: {"axis": op.axis}),
    shape.SLICE: slice_row,
    shape.PAD: _pad,
    shape.FLATTEN: simple("Flatten", lambda op: {"axis": op.axis}),
    shape.RESHAPE: _reshape,
    shape.TRANSPOSE: simple("Transpose", lambda op: {"perm": op.perm} if op.perm else {}),  # a scalar has no axes to name
    resize.RESIZE: resize_row,
    **STRUCTURE,
    **QUANTIZED,
    **INDEXED,
    **OPAQUE_ROWS,
    **SAMPLED,
    **RANDOM,
    **SEVERAL,
    **gradient_rows(lambda: ROWS),
}
