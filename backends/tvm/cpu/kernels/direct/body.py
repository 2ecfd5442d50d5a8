"""The statements of a direct convolution: a register tile of output columns by vectors of 16 channels.

The sum runs over input blocks, taps and lanes in turn; the tile's sums stay in registers until it is done. No padded copy is made: which
taps of a column lie in the image is known when the kernel is written, which rows do is found once a row.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..epilogue import apply
from ..layout import LANES
from ..windows import TileRun, tap_rows
from ..writer import Writer, request
from .size import HALF, MACS, Direct

__all__ = ["Body"]

WRITTEN_OUT = 3  # taps of a row, whose loads are then shared; of more, the code grows beyond the registers


@dataclass(frozen=True, slots=True)
class _Tile:
    """A register tile: an image, the first input and output block, a row and its first column, and a vector of `sums` for each
    output block and column; of the last block one of half the lanes, if it `ends_in_half`. `line` is the row it reads, where something was
    computed before.
    """

    line: Any
    image: Any
    block_in: Any
    block_out: Any
    row: Any
    col: Any
    sums: list[Any]
    ends_in_half: bool

    def lanes(self, q: int) -> int:
        """Of the sums of its q-th block."""
        return HALF if self.ends_in_half and q == len(self.sums) - 1 else LANES


@dataclass(frozen=True, slots=True)
class Body:
    """Writes the statements. `before` are gain and shift or nothing, `read` what steps read besides.

    `b`, `read` and `d` may be views: a convolution of several that share the weights' memory, and a lattice of the result's pixels.
    """

    writer: Writer
    size: Direct
    a: Any
    before: tuple[Any, ...]
    b: Any
    bias: Any
    read: list[Any]
    d: Any

    def write(self) -> None:
        size, writer = self.size, self.writer
        rows = size.out[0]
        work = max(size.macs // MACS, math.prod(size.weights))  # of few pixels the weights' way from memory takes longer than the sums
        if size.is_rowwise:
            with writer.each(size.batch, rows, work=work) as (i, y):
                line = self.line(i, y)
                for first, tiles, deep in size.depths():
                    with writer.loop(size.groups * tiles) as t:
                        self.row(line, i, t, y, first, tiles, deep)
        elif size.is_halved or size.ends_in_half:
            self.tiles_at_once(work)
        else:
            for first, tiles, deep in size.depths():
                with writer.each(size.batch, size.groups * tiles, rows, work=work) as (i, t, y):
                    self.row(self.line(i, y), i, t, y, first, tiles, deep)

    def tiles_at_once(self, work: int) -> None:
        """All tiles of the one group, of which the last may differ, in one loop that is divided among the threads."""
        size, writer, parts = self.size, self.writer, self.size.depths()
        count = sum(tiles for _, tiles, _ in parts)
        with writer.each(size.batch, size.out[0] // self.rows, count, self.rows, work=work) as (i, part, t, row):
            y = writer.keep(part * self.rows + row)
            line = self.line(i, y)
            last = functools.partial(self.row, line, i, writer.long(0), y, *parts[-1])
            if len(parts) == 1:
                last()
            else:
                writer.branch(t < count - 1, functools.partial(self.row, line, i, t, y, *parts[0]), last)

    @property
    def rows(self) -> int:
        """That follow each other for the same channels."""
        return self.size.out[0] // 2 if self.size.is_halved else self.size.out[0]

    def line(self, i: Any, y: Any) -> Any:
        """Row `y` of the input, [CIB,W,16], after what is before; None where there is nothing."""
        if self.size.before is None:
            return None
        writer, (gain, shift), cols = self.writer, self.before, self.size.window.cols
        line = writer.to.alloc_buffer((self.size.blocks_in, cols, LANES), scope="global")
        with writer.loop(self.size.blocks_in) as c:
            factor, term = writer.load(gain, c), writer.load(shift, c)
            with writer.loop(cols) as x:
                value = writer.load(self.a, i, c, y, x) * factor + term
                writer.store(line, apply(writer.vectors, self.size.before, value, []), c, x)
        return line

    def row(self, line: Any, i: Any, t: Any, y: Any, first: int, tiles: int, deep: int) -> None:
        """A row of the result for `deep` blocks: the t-th of those from `first` on, counted through all groups."""
        writer, (per_in, per_out) = self.writer, self.size.per_group
        group = t // tiles
        for run in self.size.window.runs(self.size.widest(deep)):
            with writer.loop(run.tiles) as number:
                sums = [writer.registers(len(run.columns)) for _ in range(deep)]
                col = writer.keep(number * len(run.columns) + run.first)
                is_last = self.size.ends_in_half and tiles == 1 and first + deep == per_out
                tile = _Tile(line, i, group * per_in, group * per_out + first + t % tiles * deep, y, col, sums, is_last)
                self.product(tile, run)
                self.finish(tile, len(run.columns))

    def product(self, tile: _Tile, run: TileRun) -> None:
        writer = self.writer
        for q, block in enumerate(tile.sums):
            for j in range(len(run.columns)):
                writer.store(block, writer.spread(0.0, tile.lanes(q)), j, lanes=tile.lanes(q))
        above, below = tap_rows(writer, self.size.window, tile.row)
        for first, end, lanes in self.size.parts:
            with writer.loop(end, first) as c, writer.loop(below, above) as k_row:
                if run.first == 0 and not self.size.is_rowwise:
                    self.ask(tile, c, k_row)
                self.taps(tile, run, (c, lanes), k_row)

    def ask(self, tile: _Tile, c: Any, k_row: Any) -> None:
        """Requests for a share of the next blocks' weights, so that they have come from memory when their first row needs them.

        A fifth of the time for 2048 channels @7. Requests past the last block do nothing.
        """
        writer, size = self.writer, self.size
        per_in, (k_rows, k_cols), rows = size.per_group[0], size.window.kernel, self.rows
        shape = [writer.long(math.prod(size.weights[:-1])), writer.long(LANES)]
        lines = writer.to.decl_buffer(shape, "float32", data=self.b.data, elem_offset=self.b.elem_offset)
        share = -(-len(tile.sums) * k_cols * LANES // rows)
        row = tile.row if rows == size.out[0] else tile.row % rows
        first = (tile.block_out + len(tile.sums)) * (per_in * k_rows * k_cols * LANES) + ((row * per_in + c) * k_rows + k_row) * share
        for i in range(share):
            writer.to.evaluate(request(writer.tirx, lines[first + i, 0]))

    def taps(self, tile: _Tile, run: TileRun, block: tuple[Any, int], k_row: Any) -> None:
        """A row of taps on an input block of so many channels: a loop where it is long and all columns have all of them."""
        count = self.size.window.kernel[1]
        if count > WRITTEN_OUT and all(len(column.taps) == count for column in run.columns):
            with self.writer.loop(count) as k_col:
                self.tap(tile, range(len(run.columns)), block, k_row, k_col)
            return
        for k_col in range(count):
            columns = [j for j, column in enumerate(run.columns) if k_col in column.taps]
            if columns:
                self.tap(tile, columns, block, k_row, k_col)

    def tap(self, tile: _Tile, columns: Sequence[int], block: tuple[Any, int], k_row: Any, k_col: Any) -> None:
        c, lanes = block
        if self.size.is_image:
            self.take(tile, columns, (0, k_row, k_col, c))
            return
        with self.writer.loop(lanes) as lane:
            self.take(tile, columns, (c, k_row, k_col, lane))

    def take(self, tile: _Tile, columns: Sequence[int], tap: tuple[Any, Any, Any, Any]) -> None:
        """One input channel's share of one tap in the sums of these columns: a load for each column, and one for each block."""
        writer, window = self.writer, self.size.window
        block, k_row, k_col, lane = tap
        row = tile.row * window.strides[0] + (k_row * window.dilations[0] - window.pads[0])
        factors = [writer.load(self.b, tile.block_out + q, *tap, lanes=tile.lanes(q)) for q in range(len(tile.sums))]
        for j in columns:
            col = tile.col * window.strides[1] + (j * window.strides[1] + k_col * window.dilations[1] - window.pads[1])
            pixel = writer.keep(writer.spread(self.pixel(tile, block, row, col, lane)))
            for q, (sums, factor) in enumerate(zip(tile.sums, factors, strict=True)):
                lanes = tile.lanes(q)
                part = pixel if lanes == LANES else writer.blend([pixel], range(lanes))
                writer.store(sums, sums[(j, writer.lanes(0, lanes))] + part * factor, j, lanes=lanes)

    def pixel(self, tile: _Tile, block: Any, row: Any, col: Any, lane: Any) -> Any:
        if tile.line is not None:
            return tile.line[block, col, lane]
        return self.a[tile.image, lane, row, col] if self.size.is_image else self.a[tile.image, tile.block_in + block, row, col, lane]

    def finish(self, tile: _Tile, width: int) -> None:
        """Bias, steps and store. Two columns of a half share a vector, where steps read nothing besides: a tanh takes a while."""
        writer, steps = self.writer, self.size.steps
        for q, sums in enumerate(tile.sums):
            bias = writer.load(self.bias, tile.block_out + q)
            of_two = writer.blend([bias], [*range(HALF)] * 2) if tile.lanes(q) < LANES and not self.read and steps else None
            step = 1 if of_two is None else 2
            for j in range(0, width, step):
                columns = range(j, min(j + step, width))
                totals = [writer.load(sums, column, lanes=tile.lanes(q)) for column in columns]
                if tile.lanes(q) < LANES:
                    totals = [writer.blend([*totals, writer.spread(0.0, HALF)][:2], range(LANES))]
                places = [(tile.image, tile.block_out + q, tile.row, tile.col + column) for column in columns]
                values = [writer.load(other, *places[0]) for other in self.read]
                value = apply(writer.vectors, steps, writer.keep(totals[0] + (bias if len(columns) == 1 else of_two)), values)
                self.store(writer.settle(value) if len(places) > 1 else value, places)

    def store(self, value: Any, places: Sequence[tuple[Any, ...]]) -> None:
        """A vector at its place, or each of its halves at one."""
        if len(places) == 1:
            self.writer.store(self.d, value, *places[0])
            return
        for half, place in enumerate(places):
            first = half * HALF
            lanes = [first + lane if lane < HALF else LANES for lane in range(LANES)]
            self.writer.store(self.d, self.writer.blend([value, self.writer.spread(0.0)], lanes), *place)
