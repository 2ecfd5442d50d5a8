"""The gradient of a max pool on blocked tensors: what each window adds goes where its greatest value is, the first of equals."""

from __future__ import annotations

import itertools
import math
from typing import Any

from .kernel import kind
from .layout import LANES, Batch, blocks
from .windows import Window, tap_rows
from .writer import Register, Writer, blocked, prim_func

__all__ = ["max_pool_gradient"]


@kind("max pool gradient")
def max_pool_gradient(batch: Batch, channels: int, window: Window) -> Any:
    """(A, G, D). A thread has whole images of a block, window after window: those that overlap add up in one order."""
    (rows, cols), count = window.out, blocks(channels)
    work = count * LANES * (2 * window.rows * window.cols + rows * cols * math.prod(window.kernel))

    def body(writer: Writer, a: Any, g: Any, d: Any) -> None:
        with writer.each(batch, count, work=work) as (i, c):
            with writer.loop(window.rows) as y, writer.loop(window.cols) as x:
                writer.store(d, writer.spread(0.0), i, c, y, x)
            columns = itertools.groupby(range(cols), lambda place: window.taps(1, place))
            runs = [(list(group), taps) for taps, group in columns]
            with writer.loop(rows) as y:
                below, above = tap_rows(writer, window, y)
                for places, taps in runs:
                    if taps:
                        with writer.loop(places[-1] + 1, places[0]) as x:
                            _window(writer, window, (a, g, d), (i, c, y, x), taps, (below, above))

    given = blocked("A", batch, channels, window.rows, window.cols)
    return prim_func([given, blocked("G", batch, channels, rows, cols), blocked("D", batch, channels, window.rows, window.cols)], body)


def _window(
    writer: Writer, window: Window, images: tuple[Any, ...], at: tuple[Any, ...], taps: tuple[int, ...], rows: tuple[Any, Any]
) -> None:
    """One window: the place of its greatest value in each lane, a NaN being greater than any number, and then what it adds there."""
    tirx, (a, g, d), (i, c, y, x) = writer.tirx, images, at
    greatest, place = Register(writer), writer.to.alloc_buffer((1, LANES), "int32", scope="global")

    def places() -> list[tuple[Any, Any, int]]:
        """(row, column, number) for each tap of a row that lies in the image."""
        row = y * window.strides[0] - window.pads[0]
        return [(row, x * window.strides[1] + (tap * window.dilations[1] - window.pads[1]), tap) for tap in taps]

    def number(k_row: Any, tap: int) -> Any:
        return tirx.Broadcast(tirx.Cast("int32", k_row * window.kernel[1] + tap), LANES)

    greatest.set(writer.spread(-math.inf))
    writer.store(place, number(rows[0], taps[0]), 0)
    with writer.loop(rows[1], rows[0]) as k_row:
        for row, col, tap in places():
            value = writer.load(a, i, c, row + k_row * window.dilations[0], col)
            own = place[(0, writer.lanes())]
            is_greater = tirx.Or(value > greatest.get(), tirx.And(tirx.isnan(value), tirx.Not(tirx.isnan(greatest.get()))))
            writer.store(place, tirx.Select(is_greater, number(k_row, tap), own), 0)
            greatest.set(tirx.Select(is_greater, value, greatest.get()))
    added = writer.load(g, i, c, y, x)
    with writer.loop(rows[1], rows[0]) as k_row:
        for row, col, tap in places():
            there = (i, c, row + k_row * window.dilations[0], col)
            share = tirx.Select(place[(0, writer.lanes())] == number(k_row, tap), added, writer.spread(0.0))
            writer.store(d, writer.load(d, *there) + share, *there)
