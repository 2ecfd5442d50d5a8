"""Kernels that only move: into blocks and out of them, concatenation, slices and choices of channels.

Between the layouts, 16 pixels of 16 channels are turned around in registers: four rounds of shuffles, each of which swaps halves of
ever larger parts (Eklundh 1972). Rows of an image follow each other, so a tile of 16 pixels may reach over their ends.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from .....ir.ops.window import Pair
from .kernel import kind
from .layout import LANES, Batch, blocks
from .writer import Operand, Writer, blocked, prim_func

__all__ = ["concat", "pack", "pad_channels", "pick", "pixels_apart", "slice_blocks", "transposed", "turn_out", "unpack"]

LanePlace = tuple[int, int, int]  # of a channel: operand, block, lane


@kind("pack")
def pack(batch: Batch, channels: int, rows: int, cols: int, dtype: str = "float32") -> Any:
    """(A[n,C,H,W] of a type, D blocked). Lanes beyond the last channel become 0."""
    pixels = rows * cols
    count = blocks(channels)

    def body(writer: Writer, a: Any, d: Any) -> None:
        images, lines = writer.alias(a, (channels, pixels)), writer.alias(d, (count, pixels, LANES))

        def wide(value: Any, lanes: int) -> Any:
            return value if dtype == "float32" else writer.tirx.Cast("float32" if lanes == 1 else f"float32x{lanes}", value)

        with writer.each(batch, count, *_tiles(pixels), work=2 * count * pixels * LANES) as (i, c, tile):
            first, step = _tile_start(writer, tile, pixels)

            def turn(used: int) -> None:
                given = [writer.keep(wide(images[i, c * LANES + k, writer.lanes(first)], LANES)) for k in range(used)]
                for pixel, vector in enumerate(transposed(writer, [*given, *[writer.spread(0.0)] * (LANES - used)])):
                    writer.store(lines, vector, i, c, first + pixel)

            def pick(used: int) -> None:
                with writer.loop(step) as pixel:
                    for k in range(LANES):
                        value = wide(images[i, c * LANES + k, first + pixel], 1) if k < used else writer.tirx.const(0.0, "float32")
                        writer.to.buffer_store(lines, value, [i, c, first + pixel, k])

            _by_fill(writer, channels, c, turn if pixels >= LANES else pick)

    return prim_func([Operand("A", (batch, channels, rows, cols), dtype), blocked("D", batch, channels, rows, cols)], body)


@kind("unpack")
def unpack(batch: Batch, channels: int, rows: int, cols: int, dtype: str = "float32") -> Any:
    """(A blocked, D[n,C,H,W] of a type)."""
    pixels = rows * cols
    count = blocks(channels)

    def body(writer: Writer, a: Any, d: Any) -> None:
        lines, images = writer.alias(a, (count, pixels, LANES)), writer.alias(d, (channels, pixels))

        with writer.each(batch, count, *_tiles(pixels), work=2 * count * pixels * LANES) as (i, c, tile):
            first, step = _tile_start(writer, tile, pixels)

            def turn(used: int) -> None:
                given = [writer.load(lines, i, c, first + pixel) for pixel in range(LANES)]
                for k, vector in enumerate(transposed(writer, given)[:used]):
                    writer.to.buffer_store(images, writer.typed_as(images, vector, LANES), [i, c * LANES + k, writer.lanes(first)])

            def pick(used: int) -> None:
                for k in range(used):
                    with writer.loop(step) as pixel:
                        writer.to.buffer_store(
                            images, writer.typed_as(images, lines[i, c, first + pixel, k]), [i, c * LANES + k, first + pixel]
                        )

            _by_fill(writer, channels, c, turn if pixels >= LANES else pick)

    return prim_func([blocked("A", batch, channels, rows, cols), Operand("D", (batch, channels, rows, cols), dtype)], body)


def turn_out(writer: Writer, d: Any, at: tuple[Any, Any, Any], pixel: Callable[[Any], Any]) -> None:
    """Pixels of a block, a vector of its channels each, as a row of D[n,C,H,W], `at` an image, block and row; one of a vector at least."""
    (i, c, y), channels, cols = at, int(d.shape[1]), int(d.shape[3])
    with writer.loop(*_tiles(cols)) as tile:
        first = writer.keep(_tile_start(writer, tile, cols)[0])

        def turn(used: int) -> None:
            given = [writer.keep(pixel(first + x)) for x in range(LANES)]
            for k, vector in enumerate(transposed(writer, given)[:used]):
                writer.to.buffer_store(d, vector, [i, c * LANES + k, y, writer.lanes(first)])

        _by_fill(writer, channels, c, turn)


def _tiles(pixels: int) -> tuple[int]:
    return (max(1, -(-pixels // LANES)),)


def _tile_start(writer: Writer, tile: Any, pixels: int) -> tuple[Any, int]:
    """First pixel and length of a tile. The last one lies at the end, over pixels that the one before it has moved too."""
    if pixels < LANES:
        return writer.long(0), pixels
    return (writer.tirx.min(tile * LANES, writer.long(pixels - LANES)) if pixels % LANES else tile * LANES), LANES


def _by_fill(writer: Writer, channels: int, block: Any, move: Any) -> None:
    """`move(used)` for blocks of LANES used lanes, and for the last one, that may have fewer."""
    full, left = divmod(channels, LANES)
    if not left:
        move(LANES)
    elif not full:
        move(left)
    else:
        writer.branch(block < full, lambda: move(LANES), lambda: move(left))


def transposed(writer: Writer, vectors: Sequence[Any]) -> list[Any]:
    """Lane j of vector i as lane i of vector j."""
    turned = list(vectors)
    for half in (1, 2, 4, 8):
        upper = [lane if not lane & half else lane - half + LANES for lane in range(LANES)]
        lower = [lane + half if not lane & half else lane + LANES for lane in range(LANES)]
        for i in range(LANES):
            if not i & half:
                pair = turned[i], turned[i + half]
                turned[i], turned[i + half] = writer.blend(pair, upper), writer.blend(pair, lower)
    return turned


@kind("slice blocks")
def slice_blocks(batch: Batch, channels: int, rows: int, cols: int, start: int, stop: int) -> Any:
    """(A, D): channels from `start`, a whole number of blocks, up to `stop`. Lanes beyond become 0."""
    assert start % LANES == 0, f"a slice from channel {start} does not start a block"
    count = blocks(stop - start)

    def body(writer: Writer, a: Any, d: Any) -> None:
        with writer.each(batch, count, rows, work=2 * count * rows * cols * LANES) as (i, c, y), writer.loop(cols) as x:

            def move(used: int) -> None:
                given = writer.load(a, i, c + start // LANES, y, x)
                lanes = [lane if lane < used else LANES + lane for lane in range(LANES)]
                writer.store(d, given if used == LANES else writer.blend([given, writer.spread(0.0)], lanes), i, c, y, x)

            _by_fill(writer, stop - start, c, move)

    return prim_func([blocked("A", batch, channels, rows, cols), blocked("D", batch, stop - start, rows, cols)], body)


@kind("pad channels")
def pad_channels(batch: Batch, channels: int, rows: int, cols: int, before: int, made: int) -> Any:
    """(A, D): the channels of A from `before`, a whole number of blocks, on, and zeros for the others of those that are `made`."""
    assert before % LANES == 0, f"channels from {before} on do not start a block"
    first, last = before // LANES, before // LANES + blocks(channels)

    def body(writer: Writer, a: Any, d: Any) -> None:
        with writer.each(batch, blocks(made), rows, work=2 * blocks(made) * rows * cols * LANES) as (i, c, y):

            def copy(used: int) -> None:
                with writer.loop(cols) as x:
                    lanes = [lane if lane < used else LANES for lane in range(LANES)]
                    writer.store(d, writer.blend([writer.load(a, i, c - first, y, x), writer.spread(0.0)], lanes), i, c, y, x)

            def clear() -> None:
                with writer.loop(cols) as x:
                    writer.store(d, writer.spread(0.0), i, c, y, x)

            inside = writer.tirx.And(c >= first, c < last)
            writer.branch(inside, lambda: _by_fill(writer, channels, c - first, copy), clear)

    return prim_func([blocked("A", batch, channels, rows, cols), blocked("D", batch, made, rows, cols)], body)


@kind("pixels apart")
def pixels_apart(batch: Batch, channels: int, rows: int, cols: int, steps: Pair) -> Any:
    """(A, D): each pixel is the first of a cell of so many rows and columns, and all others are 0."""
    made = math.prod((blocks(channels), rows, cols, LANES, *steps))

    def body(writer: Writer, a: Any, d: Any) -> None:
        with writer.each(batch, blocks(channels), rows, work=made) as (i, c, y), writer.loop(cols) as x:
            for row, col in itertools.product(*map(range, steps)):
                value = writer.spread(0.0) if row or col else writer.load(a, i, c, y, x)
                writer.store(d, value, i, c, y * steps[0] + row, x * steps[1] + col)

    results = blocked("D", batch, channels, rows * steps[0], cols * steps[1])
    return prim_func([blocked("A", batch, channels, rows, cols), results], body)


@kind("concat")
def concat(batch: Batch, channels: tuple[int, ...], rows: int, cols: int) -> Any:
    """(A0, A1, ..., D): the operands' channels one after the other; `channels` says how many each has."""
    operands = [blocked(f"A{i}", batch, c, rows, cols) for i, c in enumerate(channels)]
    is_whole = all(c % LANES == 0 for c in channels[:-1])

    def body(writer: Writer, *buffers: Any) -> None:
        *given, d = buffers
        if is_whole:
            _copied_blocks(writer, batch, channels, rows, cols, given, d)
        else:
            _joined_lanes(writer, batch, _places(channels), rows, cols, given, d)

    return prim_func([*operands, blocked("D", batch, sum(channels), rows, cols)], body)


@kind("pick channels")
def pick(batch: Batch, channels: tuple[int, ...], chosen: tuple[int, ...], rows: int, cols: int) -> Any:
    """(A0, A1, ..., D): of the operands' channels, counted through all, the chosen ones in this order."""
    operands = [blocked(f"A{i}", batch, c, rows, cols) for i, c in enumerate(channels)]
    places = _places(channels)

    def body(writer: Writer, *buffers: Any) -> None:
        *given, d = buffers
        _joined_lanes(writer, batch, [places[channel] for channel in chosen], rows, cols, given, d)

    return prim_func([*operands, blocked("D", batch, len(chosen), rows, cols)], body)


def _places(channels: tuple[int, ...]) -> list[LanePlace]:
    return [(k, c // LANES, c % LANES) for k, count in enumerate(channels) for c in range(count)]


def _copied_blocks(writer: Writer, batch: Batch, channels: tuple[int, ...], rows: int, cols: int, given: Sequence[Any], d: Any) -> None:
    """Every block of the result is one of an operand."""
    starts = list(itertools.accumulate((blocks(c) for c in channels), initial=0))
    work = 2 * starts[-1] * rows * cols * LANES
    with writer.each(batch, starts[-1], rows, work=work) as (i, c, y):

        def copy_from(first: int, last: int) -> None:
            """One of these operands has the block; by halves, as statements nest no deeper than the compiler's stack."""
            if last - first == 1:
                row(first)
                return
            middle = (first + last) // 2
            writer.branch(c < starts[middle], lambda: copy_from(first, middle), lambda: copy_from(middle, last))

        def row(k: int) -> None:
            with writer.loop(cols) as x:
                writer.store(d, writer.load(given[k], i, c - starts[k], y, x), i, c, y, x)

        copy_from(0, len(given))


def _joined_lanes(writer: Writer, batch: Batch, sources: Sequence[LanePlace], rows: int, cols: int, given: Sequence[Any], d: Any) -> None:
    """Blocks of the result take lanes of several blocks; which, is known here."""
    work = 2 * math.prod((blocks(len(sources)), rows, cols, LANES))
    with writer.each(batch, rows, work=work) as (i, y):
        for first in range(0, len(sources), LANES):
            lanes = list(sources[first : first + LANES])
            lanes += lanes[-1:] * (LANES - len(lanes))  # any finite number will do
            with writer.loop(cols) as x:
                vector: Any = None
                for k, block in dict.fromkeys((k, block) for k, block, _ in lanes):
                    other = writer.load(given[k], i, block, y, x)
                    places = [LANES + lane if (k, block) == (of, at) else j for j, (of, at, lane) in enumerate(lanes)]
                    vector = writer.blend([other if vector is None else vector, other], places)
                writer.store(d, vector, i, first // LANES, y, x)
