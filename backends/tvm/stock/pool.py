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
    pool = getattr(emitter.ops.nn, f"avg_pool{len(op.kernel)}d")
    return pool(x, op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode, op.count_include_pad)


def global_avg_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    return emitter.ops.mean(x, axis=list(range(2, node.typed.rank)), keepdims=True)
