"""Sliding windows over blocked tensors, for kernels in which a channel meets only itself: pools and depthwise convolution.

A result row is cut into tiles of columns whose values stay in registers. Which taps of a column lie in the image is known when the kernel
is written, so padding costs nothing: tiles at the edges just have fewer of them. Which rows do is found once a row.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .....ir.ops.window import Pads, Pair, dilated, window_count
from ...processor import Processor
from .layout import LANES, Batch, blocks
from .writer import Writer

__all__ = ["UNROLLED", "WIDEST", "Column", "Sum", "TileRun", "Window", "slide", "slide_row", "tap_rows"]

WIDEST = 14  # columns of a tile, at most
UNROLLED = 32  # taps of a window along a row, at most; 200 of them took LLVM 9 seconds, and a loop is as fast


@dataclass(frozen=True, slots=True)
class Window:
    """A window's way over an image of `rows` by `cols`."""

    rows: int
    cols: int
    kernel: Pair
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    ceil_mode: bool = False

    @property
    def out(self) -> Pair:
        """Rows and columns of the result."""
        counts: list[int] = []
        for axis, size in enumerate((self.rows, self.cols)):
            extent = dilated(self.kernel[axis], self.dilations[axis])
            count = window_count(size, extent, self.strides[axis], self.pads[axis], self.pads[axis + 2], ceil=self.ceil_mode)
            assert isinstance(count, int)
            counts.append(count)
        return counts[0], counts[1]

    def taps(self, axis: int, place: int) -> tuple[int, ...]:
        """Taps of the window at a place along an axis that lie in the image."""
        size = (self.rows, self.cols)[axis]
        first = place * self.strides[axis] - self.pads[axis]
        return tuple(tap for tap in range(self.kernel[axis]) if 0 <= first + tap * self.dilations[axis] < size)

    def padded_taps(self, axis: int, place: int) -> int:
        """How many of them lie in the image or its pads: all but those that ceil_mode adds behind."""
        size = (self.rows, self.cols)[axis] + self.pads[axis + 2]
        first = place * self.strides[axis] - self.pads[axis]
        return min(self.kernel[axis], (size - 1 - first) // self.dilations[axis] + 1)

    def runs(self, widest: int) -> list[TileRun]:
        """The columns of a result row, in order, in tiles of at most `widest`."""
        count = self.out[1]
        width = -(-count // -(-count // widest))
        columns = [Column(self.taps(1, col), self.padded_taps(1, col)) for col in range(count)]
        tiles = [tuple(columns[first : first + width]) for first in range(0, count, width)]
        runs: list[TileRun] = []
        for tile, group in itertools.groupby(tiles):
            runs.append(TileRun(runs[-1].stop if runs else 0, len(list(group)), tile))
        return runs


@dataclass(frozen=True, slots=True)
class Column:
    """A window's taps along a row: those in the image, and the number in the image and its pads."""

    taps: tuple[int, ...]
    padded: int


@dataclass(frozen=True, slots=True)
class TileRun:
    """`tiles` tiles of the same columns, from column `first` of the result on."""

    first: int
    tiles: int
    columns: tuple[Column, ...]

    @property
    def stop(self) -> int:
        return self.first + self.tiles * len(self.columns)


@dataclass(frozen=True, slots=True)
class Sum:
    """What a window adds up to: every result is `start(block)`, then `take(result, element, weight(block, k_row, k_col))` for each tap.

    `finish(result, (image, block, row, column), its column)` stores it.
    """

    start: Callable[[Any], Any]
    weight: Callable[[Any, Any, int], Any]
    take: Callable[[Any, Any, Any], Any]
    finish: Callable[[Any, tuple[Any, ...], Column], None]


def slide(writer: Writer, batch: Batch, channels: int, window: Window, a: Any, total: Sum, processor: Processor) -> None:
    """The results of all windows of `a`."""
    rows, cols = window.out
    work = blocks(channels) * LANES * (window.rows * window.cols + rows * cols * max(1, math.prod(window.kernel) // 4))
    with writer.each(batch, blocks(channels), rows, work=work) as at:
        slide_row(writer, window, a, at, total, processor)


def slide_row(writer: Writer, window: Window, a: Any, at: Sequence[Any], total: Sum, processor: Processor) -> None:
    """The results of one row, `at` an image, block and row. They take half of the registers at most; the rest is for what is read."""
    i, c, y = at
    for run in window.runs(min(WIDEST, processor.floats // (2 * LANES))):
        width = len(run.columns)
        with writer.loop(run.tiles) as tile:
            left = tile * width + run.first
            results = writer.registers(width)
            first = total.start(c)
            for j in range(width):
                writer.store(results, first, j)
            above, below = tap_rows(writer, window, y)
            with writer.loop(below, above) as k_row:
                row = y * window.strides[0] + (k_row * window.dilations[0] - window.pads[0])
                _columns(writer, window, run, (a, i, c, row, left), results, functools.partial(total.weight, c, k_row), total.take)
            for j, column in enumerate(run.columns):
                total.finish(writer.load(results, j), (i, c, y, left + j), column)


def tap_rows(writer: Writer, window: Window, y: Any) -> tuple[Any, Any]:
    """First and end of the taps whose row lies in the image, for a row of the result."""
    (size, _), (step, _), top = window.kernel, window.dilations, window.pads[0]
    first, end = writer.long(0), writer.long(size)
    if any(0 not in window.taps(0, place) for place in range(window.out[0])):
        first = writer.tirx.max(writer.tirx.floordiv(top + step - 1 - y * window.strides[0], writer.long(step)), first)
    if any(size - 1 not in window.taps(0, place) for place in range(window.out[0])):
        end = writer.tirx.min(writer.tirx.floordiv(window.rows - 1 + top - y * window.strides[0], writer.long(step)) + 1, end)
    return first, end


def _columns(writer: Writer, window: Window, run: TileRun, at: tuple[Any, ...], results: Any, weight: Any, take: Any) -> None:
    """One row of taps for a tile. An element is read once for all the windows that it lies in, where these are of few taps."""
    a, i, c, row, left = at
    if window.kernel[1] > UNROLLED:
        _columns_in_loops(writer, window, run, at, results, weight, take)
        return
    start = writer.keep(left * window.strides[1] - window.pads[1])
    read: dict[int, Any] = {}
    for tap in range(window.kernel[1]):
        factor = weight(tap)
        for j, column in enumerate(run.columns):
            if tap in column.taps:
                place = j * window.strides[1] + tap * window.dilations[1]
                if place not in read:
                    read[place] = writer.load(a, i, c, row, start + place)
                writer.store(results, take(results[(j, writer.lanes())], read[place], factor), j)


def _columns_in_loops(writer: Writer, window: Window, run: TileRun, at: tuple[Any, ...], results: Any, weight: Any, take: Any) -> None:
    """The same sums in the same order: a loop over the taps of the columns that have the same."""
    a, i, c, row, left = at
    start = writer.keep(left * window.strides[1] - window.pads[1])
    for taps, columns in itertools.groupby(range(len(run.columns)), lambda j: run.columns[j].taps):
        with writer.loop(taps[-1] + 1 if taps else 0, taps[0] if taps else 0) as tap:
            factor = weight(tap)
            for j in columns:
                read = writer.load(a, i, c, row, start + j * window.strides[1] + tap * window.dilations[1])
                writer.store(results, take(results[(j, writer.lanes())], read, factor), j)
