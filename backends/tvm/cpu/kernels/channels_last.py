"""Moves between blocks of channels and plain values with channels last, [n,H,W,C]: vectors of a pixel's channels, as they are."""

from __future__ import annotations

from typing import Any

from .kernel import kind
from .layout import LANES, Batch, blocks
from .writer import Operand, Register, Writer, blocked, prim_func

__all__ = ["from_last", "to_last"]


def _plain(name: str, batch: Batch, pixels: tuple[int, ...], channels: int) -> Operand:
    return Operand(name, (batch, *pixels, channels))


@kind("to channels last")
def to_last(batch: Batch, channels: int, rows: int, cols: int, pixels: tuple[int, ...]) -> Any:
    """(A blocked, D[n,pixels,C]), where pixels are rows and columns, or columns alone."""
    count, whole = rows * cols, channels // LANES

    def body(writer: Writer, a: Any, d: Any) -> None:
        lines, made = writer.alias(a, (blocks(channels), count, LANES)), writer.alias(d, (count, channels))
        with writer.each(batch, count, work=2 * count * channels) as (i, pixel):
            with writer.loop(whole) as c:
                writer.to.buffer_store(made, writer.load(lines, i, c, pixel), [i, pixel, writer.lanes(c * LANES)])
            for lane in range(channels % LANES):
                writer.to.buffer_store(made, lines[i, whole, pixel, lane], [i, pixel, whole * LANES + lane])

    return prim_func([blocked("A", batch, channels, rows, cols), _plain("D", batch, pixels, channels)], body)


@kind("from channels last")
def from_last(batch: Batch, channels: int, rows: int, cols: int, pixels: tuple[int, ...]) -> Any:
    """(A[n,pixels,C], D blocked). Lanes beyond the last channel become 0."""
    count, whole, left = rows * cols, channels // LANES, channels % LANES

    def body(writer: Writer, a: Any, d: Any) -> None:
        given, lines = writer.alias(a, (count, channels)), writer.alias(d, (blocks(channels), count, LANES))
        with writer.each(batch, count, work=2 * count * channels) as (i, pixel):
            with writer.loop(whole) as c:
                writer.store(lines, writer.keep(given[i, pixel, writer.lanes(c * LANES)]), i, c, pixel)
            if left:
                last = Register(writer)
                last.set(writer.spread(0.0))
                for lane in range(left):
                    last.set_lane(lane, given[i, pixel, whole * LANES + lane])
                writer.store(lines, last.get(), i, whole, pixel)

    return prim_func([_plain("A", batch, pixels, channels), blocked("D", batch, channels, rows, cols)], body)
