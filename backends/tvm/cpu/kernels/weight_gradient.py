"""Gradient of a convolution by its weights on blocked tensors: what each tap saw, times what its results add to a loss.

A[CB,n,H,W,16] G[OB,n,H',W',16] -> D[O,C,KH,KW]. An image of few channels is read as it lies, [n,C,H,W]: of A only single pixels are read.

A register tile is some vectors of 16 filters by some channels by the taps of a row. Its sums run over the pixels of a chunk, images or rows
of one that a core's cache keeps, and are then added to those of the chunks before: so a sum of a hundred thousand products rounds as one of
a few hundred. Where there are few tiles the images are divided, too, by sizes alone, so that any number of threads has the same result.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...processor import AVX512, Processor
from .kernel import MOST_SUMS, kind
from .layout import LANES, Batch, blocks
from .windows import UNROLLED, Window
from .writer import Operand, Register, Writer, blocked, prim_func

__all__ = ["WeightGradient", "weight_gradient"]

PIXELS = 256  # of a chunk at least, where there are as many: sums are added up so often
CACHED = 384 << 10  # bytes that a chunk reads for a tile of filters and a block of channels: they are read again for each tap
TASKS = 8  # to divide among threads, at least
SPREAD = 8 << 20  # bytes of sums, at most, before images are divided no more
ENOUGH = 8  # sums at once, so that none waits for itself
HALF = LANES // 2


@dataclass(frozen=True, slots=True)
class WeightGradient:
    """Sizes. With `is_image` the few channels lie as they are given. Groups are of whole blocks, of channels as of filters."""

    batch: Batch
    c_in: int
    c_out: int
    window: Window
    is_image: bool = False
    processor: Processor = AVX512
    groups: int = 1

    @property
    def c_each(self) -> int:
        """Channels of a group."""
        return self.c_in // self.groups

    @property
    def counts(self) -> tuple[int, int]:
        """Blocks of a group's channels and of all filters."""
        return blocks(self.c_each), blocks(self.c_out)

    @property
    def deep(self) -> int:
        """Vectors of filters in a register tile: what is read of A serves two where they are even and registers are as wide."""
        return (
            2
            if self.counts[1] // self.groups % 2 == 0 and self.processor.lanes >= LANES and self.window.kernel[1] <= self._sums // 2
            else 1
        )

    @property
    def taps(self) -> list[range]:
        """Those of a row whose sums are held at once."""
        count, most = self.window.kernel[1], self._sums // self.deep
        parts = -(-count // most)
        return [range(count * i // parts, count * (i + 1) // parts) for i in range(parts)]

    @property
    def lanes(self) -> int:
        """Channels of a register tile: a divisor of a block, or of few channels a part of them, as large as others."""
        most = self._sums // (self.deep * max(map(len, self.taps)))
        if self.is_image:
            return min(self.c_in, most)
        parts = -(-self.c_each // most)
        if (even := -(-self.c_each // parts)) * parts <= LANES:
            return even
        return max(lanes for lanes in (1, 2, 4, 8, 16) if lanes == 1 or (lanes <= most and lanes < 2 * self.c_each))

    @property
    def width(self) -> int:
        """Filters of a vector: half as many where that is all there are, and a register holds no less."""
        return HALF if self.c_out <= HALF and self.processor.lanes == LANES else LANES

    @property
    def apart(self) -> int:
        """Neighbours in a row whose sums are kept apart until the end, where there are few."""
        count = self.deep * self.lanes * max(map(len, self.taps))
        return max(1, min(-(-ENOUGH // count), self._sums // count))

    @property
    def tiles(self) -> int:
        return self.counts[1] // self.deep

    @property
    def parts(self) -> int:
        """Of the images, whose sums are kept apart until the end."""
        wanted = -(-TASKS // (self.tiles * self.counts[0]))
        room = max(1, SPREAD // (4 * math.prod(self.sums)))
        return min(wanted, room, TASKS if self.batch is None else max(1, self.batch))

    @property
    def sums(self) -> tuple[int, ...]:
        """Of one part."""
        return self.counts[1], self.counts[0], *self.window.kernel, LANES, LANES

    @property
    def chunk(self) -> tuple[int, int]:
        """Images, and rows of each."""
        (rows, cols), window = self.window.out, self.window
        row = 4 * (LANES * self.deep * cols + (self.c_in if self.is_image else LANES) * window.cols * window.strides[0])
        if row * rows > CACHED:
            return 1, max(1, min(rows, CACHED // row))
        return max(1, min(PIXELS // (rows * cols), CACHED // (row * rows))), rows

    @property
    def _sums(self) -> int:
        return max(1, min(MOST_SUMS, (self.processor.floats - self.processor.lanes) // LANES - 2))

    @property
    def columns(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """(first, end, taps in the image) of neighbours in a row of results with the same taps."""
        places = itertools.groupby(range(self.window.out[1]), lambda place: self.window.taps(1, place))
        found = [(taps, list(group)) for taps, group in places]
        return [(group[0], group[-1] + 1, taps) for taps, group in found if taps]


@kind("weight gradient")
def weight_gradient(size: WeightGradient) -> Any:
    """(A, G, D). The sum of each is over images, rows and columns."""
    window, (rows, cols) = size.window, size.window.out
    if window.kernel[1] > UNROLLED:
        raise ValueError(f"a window of {window.kernel[1]} columns is too wide to be written out")
    image = Operand("A", (size.batch, size.c_in, window.rows, window.cols))
    given = image if size.is_image else blocked("A", size.batch, size.c_in, window.rows, window.cols)
    made = Operand("D", (size.c_out, size.c_each, *window.kernel))

    def body(writer: Writer, a: Any, g: Any, d: Any) -> None:
        sums = writer.to.alloc_buffer((size.parts, *size.sums), scope="global")
        _Body(writer, size, a, g, sums).write()
        _finish(writer, size, sums, d)

    return prim_func([given, blocked("G", size.batch, size.c_out, rows, cols), made], body)


@dataclass(frozen=True, slots=True)
class _Summed:
    """A part of the images, the first block of filters and the block of channels that a task sums up; `source` is that of all."""

    part: Any
    block_out: Any
    block_in: Any
    source: Any


@dataclass(frozen=True, slots=True)
class _Body:
    writer: Writer
    size: WeightGradient
    a: Any
    g: Any
    sums: Any

    def write(self) -> None:
        writer, size = self.writer, self.size
        (blocks_in, _), (images, rows) = size.counts, size.chunk
        number = writer.batch if size.batch is None else writer.long(size.batch)
        with writer.to.parallel(writer.long(0), writer.long(size.parts * size.tiles * blocks_in)) as task:
            part = writer.keep(task // (size.tiles * blocks_in))
            block_out, block_in = writer.keep(task // blocks_in % size.tiles * size.deep), writer.keep(task % blocks_in)
            source = writer.keep(block_out * size.groups // size.counts[1] * blocks_in + block_in)
            tile = _Summed(part, block_out, block_in, source)
            self.clear(tile)
            first, end = writer.keep(part * number // size.parts), writer.keep((part + 1) * number // size.parts)
            with writer.loop((end - first + (images - 1)) // images) as i, writer.loop(-(-size.window.out[0] // rows)) as r:
                start, row = writer.keep(first + i * images), writer.keep(r * rows)
                stop = (writer.tirx.min(start + images, end), writer.tirx.min(row + rows, writer.long(size.window.out[0])))
                self.chunk(tile, (start, writer.keep(stop[0])), (row, writer.keep(stop[1])))

    def clear(self, tile: _Summed) -> None:
        writer, (k_rows, k_cols) = self.writer, self.size.window.kernel
        for q in range(self.size.deep):
            with writer.loop(k_rows) as k_row, writer.loop(k_cols) as k_col, writer.loop(LANES) as lane:
                writer.store(self.sums, writer.spread(0.0), tile.part, tile.block_out + q, tile.block_in, k_row, k_col, lane)

    def chunk(self, tile: _Summed, images: tuple[Any, Any], rows: tuple[Any, Any]) -> None:
        writer, size = self.writer, self.size
        if size.is_image:
            for first in range(0, size.c_in, size.lanes):
                with writer.loop(size.window.kernel[0]) as k_row:
                    for taps in size.taps:
                        self.tile(tile, images, rows, k_row, taps, writer.long(first), min(size.lanes, size.c_in - first))
            return
        last = size.c_each - (size.counts[0] - 1) * LANES
        whole, end = LANES // size.lanes, -(-last // size.lanes)
        count: Any = (
            whole if end == whole else writer.tirx.Select(tile.block_in == size.counts[0] - 1, writer.long(end), writer.long(whole))
        )
        with writer.loop(count) as c, writer.loop(size.window.kernel[0]) as k_row:
            for taps in size.taps:
                self.tile(tile, images, rows, k_row, taps, c * size.lanes, size.lanes)

    def tile(self, tile: _Summed, images: Any, rows: Any, k_row: Any, taps: range, lane: Any, lanes: int) -> None:
        """These taps of a row and channels from `lane` on, over a chunk."""
        writer, size, window = self.writer, self.size, self.size.window
        sums = [[writer.registers(lanes * len(taps)) for _ in range(size.apart)] for _ in range(size.deep)]
        for each in itertools.chain(*sums):
            for place in range(lanes * len(taps)):
                writer.store(each, writer.spread(0.0, size.width), place, lanes=size.width)
        below, above = self.rows(rows, k_row)
        with writer.loop(images[1], images[0]) as i, writer.loop(above, below) as y:
            row = y * window.strides[0] + (k_row * window.dilations[0] - window.pads[0])
            for first, end, inside in size.columns:
                groups, met = (end - first) // size.apart, [tap for tap in taps if tap in inside]

                def pixels(x: Any, count: int, met: Sequence[int] = met) -> None:
                    for j in range(count):
                        self.pixel(tile, [each[j] for each in sums], taps, met, (i, y, x + j, row), lane, lanes)

                if groups:
                    with writer.loop(groups) as group:
                        pixels(group * size.apart + first, size.apart)
                pixels(writer.long(first + groups * size.apart), (end - first) % size.apart)
        for q, parts in enumerate(sums):
            for tap, channel in itertools.product(range(len(taps)), range(lanes)):
                at = (tile.part, tile.block_out + q, tile.block_in, k_row, taps[tap], lane + channel)
                place = channel * len(taps) + tap
                total = functools.reduce(operator.add, [writer.load(each, place, lanes=size.width) for each in parts])
                writer.store(self.sums, writer.load(self.sums, *at, lanes=size.width) + total, *at, lanes=size.width)

    def pixel(self, tile: _Summed, sums: Sequence[Any], taps: range, inside: Sequence[int], at: Any, lane: Any, lanes: int) -> None:
        writer, window, width, (i, y, x, row) = self.writer, self.size.window, self.size.width, at
        if not inside:
            return
        wanted = [writer.load(self.g, i, tile.block_out + q, y, x, lanes=width) for q in range(self.size.deep)]
        for tap, channel in itertools.product(inside, range(lanes)):
            col = x * window.strides[1] + (tap * window.dilations[1] - window.pads[1])
            had = self.a[i, lane + channel, row, col] if self.size.is_image else self.a[i, tile.source, row, col, lane + channel]
            pixel, place = writer.keep(writer.spread(had, width)), channel * len(taps) + tap - taps[0]
            for each, g in zip(sums, wanted, strict=True):
                writer.store(each, each[(place, writer.lanes(0, width))] + pixel * g, place, lanes=width)

    def rows(self, rows: tuple[Any, Any], k_row: Any) -> tuple[Any, Any]:
        """First and end of the rows of results for which the tap lies in the image."""
        writer, window = self.writer, self.size.window
        tirx, step, before = writer.tirx, window.strides[0], window.pads[0]
        above = before - k_row * window.dilations[0]  # rows over the image in which the tap of the first result lies
        below = writer.keep(tirx.max(rows[0], tirx.floordiv(above + (step - 1), writer.long(step))))
        end = tirx.min(rows[1], tirx.floordiv(above + (window.rows - 1), writer.long(step)) + 1)
        return below, writer.keep(tirx.max(below, end))


def _finish(writer: Writer, size: WeightGradient, sums: Any, d: Any) -> None:
    """The parts' sums together, [OB,CB,KH,KW,16,16] turned to [O,C,KH,KW]."""
    (blocks_in, blocks_out), (k_rows, k_cols) = size.counts, size.window.kernel
    full, left = divmod(size.c_out, LANES)
    work = math.prod(size.sums) * (size.parts + 1)
    with writer.each(1, blocks_out, blocks_in, work=work) as (_, o, c):
        lanes = writer.tirx.min(writer.long(LANES), size.c_each - c * LANES)
        with writer.loop(lanes) as lane, writer.loop(k_rows) as k_row, writer.loop(k_cols) as k_col:
            total = Register(writer)
            total.set(
                writer.pairwise([writer.load(sums, part, o, c, k_row, k_col, lane) for part in range(size.parts)], lambda x, y: x + y)
            )

            def store(used: int) -> None:
                for k in range(used):
                    writer.to.buffer_store(d, total.lane(k), [o * LANES + k, c * LANES + lane, k_row, k_col])

            if left and full:
                writer.branch(o < full, lambda: store(LANES), lambda: store(left))
            else:
                store(left or LANES)
