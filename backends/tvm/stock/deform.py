"""Lowering of a convolution whose taps are moved. No index leaves the tensor, whatever the offsets are."""

from __future__ import annotations

import itertools
from typing import Any

from ....ir.graph import Node
from ....ir.ops.deform import DEFORM_CONV2D, given_operands
from .conv import with_channel_bias
from .relax_emitter import RelaxEmitter

__all__ = ["deform_conv"]

Tap = tuple[Any, Any]  # an index and what it weighs


def deform_conv(emitter: RelaxEmitter, node: Node, x: Any, w: Any, offset: Any, *more: Any) -> Any:
    """What each tap reads of each channel once, then the product: a weight would read it again for every filter."""
    op = DEFORM_CONV2D.of(node)
    te, tirx = emitter.te, emitter.tirx
    channels, (filters, per_group, rows, cols) = node.inputs[0].typed.shape[1], node.inputs[1].typed.concrete()
    assert isinstance(channels, int)
    width, given = channels // op.offset_groups, given_operands(op, more)

    def product(x: Any, w: Any, offset: Any, *mask: Any, shape: Any) -> Any:
        taps = emitter.dim(rows * cols)
        places = [shape[0], emitter.dim(op.offset_groups * rows * cols), *shape[2:]]

        def axis(which: int) -> Any:
            step, before, apart = op.strides[which], op.pads[which], op.dilations[which]

            def place(n: Any, k: Any, *at: Any) -> Any:
                tap = tirx.floormod(tirx.floordiv(k, cols), rows) if which == 0 else tirx.floormod(k, cols)
                start = (at[which] * step + tap * apart - before).astype(x.dtype)
                return start + offset[(n, 2 * k + which, *at)]

            return te.compute(places, place, ("rows", "cols")[which])

        axes = [axis(0), axis(1)]

        def read(n: Any, c: Any, k: Any, i: Any, j: Any) -> Any:
            number = tirx.floordiv(c, width) * taps + k
            pairs = [_pair(emitter, found[n, number, i, j], x.shape[2 + which]) for which, found in enumerate(axes)]
            total: Any = tirx.const(0, x.dtype)
            for (row, v), (col, u) in itertools.product(*pairs):
                total = total + x[n, c, row, col] * (v * u)
            return total * mask[0][n, number, i, j] if mask else total

        columns = te.compute((shape[0], x.shape[1], taps, *shape[2:]), read, "columns")
        channel, tap = te.reduce_axis((0, per_group), "channel"), te.reduce_axis((0, rows * cols), "tap")

        def sum_(n: Any, o: Any, i: Any, j: Any) -> Any:
            c = tirx.floordiv(o, filters // op.groups) * per_group + channel if op.groups > 1 else channel
            weight = w[o, channel, tirx.floordiv(tap, cols), tirx.floormod(tap, cols)]
            return te.sum(columns[n, c, tap, i, j] * weight, axis=[channel, tap])

        return te.compute(shape, sum_, "deform_conv2d")

    y = emitter.compute(node, product, x, w, offset, *([given["mask"]] if "mask" in given else []))
    return with_channel_bias(emitter, y, given.get("bias"), 4)


def _pair(emitter: RelaxEmitter, at: Any, size: Any) -> list[Tap]:
    """The two pixels around a place, held inside; one outside weighs nothing. In the order of the meaning (ir/ops/deform.py)."""
    te, tirx = emitter.te, emitter.tirx
    zero, one, most = tirx.const(0, at.dtype), tirx.const(1, at.dtype), size.astype(at.dtype)
    at = te.max(te.min(tirx.Select(tirx.isnan(at), zero - one, at), most), zero - one)
    low = te.floor(at)
    part = at - low

    def tap(place: Any, weight: Any) -> Tap:
        outside = tirx.any(place < zero, place >= most)
        return te.max(te.min(place, most - one), zero).astype("int64"), tirx.Select(outside, zero, weight)

    return [tap(low, one - part), tap(low + one, part)]
