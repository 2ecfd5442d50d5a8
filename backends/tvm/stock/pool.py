"""Lowerings of the pools. TVM's maximum drops a NaN and cannot say minus infinity, so the greatest value has the reducer of reduce_max."""

from __future__ import annotations

import math
from typing import Any

from ....ir.graph import Node
from ....ir.ops.pool import AVG_POOL, MAX_POOL
from .reduce import extreme_of
from .relax_emitter import RelaxEmitter, of_image

TAPS, PLACES = ("k_depth", "k_row", "k_col"), ("depth", "row", "col")  # names of axes, counted from the last

__all__ = ["avg_pool", "global_avg_pool", "global_max_pool", "max_pool"]


def max_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = MAX_POOL.of(node)
    te, tirx = emitter.te, emitter.tirx
    padded = any(op.pads) or op.ceil_mode

    def greatest(x: Any, shape: Any) -> Any:
        taps = [te.reduce_axis((0, size), name) for size, name in zip(op.kernel, TAPS[-len(op.kernel) :], strict=True)]

        def element(n: Any, c: Any, *window: Any) -> Any:
            place = [window[a] * op.strides[a] + taps[a] * op.dilations[a] - op.pads[a] for a in range(len(taps))]
            inside = tirx.all(*(hit for a, p in enumerate(place) for hit in (p >= 0, p < x.shape[2 + a])))
            value = x[(n, c, *place)]
            value = tirx.if_then_else(inside, value, tirx.const(-math.inf, x.dtype)) if padded else value
            return extreme_of(emitter, greatest=True, may_be_nan=True)(value, axis=taps)

        return te.compute(shape, of_image(len(taps), element), "max_pool")

    return emitter.compute(node, greatest, x)


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
