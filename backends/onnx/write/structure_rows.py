"""Rows of the ops on structure: reductions, choices, rearrangements, norms of a value by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.dims import Dim
from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops import group, lengths, rearrange, reduce, select
from ....ir.types import DTYPES, Array, limits_of
from .onnx_emitter import OnnxEmitter, OnnxRow, simple

__all__ = ["STRUCTURE"]


def _reduction(op_type: str, axes_operand_since: int) -> OnnxRow:
    """Axes became an operand with opset 18, those of ReduceSum with 13."""

    def row(node: Node, to: OnnxEmitter) -> None:
        op, rank = node.op, node.inputs[0].typed.rank
        axes, keepdims = op.axes or tuple(range(rank)), int(op.keepdims)
        if not axes:  # no axes at all mean all axes, of a scalar too
            to.node(op_type, node, keepdims=keepdims)
        elif to.opset < axes_operand_since:
            to.node(op_type, node, axes=axes, keepdims=keepdims)
        else:
            to.node(op_type, node, [node.inputs[0].name, to.int64s(node, "axes", axes)], keepdims=keepdims)

    return row


def _place(op_type: str) -> OnnxRow:
    def row(node: Node, to: OnnxEmitter) -> None:
        op = node.op
        to.node(op_type, node, axis=op.axis, keepdims=int(op.keepdims), select_last_index=int(op.select_last_index))

    return row


def _expand(node: Node, to: OnnxEmitter) -> None:
    """A named size that x has too is written as 1, which keeps it."""
    x, target = node.inputs[0].typed.shape, list[Dim]()
    for place, dim in enumerate(node.op.shape, start=len(x) - len(node.op.shape)):
        keeps = not isinstance(dim, int) and place >= 0 and x[place] == dim
        target.append(1 if keeps else dim)
    to.node("Expand", node, [node.inputs[0].name, to.dims(node, "shape", target)])


def _center_crop_pad(node: Node, to: OnnxEmitter) -> None:
    if not node.typed.rank:  # onnxruntime's own form of it fails for a scalar
        to.node("Identity", node)
        return
    axes = {"axes": node.op.axes} if node.op.axes else {}
    to.node("CenterCropPad", node, [node.inputs[0].name, to.dims(node, "shape", node.op.shape)], **axes)


def _mean_variance_norm(node: Node, to: OnnxEmitter) -> None:
    """What ONNX says the operator is has constants of float32, which go with no other type: 16 bits are widened, float64 is written out."""
    from onnx import helper

    x, axes, dtype = node.inputs[0].name, node.op.axes, node.typed.dtype
    if dtype == "f32":
        to.node("MeanVarianceNormalization", node, axes=axes)
    elif dtype == "f64":

        def mean(of: str) -> str:
            inputs, attributes = ([of, to.int64s(node, "axes", axes)], {}) if to.opset >= 18 else ([of], {"axes": axes})
            return to.helper_node("ReduceMean", node, "mean", inputs, keepdims=1, **attributes)

        centred = to.helper_node("Sub", node, "centred", [x, mean(x)])
        spread = to.helper_node("Sqrt", node, "spread", [mean(to.helper_node("Mul", node, "square", [centred, centred]))])
        tiny = to.constant(node, "tiny", np.array(group.TINY))
        to.node("Div", node, [centred, to.helper_node("Add", node, "divisor", [spread, tiny])])
    else:
        to.check_element_types("Cast", node, [x])
        single, own = (helper.np_dtype_to_tensor_dtype(DTYPES[name]) for name in ("f32", dtype))
        wide = to.helper_node("Cast", node, "wide", [x], to=single)
        to.node("Cast", node, [to.helper_node("MeanVarianceNormalization", node, "norm", [wide], axes=axes)], to=own)


def _tile(node: Node, to: OnnxEmitter) -> None:
    if not node.op.repeats:  # onnxruntime before 1.24 refuses a scalar
        to.node("Identity", node)
        return
    to.node("Tile", node, [node.inputs[0].name, to.int64s(node, "repeats", node.op.repeats)])


def _range(node: Node, to: OnnxEmitter) -> None:
    """Counted in whole numbers: ONNX finds how many there are from a limit, which in floating point may come out one off."""
    from onnx import helper

    start, delta = node.inputs
    if (bounds := _whole_bounds(node)) is not None:
        to.node("Range", node, [to.constant(node, what, value) for what, value in zip(("start", "limit", "delta"), bounds, strict=True)])
        return
    zero, one = (to.constant(node, what, np.array(value, np.int64)) for what, value in (("zero", 0), ("one", 1)))
    count = to.helper_node("Squeeze", node, "count", [to.dims(node, "counts", [node.op.count])])
    if node.typed.dtype == "i64" and _is(start, 0) and _is(delta, 1):
        to.node("Range", node, [zero, count, one])
        return
    places = to.helper_node("Range", node, "places", [zero, count, one])
    places = to.helper_node("Cast", node, "cast", [places], to=helper.np_dtype_to_tensor_dtype(DTYPES[node.typed.dtype]))
    to.node("Add", node, [to.helper_node("Mul", node, "scaled", [places, delta.name]), start.name])


def _whole_bounds(node: Node) -> tuple[Array, Array, Array] | None:
    """Start, limit and delta, where all numbers on the way are whole and none is rounded, so that any way to count gives the same."""
    start, delta = (
        operand.weights.array() if operand.weights is not None and operand.weights.is_given else None for operand in node.inputs
    )
    count, dtype = node.op.count, DTYPES[node.typed.dtype]
    if start is None or delta is None or not isinstance(count, int):
        return None
    numbers = (start.item(), start.item() + count * delta.item(), delta.item())
    largest = 2 ** (limits_of(node.typed.dtype).nmant + 1) if node.typed.is_float else np.iinfo(dtype).max
    if not delta.item() or any(not abs(number) <= largest or number != int(number) for number in numbers):
        return None
    first, limit, step = (np.array(number, dtype) for number in numbers)
    return first, limit, step


def _is(node: Node, number: int) -> bool:
    return node.weights is not None and node.weights.array().item() == number


PAIR = (select.TOP_K_VALUES, select.TOP_K_INDICES)


def _how(node: Node) -> tuple[int, int, bool]:
    return node.op.k, node.op.axis, node.op.largest


def _top_k(node: Node, to: OnnxEmitter) -> None:
    """One TopK for both results, written where the first of them stands; the one that is not there gets a name of its own."""
    op, x = node.op, node.inputs[0]
    same = [reader for reader in to.graph.readers[x] if reader.kind in PAIR and _how(reader) == _how(node)]
    first = [next((reader for reader in same if reader.kind is kind), None) for kind in PAIR]
    if node not in first:  # a second one of its kind
        first = [node if node.kind is kind else None for kind in PAIR]
    elif any(other is not None and to.graph.positions[other] < to.graph.positions[node] for other in first):
        return  # written with the other
    outputs = [to.free_name(node, what) if made is None else made.name for made, what in zip(first, ("values", "indices"), strict=True)]
    to.node("TopK", node, [x.name, to.int64s(node, "k", [op.k])], outputs, axis=op.axis, largest=int(op.largest))


def _filled(node: Node, count: int, value: int) -> Array:
    return np.array([value] * count, DTYPES[node.typed.dtype])


def _group_norm(node: Node, to: OnnxEmitter) -> None:
    """Before opset 21 scale and bias were of groups, so it is an instance norm of groups, then scaled by channel."""
    op = node.op
    if to.opset >= 21:
        to.node("GroupNormalization", node, num_groups=op.groups, epsilon=op.epsilon)
        return
    (x, scale, bias), type_ = node.inputs, node.typed
    ones, zeros = (to.constant(node, what, _filled(node, op.groups, value)) for what, value in (("ones", 1), ("zeros", 0)))
    rows = to.helper_node("Reshape", node, "rows", [x.name, to.int64s(node, "groups", [0, op.groups, -1])])
    normed = to.helper_node("InstanceNormalization", node, "normed", [rows, ones, zeros], epsilon=op.epsilon)
    normed = to.helper_node("Reshape", node, "channels", [normed, to.helper_node("Shape", node, "shape", [x.name])])
    per_channel = to.int64s(node, "per_channel", [-1, *(1,) * (type_.rank - 2)])
    gain, shift = (to.helper_node("Reshape", node, what, [v.name, per_channel]) for what, v in (("gain", scale), ("shift", bias)))
    to.node("Add", node, [to.helper_node("Mul", node, "scaled", [normed, gain]), shift])


def _layer_norm(node: Node, to: OnnxEmitter) -> None:
    """Before opset 17 ONNX has no such node: it is written out."""
    op = node.op
    if to.opset >= 17:
        to.node("LayerNormalization", node, axis=op.axis, epsilon=op.epsilon)
        return
    x, rank = node.inputs[0].name, node.typed.rank
    axes = list(range(op.axis % rank, rank))
    centred = to.helper_node("Sub", node, "centred", [x, to.helper_node("ReduceMean", node, "mean", [x], axes=axes)])
    square = to.helper_node("Mul", node, "square", [centred, centred])
    var = to.helper_node("ReduceMean", node, "var", [square], axes=axes)
    epsilon = to.constant(node, "epsilon", np.array(op.epsilon, DTYPES[node.typed.dtype]))
    spread = to.helper_node("Sqrt", node, "spread", [to.helper_node("Add", node, "safe", [var, epsilon])])
    normed = to.helper_node("Div", node, "normed", [centred, spread])
    if len(node.inputs) == 2:
        to.node("Mul", node, [normed, node.inputs[1].name])
        return
    to.node("Add", node, [to.helper_node("Mul", node, "scaled", [normed, node.inputs[1].name]), node.inputs[2].name])


STRUCTURE: dict[OpDef[Any], OnnxRow] = {
    reduce.REDUCE_MEAN: _reduction("ReduceMean", 18),
    reduce.REDUCE_SUM: _reduction("ReduceSum", 13),
    reduce.REDUCE_MAX: _reduction("ReduceMax", 18),
    reduce.REDUCE_MIN: _reduction("ReduceMin", 18),
    reduce.REDUCE_PROD: _reduction("ReduceProd", 18),
    lengths.REDUCE_L1: _reduction("ReduceL1", 18),
    lengths.REDUCE_L2: _reduction("ReduceL2", 18),
    lengths.REDUCE_SUM_SQUARE: _reduction("ReduceSumSquare", 18),
    lengths.REDUCE_LOG_SUM: _reduction("ReduceLogSum", 18),
    lengths.REDUCE_LOG_SUM_EXP: _reduction("ReduceLogSumExp", 18),
    lengths.LP_NORMALIZATION: simple("LpNormalization", lambda op: {"axis": op.axis, "p": op.p}),
    reduce.ARG_MAX: _place("ArgMax"),
    reduce.ARG_MIN: _place("ArgMin"),
    select.GATHER: simple("Gather", lambda op: {"axis": op.axis}),
    select.TOP_K_VALUES: _top_k,
    select.TOP_K_INDICES: _top_k,
    rearrange.DEPTH_TO_SPACE: simple("DepthToSpace", lambda op: {"blocksize": op.block, "mode": op.mode}),
    rearrange.SPACE_TO_DEPTH: simple("SpaceToDepth", lambda op: {"blocksize": op.block}),
    rearrange.CENTER_CROP_PAD: _center_crop_pad,
    rearrange.EXPAND: _expand,
    rearrange.TILE: _tile,
    rearrange.RANGE: _range,
    group.INSTANCE_NORM: simple("InstanceNormalization", lambda op: {"epsilon": op.epsilon}),
    group.GROUP_NORM: _group_norm,
    group.LAYER_NORM: _layer_norm,
    group.MEAN_VARIANCE_NORM: _mean_variance_norm,
}
