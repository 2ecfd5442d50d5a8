"""Kernels that only move: concatenation of channels, and images made larger or smaller by tables of places."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .....ir.types import Array
from ...cpu.kernels.layout import Batch
from .kernel import gpu_kind
from .layout import CHUNK, GpuPacking, Image, padded
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["channel_places", "gpu_concat", "gpu_gather", "gpu_resize", "gpu_uneven_concat"]

PAIR = 2  # channels


@gpu_kind("concat")
def gpu_concat(
    batch: Batch, channels: tuple[int, ...], rows: int, cols: int, dtype: str, moved: tuple[int, ...] | None = None
) -> DeviceFunc:
    """(A0, A1, ..., D): the operands' channels one after the other, all but the last in whole chunks. Only those in `moved` are there, if
    it is given: the others lie in D already.
    """
    assert not any(c % CHUNK for c in channels[:-1]), "a chunk of two operands"
    starts = list(itertools.accumulate(map(padded, channels), initial=0))
    moved = tuple(range(len(channels))) if moved is None else moved
    places = list(itertools.accumulate((padded(channels[i]) for i in moved), initial=0))  # of chunks among those that are moved
    given = [Tensor(f"A{i}", (batch, rows, cols, padded(channels[i])), dtype) for i in moved]

    def body(writer: GpuWriter, *buffers: Any) -> None:
        *operands, d = buffers
        with writer.each(writer.images(batch) * rows * cols, places[-1] // CHUNK) as (pixel, chunk):
            channel = chunk * CHUNK
            values = writer.registers(CHUNK, dtype)
            for i, operand, start, stop in zip(moved, operands, places, places[1:], strict=False):
                with writer.when(writer.tirx.And(channel >= start, channel < stop)):
                    writer.move(values, 0, operand, writer.place(pixel) * (stop - start) + channel - start, CHUNK)
                    writer.move(d, writer.place(pixel) * starts[-1] + starts[i] - start + channel, values, 0, CHUNK)

    return DeviceFunc([*given, Tensor("D", (batch, rows, cols, starts[-1]), dtype)], body)


@gpu_kind("concat, channel by channel")
def gpu_uneven_concat(batch: Batch, channels: tuple[int, ...], rows: int, cols: int, dtype: str) -> DeviceFunc:
    """(A0, A1, ..., D), where a chunk may have channels of several operands. What is beyond the last is 0."""
    starts = list(itertools.accumulate(channels, initial=0))
    lines = padded(starts[-1])
    given = [Tensor(f"A{i}", (batch, rows, cols, padded(c)), dtype) for i, c in enumerate(channels)]

    def body(writer: GpuWriter, *buffers: Any) -> None:
        *operands, d = buffers
        with writer.each(writer.images(batch) * rows * cols, lines // CHUNK) as (pixel, chunk):
            values = writer.registers(CHUNK)
            writer.fill(values, 0.0)
            for operand, start, c in zip(operands, starts, channels, strict=False):
                writer.take_shifted(values, operand, writer.place(pixel) * padded(c), chunk, -start, c)
            writer.put_chunk(d, writer.place(pixel) * lines + chunk * CHUNK, values)

    return DeviceFunc([*given, Tensor("D", (batch, rows, cols, lines), dtype)], body)


def channel_places(channels: int, indices: int) -> GpuPacking:
    """Indices as the channels that are read: those before 0 count from the end, and what is out of range is the nearest."""

    def pack(x: Array) -> Array:
        made = np.zeros(padded(indices), np.int32)
        made[:indices] = np.clip(np.where(x < 0, x + channels, x), 0, channels - 1).ravel()
        return made

    return GpuPacking((padded(indices),), "i32", pack)


@gpu_kind("gather")
def gpu_gather(batch: Batch, image: Image, made: int, dtype: str) -> DeviceFunc:
    """(A, places, D): of the channels of an `image` those at `made` places. A thread has two: so neighbours read neighbours where channels
    of two groups are shuffled.
    """
    (channels, rows, cols), lines = image, padded(made)

    def body(writer: GpuWriter, a: Any, places: Any, d: Any) -> None:
        with writer.each(writer.images(batch) * rows * cols, lines // PAIR) as (pixel, pair):
            which, values = writer.registers(PAIR, "int32"), writer.registers(PAIR, str(d.dtype))
            writer.move(which, 0, places, pair * PAIR, PAIR)
            for i in range(PAIR):
                value = writer.to.cast(a[writer.place(pixel) * padded(channels) + writer.place(which[i])], str(d.dtype))
                is_there = pair * PAIR + i < made
                writer.set(values, i, value if made % CHUNK == 0 else writer.either(is_there, value, writer.tirx.const(0.0, str(d.dtype))))
            writer.move(d, writer.place(pixel) * lines + pair * PAIR, values, 0, PAIR)

    given = [Tensor("A", (batch, rows, cols, padded(channels)), dtype), Tensor("places", (lines,), "int32")]
    return DeviceFunc([*given, Tensor("D", (batch, rows, cols, lines), dtype)], body)


@gpu_kind("resize")
def gpu_resize(batch: Batch, channels: int, source: tuple[int, int], target: tuple[int, int], is_bilinear: bool, dtype: str) -> DeviceFunc:
    """(A, tables..., D): where rows and columns come from, and, if bilinear, the share of the next one after each."""
    tables = [
        Tensor(f"{name}_{kind}", (extent,), of)
        for name, extent in zip(("row", "col"), target, strict=True)
        for kind, of in (("at", "int32"), *([("shares", "float32")] if is_bilinear else []))
    ]

    def body(writer: GpuWriter, a: Any, *rest: Any) -> None:
        *given, d = rest
        with writer.each(writer.images(batch) * target[0], target[1], padded(channels) // CHUNK) as (line, col, chunk):
            image, row = writer.place(line // target[0]), writer.keep(line % target[0])

            def chunk_at(y: Any, x: Any) -> Any:
                return ((image * source[0] + y) * source[1] + x) * padded(channels) + chunk * CHUNK

            at = (writer.place(line) * target[1] + col) * padded(channels) + chunk * CHUNK
            if is_bilinear:
                writer.put_chunk(d, at, _mixed(writer, a, chunk_at, given, (row, col), source))
            else:
                values = writer.take_chunk(a, chunk_at(given[0][row], given[1][col]))
                writer.move(d, at, values, 0, CHUNK)

    shape = (*target, padded(channels))
    return DeviceFunc([Tensor("A", (batch, *source, padded(channels)), dtype), *tables, Tensor("D", (batch, *shape), dtype)], body)


def _mixed(writer: GpuWriter, a: Any, chunk_at: Any, tables: Sequence[Any], at: tuple[Any, Any], source: tuple[int, int]) -> Any:
    """Of four pixels, first by rows; shares as the op's meaning has them, so that infinities go the same ways."""
    rows, row_shares, cols, col_shares = tables
    (row, col), one = at, writer.to.float32(1)
    top, left = writer.keep(rows[row]), writer.keep(cols[col])
    below, right = writer.keep(writer.to.min(top + 1, source[0] - 1)), writer.keep(writer.to.min(left + 1, source[1] - 1))
    down, across = writer.keep(row_shares[row]), writer.keep(col_shares[col])
    sides = list[Any]()
    for x in (left, right):
        side = writer.take_floats(a, chunk_at(top, x))
        writer.change(side, lambda upper, lower: upper * (one - down) + lower * down, writer.take_floats(a, chunk_at(below, x)))
        sides.append(side)
    writer.change(sides[0], lambda near, far: near * (one - across) + far * across, sides[1])
    return sides[0]
