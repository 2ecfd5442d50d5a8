"""Rows of ops on places: indices, diagonals, running sums; and of lengths, which are reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.errors import UnsupportedOp
from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops import diagonal, indexed
from ....ir.types import DTYPES
from .onnx_emitter import OnnxEmitter, OnnxRow, simple

__all__ = ["INDEXED"]

SINCE = {"none": 0, "add": 16, "mul": 16, "max": 18, "min": 18}  # the opset that brought a reduction


def _scattered(op_type: str) -> OnnxRow:
    def row(node: Node, to: OnnxEmitter) -> None:
        reduction = node.op.reduction
        if to.opset < SINCE[reduction]:
            raise UnsupportedOp(f"{node.where}: reduction {reduction} needs ONNX opset {SINCE[reduction]}, not {to.opset}")
        said: dict[str, Any] = {"reduction": reduction} if reduction != "none" else {}
        name = "Scatter" if op_type == "ScatterElements" and to.opset < 11 else op_type  # as it was called
        to.node(name, node, **said, **({"axis": node.op.axis} if node.kind is indexed.SCATTER_ELEMENTS else {}))

    return row


def _one_hot(node: Node, to: OnnxEmitter) -> None:
    """A depth of the indices' own type: onnxruntime has few others."""
    indices, values = node.inputs
    depth = node.op.depth
    if isinstance(depth, int):
        count = to.constant(node, "depth", np.array(depth, DTYPES[indices.typed.dtype]))
    else:
        count = to.dims(node, "depth", [depth])
    to.node("OneHot", node, [indices.name, count, values.name], axis=node.op.axis % node.typed.rank)


def _trilu(node: Node, to: OnnxEmitter) -> None:
    op, x = node.op, node.inputs[0].name
    to.node("Trilu", node, [x, to.constant(node, "k", np.array(op.k, np.int64))] if op.k else [x], upper=int(op.upper))


def _eye_like(node: Node, to: OnnxEmitter) -> None:
    from onnx import helper

    to.node("EyeLike", node, dtype=helper.np_dtype_to_tensor_dtype(DTYPES[node.op.to]), k=node.op.k)


def _cumulative(op_type: str) -> OnnxRow:
    def row(node: Node, to: OnnxEmitter) -> None:
        op, axis = node.op, to.constant(node, "axis", np.array(node.op.axis, np.int64))
        to.node(op_type, node, [node.inputs[0].name, axis], exclusive=int(op.exclusive), reverse=int(op.reverse))

    return row


INDEXED: dict[OpDef[Any], OnnxRow] = {
    indexed.GATHER_ELEMENTS: simple("GatherElements", lambda op: {"axis": op.axis}),
    indexed.GATHER_ND: simple("GatherND", lambda op: {"batch_dims": op.batch_dims}),
    indexed.SCATTER_ELEMENTS: _scattered("ScatterElements"),
    indexed.SCATTER_ND: _scattered("ScatterND"),
    indexed.ONE_HOT: _one_hot,
    diagonal.TRILU: _trilu,
    diagonal.EYE_LIKE: _eye_like,
    diagonal.CUM_SUM: _cumulative("CumSum"),
    diagonal.CUM_PROD: _cumulative("CumProd"),
}
