"""One row per op: the ONNX node that computes it. Names are ONNX's already, so most rows are a name and attributes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir.dims import Dim
from ...ir.errors import UnsupportedOp
from ...ir.graph import Node
from ...ir.op import OpDef
from ...ir.ops import activation, conv, elementwise, leaf, linear, norm, pool, reduce, resize, shape
from ...ir.types import DTYPES
from ..rows import Unsupported
from .emitter import Emitter

__all__ = ["ROWS"]

Row = Callable[[Node, Emitter], None]


def simple(op_type: str, attributes: Callable[[Any], dict[str, Any]] = lambda op: {}) -> Row:
    """The same operands, attributes renamed where ONNX says them otherwise."""
    return lambda node, to: to.node(op_type, node, **attributes(node.op))


def _conv(node: Node, to: Emitter) -> None:
    op = node.op
    attributes: dict[str, Any] = {"kernel_shape": node.inputs[1].typed.concrete()[2:], "group": op.groups}
    attributes |= {"strides": op.strides, "pads": op.pads, "dilations": op.dilations}
    if node.kind is conv.CONV_TRANSPOSE2D:
        attributes["output_padding"] = op.output_padding
    to.node("ConvTranspose" if node.kind is conv.CONV_TRANSPOSE2D else "Conv", node, **attributes)


def _avg_pool(node: Node, to: Emitter) -> None:
    op = node.op
    attributes: dict[str, Any] = _window(op) | {"count_include_pad": int(op.count_include_pad)}
    if op.dilations == (1, 1):
        del attributes["dilations"]
    elif to.opset < 19:
        raise UnsupportedOp(f"{node.where}: a dilated average pool needs ONNX opset 19, not {to.opset}")
    to.node("AveragePool", node, **attributes)


def _window(op: Any) -> dict[str, Any]:
    attributes = {"kernel_shape": op.kernel, "strides": op.strides, "pads": op.pads, "dilations": op.dilations}
    return attributes | {"ceil_mode": int(op.ceil_mode)}


def _clip(node: Node, to: Emitter) -> None:
    """Bounds are operands; an open side is an empty name."""
    dtype = DTYPES[node.typed.dtype]
    low = to.constant(node, "min", np.array(node.op.min, dtype)) if node.op.min > -math.inf else ""
    high = to.constant(node, "max", np.array(node.op.max, dtype)) if node.op.max < math.inf else ""
    inputs = [node.inputs[0].name, low, high]
    while not inputs[-1]:
        inputs.pop()
    to.node("Clip", node, inputs)


def _dropout(node: Node, to: Emitter) -> None:
    ratio = to.constant(node, "ratio", np.array(node.op.ratio, np.float32))
    to.node("Dropout", node, [node.inputs[0].name, ratio])


def _slice(node: Node, to: Emitter) -> None:
    op = node.op
    bounds = {"starts": op.starts, "ends": op.ends, "axes": op.axes, "steps": op.steps or (1,) * len(op.axes)}
    to.node("Slice", node, [node.inputs[0].name, *(to.int64s(node, what, values) for what, values in bounds.items())])


def _pad(node: Node, to: Emitter) -> None:
    inputs = [node.inputs[0].name, to.int64s(node, "pads", node.op.pads)]
    if node.op.mode == "constant":
        inputs.append(to.constant(node, "value", np.array(node.op.value, DTYPES[node.typed.dtype])))
    to.node("Pad", node, inputs, mode=node.op.mode)


def _reshape(node: Node, to: Emitter) -> None:
    x = node.inputs[0].typed.shape
    to.node("Reshape", node, [node.inputs[0].name, to.int64s(node, "shape", _reshape_target(node, x))])


def _reshape_target(node: Node, x: tuple[Dim, ...]) -> list[int]:
    """Numbers for a symbolic shape: 0 copies the input's dimension at that place, one -1 is the rest."""
    target: list[int] = []
    for axis, dim in enumerate(node.typed.shape):
        if isinstance(dim, int):
            target.append(dim)
        elif axis < len(x) and x[axis] == dim:
            target.append(0)
        else:
            target.append(-1)
    if target.count(-1) > 1:
        raise UnsupportedOp(f"{node.where}: a reshape to {node.type} has two named sizes that ONNX cannot infer; give one a value")
    return target


def _resize(node: Node, to: Emitter) -> None:
    op = node.op
    x = node.inputs[0].name
    if op.sizes:
        # batch and channels keep their scale; a sizes operand would need their numbers
        rows, cols = node.inputs[0].typed.shape[2:]
        if not isinstance(rows, int) or not isinstance(cols, int):
            raise UnsupportedOp(f"{node.where}: a resize to sizes needs rows and columns in numbers, not {node.inputs[0].type}")
        if to.opset >= 18:
            inputs = [x, "", "", to.int64s(node, "sizes", op.sizes)]
            to.node("Resize", node, inputs, axes=[2, 3], **_resize_modes(op))
            return
        scales = (op.sizes[0] / rows, op.sizes[1] / cols)
    else:
        scales = op.scales
    inputs = [x, "", to.constant(node, "scales", np.array([1.0, 1.0, *scales], np.float32))]
    to.node("Resize", node, inputs, **_resize_modes(op))


def _resize_modes(op: resize.Resize) -> dict[str, str]:
    modes = {"mode": "linear" if op.mode == "bilinear" else "nearest", "coordinate_transformation_mode": op.coordinates}
    return modes | ({"nearest_mode": op.rounding} if op.mode == "nearest" else {})


def _reduce_mean(node: Node, to: Emitter) -> None:
    """Axes became an operand with opset 18."""
    op, x = node.op, node.inputs[0].name
    axes = op.axes or tuple(range(node.inputs[0].typed.rank))
    if to.opset < 18:
        to.node("ReduceMean", node, axes=axes, keepdims=int(op.keepdims))
    else:
        to.node("ReduceMean", node, [x, to.int64s(node, "axes", axes)], keepdims=int(op.keepdims))


def _cast(node: Node, to: Emitter) -> None:
    from onnx import helper

    to.node("Cast", node, to=helper.np_dtype_to_tensor_dtype(DTYPES[node.op.to]))


ROWS: dict[OpDef, Row | Unsupported] = {
    leaf.INPUT: Unsupported("not a node in ONNX: export writes it as a graph input"),
    leaf.PARAM: Unsupported("not a node in ONNX: export writes it as an initializer"),
    conv.CONV2D: _conv,
    conv.CONV_TRANSPOSE2D: _conv,
    pool.MAX_POOL: simple("MaxPool", _window),
    pool.AVG_POOL: _avg_pool,
    pool.GLOBAL_AVG_POOL: simple("GlobalAveragePool"),
    pool.GLOBAL_MAX_POOL: simple("GlobalMaxPool"),
    norm.BATCH_NORM: simple("BatchNormalization", lambda op: {"epsilon": op.epsilon}),
    norm.LOCAL_RESPONSE_NORM: simple("LRN", lambda op: {"size": op.size, "alpha": op.alpha, "beta": op.beta, "bias": op.bias}),
    linear.DENSE: simple("Gemm", lambda op: {"transB": 1}),
    linear.MATMUL: simple("MatMul"),
    activation.RELU: simple("Relu"),
    activation.LEAKY_RELU: simple("LeakyRelu", lambda op: {"alpha": op.alpha}),
    activation.CLIP: _clip,
    activation.SIGMOID: simple("Sigmoid"),
    activation.TANH: simple("Tanh"),
    activation.SOFTMAX: simple("Softmax", lambda op: {"axis": op.axis}),
    activation.LOG_SOFTMAX: simple("LogSoftmax", lambda op: {"axis": op.axis}),
    activation.DROPOUT: _dropout,
    elementwise.ADD: simple("Add"),
    elementwise.SUB: simple("Sub"),
    elementwise.MUL: simple("Mul"),
    elementwise.DIV: simple("Div"),
    elementwise.CAST: _cast,
    elementwise.IDENTITY: simple("Identity"),
    shape.CONCAT: simple("Concat", lambda op: {"axis": op.axis}),
    shape.SLICE: _slice,
    shape.PAD: _pad,
    shape.FLATTEN: simple("Flatten", lambda op: {"axis": op.axis}),
    shape.RESHAPE: _reshape,
    shape.TRANSPOSE: simple("Transpose", lambda op: {"perm": op.perm}),
    resize.RESIZE: _resize,
    reduce.REDUCE_MEAN: _reduce_mean,
}
