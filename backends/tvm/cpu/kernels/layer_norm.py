"""Normalization by the own mean and variance of plain rows, layer_norm over the last axes, or of the channels of every pixel in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .kernel import kind
from .layout import LANES, Batch, blocks
from .writer import Operand, Register, Writer, blocked, prim_func

__all__ = ["channel_norm", "layer_norm"]

WORK = 4  # as if so many elements were moved for each
SUMS = 4  # side by side, so that none waits for itself


@kind("layer norm")
def layer_norm(shape: tuple[int | None, ...], count: int, epsilon: float, has_bias: bool = True) -> Any:
    """(A, scale[count], bias[count] if it has one, D): (A - mean) / sqrt(var + epsilon) * scale + bias, of rows of the last `count`
    elements. A size that has a name is None.

    The mean is taken before the variance: a row stays in the cache for that, and digits stay where the mean is large.
    """
    full, left = divmod(count, LANES)
    images = None if None in shape else 1
    rows = math.prod(extent for extent in shape if extent is not None) // count

    def body(writer: Writer, a: Any, scale: Any, *rest: Any) -> None:
        *bias, d = rest
        number = writer.batch if images is None else writer.long(1)
        given, made = (writer.to.decl_buffer([number * rows, writer.long(count)], "float32", data=each.data) for each in (a, d))

        def ending(buffer: Any, *at: Any) -> Register:
            """The lanes of a row that fill no vector; the others are 0."""
            last = Register(writer)
            last.set(writer.spread(0.0))
            for lane in range(left):
                last.set_lane(lane, buffer[(*at, full * LANES + lane)])
            return last

        with writer.each(images, rows, work=WORK * rows * count) as (i, y):
            row = writer.keep(i * rows + y)
            end = ending(given, row) if left else None
            mean = writer.settle(writer.across(_sum(writer, given, row, full, end, left, None), _plus) / writer.spread(float(count)))
            var = writer.settle(writer.across(_sum(writer, given, row, full, end, left, mean), _plus) / writer.spread(float(count)))
            gain = writer.settle(writer.spread(1.0) / writer.tirx.sqrt(var + writer.spread(epsilon)))
            with writer.loop(full) as k:
                lanes = writer.lanes(k * LANES)
                value = (writer.keep(given[row, lanes]) - mean) * gain * writer.keep(scale[lanes])
                writer.to.buffer_store(made, value + writer.keep(bias[0][lanes]) if bias else value, [row, lanes])
            if end is not None:
                value = (end.get() - mean) * gain * ending(scale).get()
                end.set(value + ending(bias[0]).get() if bias else value)
                for lane in range(left):
                    writer.to.buffer_store(made, end.lane(lane), [row, full * LANES + lane])

    constants = [Operand(name, (count,)) for name in ("scale", "bias")[: 1 + has_bias]]
    return prim_func([Operand("A", shape), *constants, Operand("D", shape)], body)


@kind("channel norm")
def channel_norm(batch: Batch, channels: int, rows: int, cols: int, epsilon: float) -> Any:
    """(A, scale[CB,LANES], shift[CB,LANES], D), all but the constants blocked: as `layer_norm`, over the channels of a pixel."""
    count, left, pixels = blocks(channels), channels % LANES, rows * cols

    def body(writer: Writer, a: Any, scale: Any, shift: Any, d: Any) -> None:
        given, made = (writer.alias(each, (count, pixels, LANES)) for each in (a, d))
        kept = [lane if lane < left or not left else LANES for lane in range(LANES)]

        def total(at: tuple[Any, Any], term: Callable[[Any], Any]) -> Any:
            """Of a term of each channel: lanes beyond the last one hold anything."""
            i, pixel = at
            whole, width = count - (left > 0), min(SUMS, max(1, count - (left > 0)))
            sums = writer.registers(width)
            for j in range(width):
                writer.store(sums, writer.spread(0.0), j)
            with writer.loop(whole // width) as k:
                for j in range(width):
                    writer.store(sums, writer.load(sums, j) + term(writer.load(given, i, k * width + j, pixel)), j)
            for j in range(whole % width):
                writer.store(sums, writer.load(sums, j) + term(writer.load(given, i, whole // width * width + j, pixel)), j)
            if left:
                last = term(writer.load(given, i, count - 1, pixel))
                writer.store(sums, writer.load(sums, 0) + writer.blend([writer.settle(last), writer.spread(0.0)], kept), 0)
            return writer.across(writer.pairwise([writer.load(sums, j) for j in range(width)], _plus), _plus)

        def square(value: Any) -> Any:
            value = writer.settle(value)
            return value * value

        with writer.each(batch, pixels, work=WORK * pixels * count * LANES) as (i, pixel):
            mean = writer.settle(total((i, pixel), lambda value: value) / writer.spread(float(channels)))
            var = total((i, pixel), lambda value: square(value - mean)) / writer.spread(float(channels))
            gain = writer.settle(writer.spread(1.0) / writer.tirx.sqrt(var + writer.spread(epsilon)))
            with writer.loop(count) as c:
                value = (writer.load(given, i, c, pixel) - mean) * gain * writer.load(scale, c) + writer.load(shift, c)
                if left:  # an infinity times what lies beyond the last channel is not a number, and lanes there are finite
                    value = writer.tirx.Select(c == count - 1, writer.blend([writer.settle(value), writer.spread(0.0)], kept), value)
                writer.store(made, value, i, c, pixel)

    constants = [Operand(name, (count, LANES)) for name in ("scale", "shift")]
    return prim_func([blocked("A", batch, channels, rows, cols), *constants, blocked("D", batch, channels, rows, cols)], body)


def _sum(writer: Writer, rows: Any, row: Any, full: int, end: Register | None, left: int, mean: Any) -> Any:
    """Of a row, or of its squared distances from the mean, in every lane a part."""
    width = min(SUMS, max(1, full))
    sums = writer.registers(width)
    for j in range(width):
        writer.store(sums, writer.spread(0.0), j)

    def add(value: Any, j: int) -> None:
        if mean is not None:
            value = writer.settle(value - mean)
            value = value * value
        writer.store(sums, sums[(j, writer.lanes())] + value, j)

    with writer.loop(full // width) as k:
        for j in range(width):
            add(writer.keep(rows[row, writer.lanes((k * width + j) * LANES)]), j)
    for j in range(full % width):
        add(writer.keep(rows[row, writer.lanes((full // width * width + j) * LANES)]), j)
    if end is not None:
        value = end.get()
        if mean is not None:
            value = writer.settle(value - mean)
            value = writer.blend([value * value, writer.spread(0.0)], [lane if lane < left else LANES for lane in range(LANES)])
        writer.store(sums, sums[(0, writer.lanes())] + value, 0)
    return writer.pairwise([writer.load(sums, j) for j in range(width)], _plus)


def _plus(a: Any, b: Any) -> Any:
    return a + b
