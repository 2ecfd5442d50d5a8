"""Lowerings of convolutions and transposed ones, and the sums of products they share with dense and matmul."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ....ir.graph import Node
from ....ir.ops.conv import CONV2D, Conv
from ....ir.ops.conv_transpose import conv_transpose_of
from ....ir.types import TensorType
from .relax_emitter import RelaxEmitter, dtype_name, of_image

NAMES = ("depth", "row", "col")  # of axes, counted from the last

__all__ = ["accumulator", "conv", "conv2d", "conv_transpose", "in_own_type", "window_sums"]


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
    return with_channel_bias(emitter, in_own_type(emitter, node, product), b, 4)


def with_channel_bias(emitter: RelaxEmitter, y: Any, b: Any, rank: int) -> Any:
    return y if b is None else emitter.ops.add(y, emitter.ops.expand_dims(b, [0, *range(2, rank)]))


def conv(emitter: RelaxEmitter, node: Node, x: Any, w: Any, b: Any = None) -> Any:
    """Over any number of axes. Relax's own have no groups where they have one axis, and take no named sizes where they have three."""
    dtype = accumulator(node.typed)

    def factors(x: Any, w: Any, filter_: Any) -> tuple[Any, Any]:
        return x.astype(dtype), w.astype(dtype)

    product = emitter.compute(node, window_sums(emitter, node, dtype, factors), x, w)
    return with_channel_bias(emitter, in_own_type(emitter, node, product), b, node.typed.rank)


def window_sums(emitter: RelaxEmitter, node: Node, dtype: str, factors: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
    """Sums over windows of what `factors(x, w, filter, *others)` makes of an element of each, and of nothing where x is padded."""
    te, tirx = emitter.te, emitter.tirx
    op: Conv = node.op
    axes, padded = len(op.strides), any(op.pads)
    c_out, per_group, *kernel = node.inputs[1].typed.concrete()

    def sums(x: Any, w: Any, *others: Any, shape: Any) -> Any:
        channel = te.reduce_axis((0, per_group), "channel")
        taps = [te.reduce_axis((0, size), f"k{axis}") for axis, size in enumerate(kernel)]

        def term(n: Any, o: Any, *at: Any) -> Any:
            c = tirx.floordiv(o, c_out // op.groups) * per_group + channel if op.groups > 1 else channel
            place = [at[i] * op.strides[i] + taps[i] * op.dilations[i] - op.pads[i] for i in range(axes)]
            value, weight = factors(x[(n, c, *place)], w[(o, channel, *taps)], o, *others)
            if padded:
                hits = [hit for i, p in enumerate(place) for hit in (p >= 0, p < x.shape[2 + i])]
                value = tirx.if_then_else(tirx.all(*hits), value, tirx.const(0, dtype))
            return te.sum(value * weight, axis=[channel, *taps])

        return te.compute(shape, of_image(axes, term), node.kind.name)

    return sums


def conv_transpose(emitter: RelaxEmitter, node: Node, x: Any, w: Any, b: Any = None) -> Any:
    """Each result gathers the taps that reach it; Relax's own lowering multiplies the zeros between the pixels too."""
    op = conv_transpose_of(node)
    te, tirx = emitter.te, emitter.tirx
    dtype, axes = accumulator(node.typed), len(op.strides)
    _, per_group, *kernel = node.inputs[1].typed.concrete()

    def gather(x: Any, w: Any, shape: Any) -> Any:
        group = w.shape[0] // op.groups
        channel = te.reduce_axis((0, group), "channel")
        along = [
            _Taps(emitter, NAMES[i - axes], kernel[i], op.strides[i], op.dilations[i], op.pads[i], x.shape[2 + i]) for i in range(axes)
        ]

        def term(n: Any, o: Any, *at: Any) -> Any:
            reached = [taps.at(i) for taps, i in zip(along, at, strict=True)]
            pixel, tap, hits = ([each[part] for each in reached] for part in range(3))
            c = tirx.floordiv(o, per_group) * group + channel
            value = x[(n, c, *pixel)].astype(dtype)
            weight = w[(c, tirx.floormod(o, per_group), *tap)].astype(dtype)
            within = tirx.all(*(hit for each in hits for hit in each))
            total = tirx.if_then_else(within, value * weight, tirx.const(0, dtype))
            return te.sum(total, axis=[channel, *(taps.axis for taps in along)])

        return te.compute(shape, of_image(axes, term), node.kind.name)

    return with_channel_bias(emitter, in_own_type(emitter, node, emitter.compute(node, gather, x, w)), b, axes + 2)


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
        if isinstance(self.pixels, tirx.IntImm) and int(self.pixels) == 1:  # a quotient would be divided by 0 in TVM's arithmetic (0.27)
            pixel, hits = tirx.const(0, "int64"), [reach == 0]
        else:
            pixel = tirx.floordiv(reach, self.stride)
            hits = [reach >= 0, pixel < self.pixels]
        if self.kernel % self.period:
            hits.append(tap < self.kernel)
        if self.common > 1:
            hits.append(tirx.floormod(place, self.common) == 0)
        return pixel, tap, hits
