"""Lowerings of the ops that choose, move or repeat values: gather, top k, depth and space, expand, tile."""

from __future__ import annotations

from typing import Any

from ....ir.graph import Node
from ....ir.ops.rearrange import DEPTH_TO_SPACE, SPACE_TO_DEPTH, TILE
from ....ir.ops.select import GATHER, TOP_K_VALUES, TopKIndices, TopKValues
from .relax_emitter import RelaxEmitter

__all__ = ["depth_to_space", "expand", "gather", "range_", "space_to_depth", "tile", "top_k"]


def gather(emitter: RelaxEmitter, node: Node, x: Any, indices: Any) -> Any:
    """An index out of range reads the nearest slice: data must not reach beyond the tensor."""
    op = GATHER.of(node)
    te, tirx = emitter.te, emitter.tirx
    axis, rank = op.axis % node.inputs[0].typed.rank, node.inputs[1].typed.rank

    def pick(x: Any, indices: Any, shape: Any) -> Any:
        size = x.shape[axis].astype("int64")

        def element(*at: Any) -> Any:
            index = indices[at[axis : axis + rank]].astype("int64")
            index = tirx.Select(index < 0, index + size, index)
            return x[(*at[:axis], te.max(te.min(index, size - 1), tirx.const(0, "int64")), *at[axis + rank :])]

        return te.compute(shape, element, "gather")

    return emitter.compute(node, pick, x, indices)


def top_k(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op: TopKValues | TopKIndices = node.op
    result = "values" if node.kind is TOP_K_VALUES else "indices"
    is_unsigned = node.inputs[0].typed.dtype == "u64"  # which TVM cannot sort
    x = _turned(emitter, x, "int64") if is_unsigned else x
    found = emitter.ops.topk(x, k=op.k, axis=op.axis, ret_type=result, largest=op.largest, dtype="int64")
    return _turned(emitter, emitter.builder.emit(found), "uint64") if is_unsigned and result == "values" else found


def _turned(emitter: RelaxEmitter, x: Any, dtype: str) -> Any:
    """Whole numbers of 64 bits with a sign for those without, or back, in the same order: the highest bit is the other."""

    highest = emitter.tirx.const(-(1 << 63), "int64")

    def turn(x: Any) -> Any:
        def element(*at: Any) -> Any:
            return (x[at].astype("int64") ^ highest).astype(dtype)

        return emitter.te.compute(x.shape, element, "turned")

    return emitter.builder.emit(emitter.builder.call_te(turn, x, primfunc_name_hint="turned"))


def depth_to_space(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = DEPTH_TO_SPACE.of(node)
    b = op.block

    def spread(x: Any, shape: Any) -> Any:
        def element(n: Any, c: Any, i: Any, j: Any) -> Any:
            inside = (i % b) * b + j % b
            channel = inside * shape[1] + c if op.mode == "DCR" else c * (b * b) + inside
            return x[n, channel, i // b, j // b]

        return emitter.te.compute(shape, element, "depth_to_space")

    return emitter.compute(node, spread, x)


def space_to_depth(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = SPACE_TO_DEPTH.of(node)
    b = op.block

    def stack(x: Any, shape: Any) -> Any:
        def element(n: Any, c: Any, i: Any, j: Any) -> Any:
            inside = c // x.shape[1]
            return x[n, c % x.shape[1], i * b + inside // b, j * b + inside % b]

        return emitter.te.compute(shape, element, "space_to_depth")

    return emitter.compute(node, stack, x)


def expand(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    return emitter.ops.broadcast_to(x, emitter.shape(node.typed))


def range_(emitter: RelaxEmitter, node: Node, start: Any, delta: Any) -> Any:
    def count(start: Any, delta: Any, shape: Any) -> Any:
        def number(i: Any) -> Any:
            return start() + i.astype(start.dtype) * delta()

        return emitter.te.compute(shape, number, "range")

    return emitter.compute(node, count, start, delta)


def tile(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """An axis of copies before each axis, one after another: the remainders of several axes at once are simplified wrongly (0.27)."""
    op = TILE.of(node)
    shape = list(emitter.shape(node.inputs[0].typed))
    for axis, repeats in enumerate(op.repeats):
        if repeats != 1:
            parted = [*shape[:axis], emitter.dim(1), *shape[axis:]]
            copies = [*shape[:axis], emitter.dim(repeats), *shape[axis:]]
            shape[axis] = shape[axis] * emitter.dim(repeats)
            x = emitter.ops.reshape(emitter.ops.broadcast_to(emitter.ops.reshape(x, parted), copies), shape)
            x = emitter.builder.emit(x, f"{node.name}.axis{axis}")
    return x
