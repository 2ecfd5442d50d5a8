"""Lowerings of the pools. TVM's maximum drops a NaN and cannot say minus infinity, so the greatest value has the reducer of reduce_max."""

from __future__ import annotations

import math
from typing import Any

from ....ir.graph import Node
from ....ir.ops.pool import AVG_POOL, MAX_POOL
from .reduce import extreme_of
from .relax_emitter import RelaxEmitter

__all__ = ["avg_pool", "global_avg_pool", "global_max_pool", "max_pool"]


def max_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = MAX_POOL.of(node)
    te, tirx = emitter.te, emitter.tirx
    padded = any(op.pads) or op.ceil_mode

    def greatest(x: Any, shape: Any) -> Any:
        taps = [te.reduce_axis((0, size), name) for size, name in zip(op.kernel, ("k_row", "k_col"), strict=True)]

        def element(n: Any, c: Any, i: Any, j: Any) -> Any:
            window = (i, j)
            row, col = (window[a] * op.strides[a] + taps[a] * op.dilations[a] - op.pads[a] for a in (0, 1))
            inside = tirx.all(row >= 0, row < x.shape[2], col >= 0, col < x.shape[3])
            value = tirx.if_then_else(inside, x[n, c, row, col], tirx.const(-math.inf, x.dtype)) if padded else x[n, c, row, col]
            return extreme_of(emitter, greatest=True, may_be_nan=True)(value, axis=taps)

        return te.compute(shape, element, "max_pool")

    return emitter.compute(node, greatest, x)


def global_max_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    te = emitter.te

    def greatest(x: Any, shape: Any) -> Any:
        row, col = te.reduce_axis((0, x.shape[2]), "row"), te.reduce_axis((0, x.shape[3]), "col")

        def element(n: Any, c: Any, _row: Any, _col: Any) -> Any:
            return extreme_of(emitter, greatest=True, may_be_nan=True)(x[n, c, row, col], axis=[row, col])

        return te.compute(shape, element, "global_max_pool")

    return emitter.compute(node, greatest, x)


def avg_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = AVG_POOL.of(node)
    return emitter.ops.nn.avg_pool2d(x, op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode, op.count_include_pad)


def global_avg_pool(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    return emitter.ops.mean(x, axis=[2, 3], keepdims=True)
