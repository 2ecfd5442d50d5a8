"""Lowerings of conv2d and conv_transpose2d, and the sums of products they share with dense and matmul."""

from __future__ import annotations

import math
from typing import Any

from ....ir.graph import Node
from ....ir.ops.conv import CONV2D, CONV_TRANSPOSE2D
from ....ir.types import TensorType
from .relax_emitter import RelaxEmitter, dtype_name

__all__ = ["accumulator", "conv2d", "conv_transpose2d", "in_own_type"]


def accumulator(type_: TensorType) -> str:
    """The element type of sums: half precision would lose digits with every term."""
    return "float32" if type_.dtype == "f16" else dtype_name(type_)


def in_own_type(emitter: RelaxEmitter, node: Node, value: Any) -> Any:
    """A sum in its accumulator type, as the node's own type."""
    return value if accumulator(node.typed) == dtype_name(node.typed) else emitter.ops.astype(value, dtype_name(node.typed))


def conv2d(emitter: RelaxEmitter, node: Node, x: Any, w: Any, b: Any = None) -> Any:
    op = CONV2D.of(node)
    product = emitter.ops.nn.conv2d(
        x, w, strides=op.strides, padding=op.pads, dilation=op.dilations, groups=op.groups, out_dtype=accumulator(node.typed)
    )
    return with_channel_bias(emitter, in_own_type(emitter, node, product), b)


def with_channel_bias(emitter: RelaxEmitter, y: Any, b: Any) -> Any:
    return y if b is None else emitter.ops.add(y, emitter.ops.expand_dims(b, [0, 2, 3]))


def conv_transpose2d(emitter: RelaxEmitter, node: Node, x: Any, w: Any, b: Any = None) -> Any:
    """Each result gathers the taps that reach it; Relax's own lowering multiplies the zeros between the pixels too."""
    op = CONV_TRANSPOSE2D.of(node)
    te, tirx = emitter.te, emitter.tirx
    dtype = accumulator(node.typed)
    _, per_group, k_rows, k_cols = node.inputs[1].typed.concrete()

    def gather(x: Any, w: Any, shape: Any) -> Any:
        group = w.shape[0] // op.groups
        channel = te.reduce_axis((0, group), "channel")
        rows = _Taps(emitter, "row", k_rows, op.strides[0], op.dilations[0], op.pads[0], x.shape[2])
        cols = _Taps(emitter, "col", k_cols, op.strides[1], op.dilations[1], op.pads[1], x.shape[3])

        def term(n: Any, o: Any, i: Any, j: Any) -> Any:
            (row, k_row, row_hits), (col, k_col, col_hits) = rows.at(i), cols.at(j)
            c = tirx.floordiv(o, per_group) * group + channel
            pixel = x[n, c, row, col].astype(dtype)
            weight = w[c, tirx.floormod(o, per_group), k_row, k_col].astype(dtype)
            hits = tirx.all(*row_hits, *col_hits)
            return te.sum(tirx.if_then_else(hits, pixel * weight, tirx.const(0, dtype)), axis=[channel, rows.axis, cols.axis])

        return te.compute(shape, term, "conv_transpose2d")

    return with_channel_bias(emitter, in_own_type(emitter, node, emitter.compute(node, gather, x, w)), b)


class _Taps:
    """Which taps k of one axis reach result position i, and from which pixel: those with i + before = stride*pixel + dilation*k.

    With g = gcd(stride, dilation) there are such taps only where g divides i + before, and then one in each run
    of stride/g taps: k = (i + before)/g * inverse(dilation/g) modulo stride/g. The axis counts those runs.
    """

    def __init__(self, emitter: RelaxEmitter, name: str, kernel: int, stride: int, dilation: int, before: int, pixels: Any) -> None:
        self.tirx = emitter.tirx
        self.common = math.gcd(stride, dilation)
        self.period = stride // self.common
        self.inverse = pow(dilation // self.common, -1, self.period) if self.period > 1 else 0
        self.kernel, self.stride, self.dilation, self.before, self.pixels = kernel, stride, dilation, before, pixels
        self.axis = emitter.te.reduce_axis((0, -(-kernel // self.period)), name)

    def at(self, i: Any) -> tuple[Any, Any, list[Any]]:
        """(pixel, tap, conditions under which both exist)."""
        tirx = self.tirx
        place = i + self.before
        first = tirx.floormod(tirx.floordiv(place, self.common) * self.inverse, self.period)
        tap = self.axis * self.period + first
        reach = place - tap * self.dilation
        pixel = tirx.floordiv(reach, self.stride)
        hits = [reach >= 0, pixel < self.pixels]
        if self.kernel % self.period:
            hits.append(tap < self.kernel)
        if self.common > 1:
            hits.append(tirx.floormod(place, self.common) == 0)
        return pixel, tap, hits
