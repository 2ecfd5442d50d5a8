"""Lowerings of values at places that others name, of diagonals and of running sums.

An index out of range reads or writes the nearest place: data must not reach beyond the tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops import diagonal, indexed
from .relax_emitter import Lowering, RelaxEmitter, dtype_name
from .statements import Statements, written

__all__ = ["INDEXED", "in_wider"]


def _inside(emitter: RelaxEmitter, index: Any, size: Any) -> Any:
    te, tirx = emitter.te, emitter.tirx
    index, size = index.astype("int64"), size.astype("int64")
    index = tirx.Select(index < 0, index + size, index)
    return te.max(te.min(index, size - 1), tirx.const(0, "int64"))


def gather_elements(emitter: RelaxEmitter, node: Node, x: Any, indices: Any) -> Any:
    axis = node.op.axis % node.typed.rank

    def pick(x: Any, indices: Any, shape: Any) -> Any:
        def element(*at: Any) -> Any:
            return x[(*at[:axis], _inside(emitter, indices[at], x.shape[axis]), *at[axis + 1 :])]

        return emitter.te.compute(shape, element, "gather_elements")

    return emitter.compute(node, pick, x, indices)


def gather_nd(emitter: RelaxEmitter, node: Node, x: Any, indices: Any) -> Any:
    batch, rank = node.op.batch_dims, node.inputs[1].typed.rank
    depth = _depth(node)

    def pick(x: Any, indices: Any, shape: Any) -> Any:
        def element(*at: Any) -> Any:
            named = [_inside(emitter, indices[(*at[: rank - 1], k)], x.shape[batch + k]) for k in range(depth)]
            return x[(*at[:batch], *named, *at[rank - 1 :])]

        return emitter.te.compute(shape, element, "gather_nd")

    return emitter.compute(node, pick, x, indices)


def _depth(node: Node) -> int:
    depth = node.inputs[1].typed.shape[-1]
    assert isinstance(depth, int)
    return depth


def scatter_elements(emitter: RelaxEmitter, node: Node, x: Any, indices: Any, updates: Any) -> Any:
    axis = node.op.axis % node.typed.rank

    def put(write: Statements, out: Any, x: Any, indices: Any, updates: Any) -> None:
        with write.each(x.shape) as at:
            write.store(out, x[at], at)
        with write.each(indices.shape) as at:
            place = (*at[:axis], _inside(emitter, indices[at], x.shape[axis]), *at[axis + 1 :])
            write.store(out, _combined(emitter, node, out[place], updates[at]), place)

    return written(emitter, node, put, x, indices, updates)


def scatter_nd(emitter: RelaxEmitter, node: Node, x: Any, indices: Any, updates: Any) -> Any:
    depth = _depth(node)
    rank = node.inputs[1].typed.rank

    def put(write: Statements, out: Any, x: Any, indices: Any, updates: Any) -> None:
        with write.each(x.shape) as at:
            write.store(out, x[at], at)
        with write.each(updates.shape) as at:
            named = [_inside(emitter, indices[(*at[: rank - 1], k)], x.shape[k]) for k in range(depth)]
            place = (*named, *at[rank - 1 :])
            write.store(out, _combined(emitter, node, out[place], updates[at]), place)

    return written(emitter, node, put, x, indices, updates)


def _combined(emitter: RelaxEmitter, node: Node, old: Any, new: Any) -> Any:
    """Of a greatest and a least a NaN stays."""
    tirx, reduction = emitter.tirx, node.op.reduction
    if reduction in ("none", "add", "mul"):
        return {"none": lambda: new, "add": lambda: old + new, "mul": lambda: old * new}[reduction]()
    beats = new > old if reduction == "max" else new < old
    return tirx.Select(tirx.any(beats, tirx.isnan(new)) if node.typed.is_float else beats, new, old)


def one_hot(emitter: RelaxEmitter, node: Node, indices: Any, values: Any) -> Any:
    axis = node.op.axis % node.typed.rank

    def choose(indices: Any, values: Any, shape: Any) -> Any:
        def element(*at: Any) -> Any:
            index = indices[(*at[:axis], *at[axis + 1 :])].astype("int64")
            index = emitter.tirx.Select(index < 0, index + shape[axis].astype("int64"), index)
            return emitter.tirx.Select(index == at[axis].astype("int64"), values[1], values[0])

        return emitter.te.compute(shape, element, "one_hot")

    return emitter.compute(node, choose, indices, values)


def trilu(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = diagonal.TRILU.of(node)

    def cut(x: Any, shape: Any) -> Any:
        def element(*at: Any) -> Any:
            right = at[-1].astype("int64") - at[-2].astype("int64")
            kept = right >= _bound(emitter, op.k) if op.upper else right <= _bound(emitter, op.k)
            return emitter.tirx.Select(kept, x[at], emitter.tirx.const(0, x.dtype))

        return emitter.te.compute(shape, element, "trilu")

    return emitter.compute(node, cut, x)


def eye_like(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    dtype = dtype_name(node.typed)

    def diagonal_(x: Any, shape: Any) -> Any:
        def element(i: Any, j: Any) -> Any:
            is_on = j.astype("int64") - i.astype("int64") == _bound(emitter, node.op.k)
            return emitter.tirx.Select(is_on, emitter.tirx.const(1, dtype), emitter.tirx.const(0, dtype))

        return emitter.te.compute(shape, element, "eye_like")

    return emitter.compute(node, diagonal_, x)


def _bound(emitter: RelaxEmitter, k: int) -> Any:
    return emitter.tirx.const(max(min(k, 2**62), -(2**62)), "int64")


def cumulative(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """Each element by a sum, or product, of its own: on as many threads as there are elements, at the price of adding again."""
    op: diagonal.CumSum | diagonal.CumProd = node.op
    te, tirx = emitter.te, emitter.tirx
    axis, is_sum = op.axis % node.typed.rank, node.kind is diagonal.CUM_SUM
    reducer = te.sum if is_sum else _product(emitter)

    def so_far(x: Any, shape: Any) -> Any:
        along = te.reduce_axis((0, x.shape[axis]), "along")

        def element(*at: Any) -> Any:
            before = along - at[axis] if not op.reverse else at[axis] - along
            counts = before < 0 if op.exclusive else before <= 0
            value = x[(*at[:axis], along, *at[axis + 1 :])]
            return reducer(tirx.Select(counts, value, tirx.const(0 if is_sum else 1, x.dtype)), axis=[along])

        return te.compute(shape, element, node.kind.name)

    return emitter.compute(node, so_far, x)


def _product(emitter: RelaxEmitter) -> Any:
    def times(a: Any, b: Any) -> Any:
        return a * b

    def one(dtype: Any) -> Any:
        return emitter.tirx.const(1, dtype)

    return emitter.te.comm_reducer(times, one, name="product")


def in_wider(row: Lowering) -> Lowering:
    """Half precision computed in single; a mask, a length and an index stay what they are."""

    def widened(emitter: RelaxEmitter, node: Node, *operands: Any) -> Any:
        if node.typed.dtype != "f16":
            return row(emitter, node, *operands)
        wide: Sequence[Any] = [
            emitter.builder.emit(emitter.ops.astype(x, "float32"), f"{node.name}.wide") if operand.typed.dtype == "f16" else x
            for operand, x in zip(node.inputs, operands, strict=True)
        ]
        return emitter.ops.astype(row(emitter, node, *wide), "float16")

    return widened


INDEXED: dict[OpDef[Any], Lowering] = {
    indexed.GATHER_ELEMENTS: gather_elements,
    indexed.GATHER_ND: gather_nd,
    indexed.SCATTER_ELEMENTS: scatter_elements,
    indexed.SCATTER_ND: scatter_nd,
    indexed.ONE_HOT: one_hot,
    diagonal.TRILU: trilu,
    diagonal.EYE_LIKE: eye_like,
    diagonal.CUM_SUM: in_wider(cumulative),
    diagonal.CUM_PROD: in_wider(cumulative),
}
