"""Rows of the pools: windows as this opset, and onnxruntime, see them; values and places of one max pool are one node."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.errors import UnsupportedOp
from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops import pool, unpool
from ....ir.ops.window import Borders, dilated
from ....ir.types import DTYPES
from .onnx_emitter import OnnxEmitter, OnnxRow, simple

__all__ = ["POOLS"]

CEIL_MODE, LP_CEIL_MODE = 10, 18  # the first opsets whose pools have it
PLACES = 8  # the first whose MaxPool has a second result


def _max_pool(node: Node, to: OnnxEmitter) -> None:
    """Where the spec of this opset, or onnxruntime, would see other windows, the padding is written out; not where places are asked for."""
    values, places = _results(node, to)
    if any(made is not None and to.graph.positions[made] < to.graph.positions[node] for made in (values, places)):
        return  # written with the other
    attributes = _window(node.op)
    if _needs_floor(node, to, CEIL_MODE):
        attributes |= {"pads": _floor_pads(node), "ceil_mode": 0}
    if places is not None:
        if to.opset < PLACES:
            raise UnsupportedOp(f"{node.where}: a max pool that says places needs ONNX opset {PLACES}, not {to.opset}")
        attributes |= {"storage_order": 1} if places.op.column_major else {}
        outputs = [to.free_name(node, "values") if values is None else values.name, places.name]
        to.node("MaxPool", node, outputs=outputs, **attributes)
        return
    _padded_pool("MaxPool", node, to, attributes, "lowest", -np.inf)


def _lp_pool(node: Node, to: OnnxEmitter) -> None:
    attributes = _window(node.op) | {"p": node.op.p}
    if _needs_floor(node, to, LP_CEIL_MODE):
        attributes |= {"pads": _floor_pads(node), "ceil_mode": 0}
    _padded_pool("LpPool", node, to, attributes, "zero", 0.0)


def _padded_pool(op_type: str, node: Node, to: OnnxEmitter, attributes: dict[str, Any], what: str, value: float) -> None:
    """onnxruntime wants pads below the kernel, dilated or not; wider ones are written out, of a `value` that changes nothing."""
    pads, axes, x = attributes["pads"], len(node.op.kernel), node.inputs[0].name
    if any(pad >= kernel for pad, kernel in zip(pads, node.op.kernel * 2, strict=True)):
        fill = to.constant(node, what, np.array(value, DTYPES[node.typed.dtype]))
        x = to.helper_node("Pad", node, "padded", [x, to.int64s(node, "pads", (0, 0, *pads[:axes], 0, 0, *pads[axes:])), fill])
        attributes = attributes | {"pads": (0, 0) * axes}
    to.node(op_type, node, [x], **attributes)


def _results(node: Node, to: OnnxEmitter) -> tuple[Node | None, Node | None]:
    """The nodes of values and of places that one MaxPool gives, `node` among them: the first of each kind over the same windows."""
    window = _window(node.op)
    same = [reader for reader in to.graph.readers[node.inputs[0]] if reader.kind in PAIR and _window(reader.op) == window]
    values, places = (next((reader for reader in same if reader.kind is kind), None) for kind in PAIR)
    if node not in (values, places):  # a second one of its kind
        return (node, None) if node.kind is pool.MAX_POOL else (None, node)
    return values, places


PAIR = (pool.MAX_POOL, unpool.MAX_POOL_INDICES)


def _max_unpool(node: Node, to: OnnxEmitter) -> None:
    op = unpool.MAX_UNPOOL.of(node)
    inputs = [operand.name for operand in node.inputs]
    if op.sizes:
        inputs.append(to.dims(node, "sizes", (*node.typed.shape[:2], *op.sizes)))
    to.node("MaxUnpool", node, inputs, kernel_shape=op.kernel, strides=op.strides, pads=op.pads)


def _avg_pool(node: Node, to: OnnxEmitter) -> None:
    op = node.op
    attributes: dict[str, Any] = _window(op) | {"count_include_pad": int(op.count_include_pad)}
    if max(op.dilations) == 1:
        del attributes["dilations"]
    elif to.opset < 19:
        raise UnsupportedOp(f"{node.where}: a dilated average pool needs ONNX opset 19, not {to.opset}")
    if _needs_floor(node, to, CEIL_MODE):
        pads = _floor_pads(node)
        if not op.count_include_pad or all(pad <= own for pad, own in zip(pads, op.pads, strict=True)):
            attributes |= {"pads": pads, "ceil_mode": 0}
        elif to.opset < CEIL_MODE:
            raise UnsupportedOp(f"{node.where}: ceil_mode with pads that count needs ONNX opset {CEIL_MODE}, not {to.opset}")
        else:
            # Beyond its own pads nothing counts, so ceil_mode must stay. Where a stride leaves no other way to drop the window, older
            # specs see one more; onnxruntime goes by the rule of 22 from opset 10 on.
            attributes |= {"pads": tuple(map(min, pads, op.pads))}
    to.node("AveragePool", node, **attributes)


def _needs_floor(node: Node, to: OnnxEmitter, since: int) -> bool:
    """Whether this opset's ceil_mode, which there is `since` one, would not give the op's windows."""
    return node.op.ceil_mode and (to.opset < since or (to.opset < 22 and _drops_a_window(node)))


def _drops_a_window(node: Node) -> bool:
    """Whether ceil_mode leaves out a last window that would start in the padding: ONNX knows that rule from 22 on."""
    op, axes = node.op, len(node.op.kernel)
    for axis in range(axes):
        size, count = node.inputs[0].typed.shape[2 + axis], node.typed.shape[2 + axis]
        if op.ceil_mode and isinstance(size, int) and isinstance(count, int):
            reach = size + op.pads[axis] + op.pads[axis + axes] - dilated(op.kernel[axis], op.dilations[axis])
            if count != -(-reach // op.strides[axis]) + 1:
                return True
    return False


def _floor_pads(node: Node) -> Borders:
    """Pads with which rounding down gives the windows that ceil_mode gives."""
    op, axes, ends = node.op, len(node.op.kernel), list[int]()
    for axis in range(axes):
        size, count = node.inputs[0].typed.shape[2 + axis], node.typed.shape[2 + axis]
        if not isinstance(size, int) or not isinstance(count, int):
            raise UnsupportedOp(f"{node.where}: this ceil_mode needs rows and columns in numbers, not {node.inputs[0].type}")
        reach = (count - 1) * op.strides[axis] + dilated(op.kernel[axis], op.dilations[axis])
        ends.append(max(0, reach - size - op.pads[axis]))
    return (*op.pads[:axes], *ends)


def _window(op: Any) -> dict[str, Any]:
    attributes = {"kernel_shape": op.kernel, "strides": op.strides, "pads": op.pads, "dilations": op.dilations}
    return attributes | {"ceil_mode": int(op.ceil_mode)}


POOLS: dict[OpDef[Any], OnnxRow] = {
    pool.MAX_POOL: _max_pool,
    pool.AVG_POOL: _avg_pool,
    pool.LP_POOL: _lp_pool,
    pool.GLOBAL_AVG_POOL: simple("GlobalAveragePool"),
    pool.GLOBAL_MAX_POOL: simple("GlobalMaxPool"),
    unpool.MAX_POOL_INDICES: _max_pool,
    unpool.MAX_UNPOOL: _max_unpool,
}
