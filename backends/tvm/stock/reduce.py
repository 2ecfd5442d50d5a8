"""Lowerings of the reductions. TVM's maximum and argmax drop a NaN, so the extremes have reducers of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....ir.dims import Dim
from ....ir.graph import Node
from ....ir.ops.reduce import ARG_MAX, REDUCE_MAX, ArgMax, ArgMin
from ....ir.types import DTYPES, range_of
from .relax_emitter import RelaxEmitter, dtype_name

__all__ = [
    "arg_extreme",
    "extreme_of",
    "hardmax",
    "is_of_nothing",
    "of_nothing",
    "reduce_extreme",
    "reduce_mean",
    "reduce_prod",
    "reduce_sum",
]

CHAIN = 64  # floats that are added in turn


def reduce_sum(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    return _total(emitter, node, x, is_mean=False) if node.inputs[0].typed.rank else x


def reduce_mean(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    return _total(emitter, node, x, is_mean=True) if node.inputs[0].typed.rank else x


def _total(emitter: RelaxEmitter, node: Node, x: Any, *, is_mean: bool) -> Any:
    """Runs of axes whose elements are more than a CHAIN are summed in parts, on a CPU: of two million floats added in turn the sum would be
    off by thousandths. On a GPU its threads have chains of their own.
    """
    operand, axes, combine = node.inputs[0].typed, _axes(node), emitter.ops.mean if is_mean else emitter.ops.sum
    runs = [(run[0], run[-1] + 1, _number(operand.shape[run[0] : run[-1] + 1])) for run in _runs(operand.shape, axes)]
    if emitter.on_gpu or not operand.is_float or max(count for *_, count in runs) <= CHAIN:
        return combine(x, axis=axes, keepdims=node.op.keepdims)
    left = list(operand.shape)
    for first, end, count in reversed(runs):
        if count > CHAIN:
            x = emitter.builder.emit(emitter.ops.reshape(x, [emitter.dim(dim) for dim in (*left[:first], count, *left[end:])]))
            x = _in_parts(emitter, x, first, count)
            x = emitter.builder.emit(emitter.ops.divide(x, emitter.scalar(count, "float32"))) if is_mean else x
        else:
            x = emitter.builder.emit(combine(x, axis=list(range(first, end)), keepdims=False))
        del left[first:end]
    return emitter.ops.reshape(x, emitter.shape(node.typed))


def _in_parts(emitter: RelaxEmitter, x: Any, axis: int, count: int) -> Any:
    """Sums along an axis of so many, CHAIN in turn, then of CHAIN such sums, and so on."""
    te, tirx = emitter.te, emitter.tirx

    def sums(x: Any, count: int, parts: int) -> Any:
        over = te.reduce_axis((tirx.IntImm("int64", 0), tirx.IntImm("int64", CHAIN)), "over")

        def element(*at: Any) -> Any:
            place = at[axis] * CHAIN + over
            value = x[(*at[:axis], place, *at[axis + 1 :])]
            return te.sum(value if count % CHAIN == 0 else tirx.if_then_else(place < count, value, tirx.const(0, x.dtype)), axis=[over])

        return te.compute([*x.shape[:axis], tirx.IntImm("int64", parts), *x.shape[axis + 1 :]], element, "sums")

    while count > CHAIN:
        parts = -(-count // CHAIN)
        x = emitter.builder.emit_te(sums, x, count, parts, primfunc_name_hint="sums")
        count = parts
    return emitter.builder.emit(emitter.ops.sum(x, axis=[axis], keepdims=False))


def _runs(shape: Sequence[Dim], axes: Sequence[int]) -> list[list[int]]:
    """Axes in order, those that follow each other together where their extents are numbers."""
    runs: list[list[int]] = []
    for axis in axes:
        if runs and runs[-1][-1] == axis - 1 and isinstance(shape[axis - 1], int) and isinstance(shape[axis], int):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return runs


def _number(shape: Sequence[Dim]) -> int:
    """Elements; 0 where not all extents are numbers."""
    return math.prod(dim if isinstance(dim, int) else 0 for dim in shape)


def reduce_prod(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    return emitter.ops.prod(x, axis=_axes(node), keepdims=node.op.keepdims) if node.inputs[0].typed.rank else x


def reduce_extreme(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """reduce_max and reduce_min."""
    axes, keepdims = _axes(node), node.op.keepdims
    if not axes:
        return x
    if is_of_nothing(node, axes):
        return of_nothing(emitter, node, greatest=node.kind is REDUCE_MAX)

    def extreme(x: Any, shape: Any) -> Any:
        return _extreme(emitter, x, shape, axes, keepdims=keepdims, greatest=node.kind is REDUCE_MAX)

    return emitter.compute(node, extreme, x)


def is_of_nothing(node: Node, axes: Sequence[int]) -> bool:
    """Whether there are results and nothing to reduce: TVM runs no loop then, and leaves in memory what was there."""
    return node.typed.numel != 0 and any(node.inputs[0].typed.shape[axis] == 0 for axis in axes)


def of_nothing(emitter: RelaxEmitter, node: Node, *, greatest: bool) -> Any:
    """The greatest, or least, of no values."""
    type_ = node.typed
    least, most = (-math.inf, math.inf) if type_.is_float else range_of(DTYPES[type_.dtype])
    return emitter.ops.broadcast_to(emitter.scalar(least if greatest else most, dtype_name(type_)), emitter.shape(type_))


def arg_extreme(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """arg_max and arg_min: first the extreme value, then the first or last place that holds it, or a NaN."""
    op: ArgMax | ArgMin = node.op
    te, tirx = emitter.te, emitter.tirx
    axis, last = op.axis % node.inputs[0].typed.rank, op.select_last_index

    def place(x: Any, shape: Any) -> Any:
        kept = [tirx.IntImm("int64", 1) if i == axis else size for i, size in enumerate(x.shape)]
        best = _extreme(emitter, x, kept, [axis], keepdims=True, greatest=node.kind is ARG_MAX)
        along = te.reduce_axis((0, x.shape[axis]), "along")

        def element(*at: Any) -> Any:
            before, after = at[:axis], at[axis + 1 :] if op.keepdims else at[axis:]
            value, extreme = x[(*before, along, *after)], best[(*before, 0, *after)]
            is_it = tirx.any(value == extreme, tirx.isnan(value)) if _is_float(x) else value == extreme
            if last:
                return te.max(tirx.Select(is_it, along.astype("int64"), tirx.const(-1, "int64")), axis=[along])
            return te.min(tirx.Select(is_it, along.astype("int64"), x.shape[axis].astype("int64")), axis=[along])

        return te.compute(shape, element, node.kind.name)

    return emitter.compute(node, place, x)


def hardmax(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """The greatest value, then its first place, then what lies there."""
    te, tirx = emitter.te, emitter.tirx
    axis = node.op.axis % node.typed.rank

    def chosen(x: Any, shape: Any) -> Any:
        row = [tirx.IntImm("int64", 1) if i == axis else size for i, size in enumerate(x.shape)]
        best = _extreme(emitter, x, row, [axis], keepdims=True, greatest=True)
        along = te.reduce_axis((0, x.shape[axis]), "along")

        def first(*at: Any) -> Any:
            value = x[(*at[:axis], along, *at[axis + 1 :])]
            is_it = tirx.any(value == best[at], tirx.isnan(value))
            return te.min(tirx.Select(is_it, along.astype("int64"), x.shape[axis].astype("int64")), axis=[along])

        place = te.compute(row, first, "place")

        def element(*at: Any) -> Any:
            is_it = place[(*at[:axis], 0, *at[axis + 1 :])] == at[axis].astype("int64")
            return tirx.Select(is_it, tirx.const(1, x.dtype), tirx.const(0, x.dtype))

        return te.compute(shape, element, "hardmax")

    return emitter.compute(node, chosen, x)


def _axes(node: Node) -> list[int]:
    rank = node.inputs[0].typed.rank
    return sorted(axis % rank for axis in node.op.axes) or list(range(rank))


def _extreme(emitter: RelaxEmitter, x: Any, shape: Any, axes: Sequence[int], *, keepdims: bool, greatest: bool) -> Any:
    te = emitter.te
    over = {axis: te.reduce_axis((0, x.shape[axis]), f"over{axis}") for axis in axes}
    reducer = extreme_of(emitter, greatest=greatest, may_be_nan=_is_float(x))

    def element(*at: Any) -> Any:
        kept = iter(at if not keepdims else [i for axis, i in enumerate(at) if axis not in over])
        return reducer(x[tuple(over[axis] if axis in over else next(kept) for axis in range(len(x.shape)))], axis=list(over.values()))

    return te.compute(shape, element, "extreme")


def extreme_of(emitter: RelaxEmitter, *, greatest: bool, may_be_nan: bool) -> Any:
    """The reducer. A NaN stays: the comparison lets one through on the right, the test on the left."""
    tirx = emitter.tirx

    def better(a: Any, b: Any) -> Any:
        beats = a > b if greatest else a < b
        return tirx.Select(tirx.any(beats, tirx.isnan(a)) if may_be_nan else beats, a, b)

    def identity(dtype: Any) -> Any:
        if may_be_nan:
            return tirx.const(-math.inf if greatest else math.inf, dtype)
        return tirx.min_value(dtype) if greatest else tirx.max_value(dtype)

    return emitter.te.comm_reducer(better, identity, name="extreme")


def _is_float(x: Any) -> bool:
    return str(x.dtype).startswith("float")
