"""Lowerings of the pools. TVM's maximum drops a NaN and cannot say minus infinity, so the greatest value has the reducer of reduce_max."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ....ir.graph import Node
from ....ir.ops.pool import AVG_POOL, LP_POOL, MAX_POOL, Windowed
from ....ir.ops.unpool import MAX_POOL_INDICES
from .reduce import extreme_of
from .relax_emitter import RelaxEmitter, of_image
from .statements import Statements, written

TAPS, PLACES = ("k_depth", "k_row", "k_col"), ("depth", "row", "col")  # names of axes, counted from the last
MOST_FACTORS = 32  # of a power that is written out

__all__ = [
    "avg_pool",
    "counted",
    "first_places",
    "global_avg_pool",
    "global_max_pool",
    "lp_pool",
    "max_pool",
    "max_pool_indices",
    "max_unpool",
    "taps_of",
]


def max_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = MAX_POOL.of(node)

    def greatest(x: Any, shape: Any) -> Any:
        return _greatest(emitter, op, x, shape)

    return emitter.compute(node, greatest, x)


def _greatest(emitter: RelaxEmitter, op: Windowed, x: Any, shape: Any) -> Any:
    taps = taps_of(emitter, op)

    def element(n: Any, c: Any, *window: Any) -> Any:
        place, inside = _place(emitter, op, x, window, taps)
        value = x[(n, c, *place)]
        value = emitter.tirx.if_then_else(inside, value, emitter.tirx.const(-math.inf, x.dtype)) if any(op.pads) or op.ceil_mode else value
        return extreme_of(emitter, greatest=True, may_be_nan=True)(value, axis=taps)

    return emitter.te.compute(shape, of_image(len(taps), element), "max_pool")


def taps_of(emitter: RelaxEmitter, op: Windowed) -> list[Any]:
    return [emitter.te.reduce_axis((0, size), name) for size, name in zip(op.kernel, TAPS[-len(op.kernel) :], strict=True)]


def _place(emitter: RelaxEmitter, op: Windowed, x: Any, window: Sequence[Any], taps: Sequence[Any]) -> tuple[list[Any], Any]:
    """Where a tap of a window lies, and whether x is there."""
    place = [window[a] * op.strides[a] + taps[a] * op.dilations[a] - op.pads[a] for a in range(len(taps))]
    return place, emitter.tirx.all(*(hit for a, p in enumerate(place) for hit in (p >= 0, p < x.shape[2 + a])))


def max_pool_indices(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """First the greatest value, then the first place of a window that holds it, or a NaN."""
    op = MAX_POOL_INDICES.of(node)
    te, tirx = emitter.te, emitter.tirx

    def places(x: Any, shape: Any) -> Any:
        found = first_places(emitter, op, x, shape)
        sizes = [size.astype("int64") for size in x.shape[2:]]
        beyond = math.prod(sizes, start=tirx.const(1, "int64"))

        def element(n: Any, c: Any, *window: Any) -> Any:
            image = n.astype("int64") * x.shape[1].astype("int64") + c.astype("int64")
            own = found[(n, c, *window)]
            if op.column_major:
                own = counted(_axes_of(emitter, own, sizes)[::-1], sizes[::-1])
            return image * beyond + own

        return te.compute(shape, of_image(len(sizes), element), "max_pool_indices")

    return emitter.compute(node, places, x)


def first_places(emitter: RelaxEmitter, op: Windowed, x: Any, shape: Any) -> Any:
    """Of each window the first place of its greatest value, counted within the channel."""
    te, tirx = emitter.te, emitter.tirx
    best, taps = _greatest(emitter, op, x, shape), taps_of(emitter, op)
    sizes = [size.astype("int64") for size in x.shape[2:]]
    beyond = math.prod(sizes, start=tirx.const(1, "int64"))

    def first(n: Any, c: Any, *window: Any) -> Any:
        place, inside = _place(emitter, op, x, window, taps)
        value = tirx.if_then_else(inside, x[(n, c, *place)], tirx.const(-math.inf, x.dtype))
        is_it = tirx.all(inside, tirx.any(value == best[(n, c, *window)], tirx.isnan(value)))
        return te.min(tirx.Select(is_it, counted(place, sizes), beyond), axis=taps)

    return te.compute(shape, of_image(len(taps), first), "first")


def counted(place: Sequence[Any], sizes: Sequence[Any]) -> Any:
    """How many elements come before a place in row-major order."""
    total: Any = place[0].astype("int64")
    for at, size in zip(place[1:], sizes[1:], strict=True):
        total = total * size + at.astype("int64")
    return total


def _axes_of(emitter: RelaxEmitter, count: Any, sizes: Sequence[Any]) -> list[Any]:
    """The place that has so many elements before it."""
    place: list[Any] = []
    for size in reversed(sizes[1:]):
        place.insert(0, emitter.tirx.floormod(count, size))
        count = emitter.tirx.floordiv(count, size)
    return [count, *place]


def max_unpool(emitter: RelaxEmitter, node: Node, x: Any, indices: Any) -> Any:
    """A place out of range is the nearest in it: data must not reach beyond the tensor."""
    te, tirx = emitter.te, emitter.tirx

    def put(write: Statements, out: Any, x: Any, indices: Any) -> None:
        sizes = [size.astype("int64") for size in out.shape]
        last = math.prod(sizes[1:], start=sizes[0]) - 1
        with write.each(out.shape) as at:
            write.store(out, tirx.const(0, out.dtype), at)
        with write.each(x.shape) as at:
            place = te.max(te.min(indices[at], last), tirx.const(0, "int64"))
            write.store(out, x[at], _axes_of(emitter, place, sizes))

    return written(emitter, node, put, x, indices)


def lp_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = LP_POOL.of(node)
    te, tirx = emitter.te, emitter.tirx

    def root(x: Any, shape: Any) -> Any:
        taps = taps_of(emitter, op)

        def power(n: Any, c: Any, *window: Any) -> Any:
            place, inside = _place(emitter, op, x, window, taps)
            value = x[(n, c, *place)]
            value = value * value if op.p == 2 else _powered(emitter, tirx.abs(value), op.p, x.dtype)
            return te.sum(tirx.if_then_else(inside, value, tirx.const(0, x.dtype)), axis=taps)

        total = te.compute(shape, of_image(len(taps), power), "powers")
        if op.p == 1:
            return total

        def element(*at: Any) -> Any:
            return tirx.sqrt(total[at]) if op.p == 2 else tirx.pow(total[at], tirx.const(1 / op.p, x.dtype))

        return te.compute(shape, element, "lp_pool")

    return emitter.compute(node, root, x)


def _powered(emitter: RelaxEmitter, value: Any, p: int, dtype: str) -> Any:
    """A product of p factors: TVM complains on stderr of every power of 3 or more, as if of a negative number."""
    if p > MOST_FACTORS:
        return emitter.tirx.pow(value, emitter.tirx.const(p, dtype))
    if p == 1:
        return value
    half = _powered(emitter, value, p // 2, dtype)
    return half * half * value if p % 2 else half * half


def global_max_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    te = emitter.te

    def greatest(x: Any, shape: Any) -> Any:
        places = [te.reduce_axis((0, extent), name) for extent, name in zip(x.shape[2:], PLACES[-len(x.shape[2:]) :], strict=True)]

        def element(n: Any, c: Any, *_one: Any) -> Any:
            return extreme_of(emitter, greatest=True, may_be_nan=True)(x[(n, c, *places)], axis=places)

        return te.compute(shape, of_image(len(places), element), "global_max_pool")

    return emitter.compute(node, greatest, x)


def avg_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = AVG_POOL.of(node)
    if not all(isinstance(extent, int) for extent in node.inputs[0].typed.shape[2:]):
        return _avg_pool_of_named_sizes(emitter, node, x)
    pool = getattr(emitter.ops.nn, f"avg_pool{len(op.kernel)}d")
    return pool(x, op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode, op.count_include_pad)


def _avg_pool_of_named_sizes(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """Relax's own fails where it rounds up a named size, and may keep a window that starts in the padding."""
    op = AVG_POOL.of(node)
    te, tirx = emitter.te, emitter.tirx
    axes = range(len(op.kernel))

    def mean(x: Any, shape: Any) -> Any:
        def place(axis: int, i: Any, tap: Any) -> Any:
            return i * op.strides[axis] + tap * op.dilations[axis] - op.pads[axis]

        def inside(axis: int, at: Any, before: int = 0, after: int = 0) -> list[Any]:
            return [at >= -before, at < x.shape[2 + axis] + after]

        def counts(axis: int) -> Any:
            pads = (op.pads[axis], op.pads[axis + len(axes)]) if op.count_include_pad else (0, 0)
            tap = te.reduce_axis((0, op.kernel[axis]), f"counted{axis}")

            def counted(i: Any) -> Any:
                hits = tirx.all(*inside(axis, place(axis, i, tap), *pads))
                return te.sum(tirx.if_then_else(hits, tirx.const(1, x.dtype), tirx.const(0, x.dtype)), axis=tap)

            return te.compute((shape[2 + axis],), counted, f"counts{axis}")

        taps = [te.reduce_axis((0, size), f"tap{axis}") for axis, size in enumerate(op.kernel)]

        def window(n: Any, c: Any, *at: Any) -> Any:
            places = [place(axis, at[axis], taps[axis]) for axis in axes]
            hits = tirx.all(*(test for axis in axes for test in inside(axis, places[axis])))
            return te.sum(tirx.if_then_else(hits, x[(n, c, *places)], tirx.const(0, x.dtype)), axis=taps)

        total, counted = te.compute(shape, window, "total"), [counts(axis) for axis in axes]

        def element(n: Any, c: Any, *at: Any) -> Any:
            return total[(n, c, *at)] / math.prod(counted[axis][at[axis]] for axis in axes)

        return te.compute(shape, element, "avg_pool")

    return emitter.compute(node, mean, x)


def global_avg_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    return emitter.ops.mean(x, axis=list(range(2, node.typed.rank)), keepdims=True)
