"""Direct convolution on blocked tensors: a register tile of output columns by vectors of 16 channels, no tuner.

A[CIB,n,H,W,16] B[COB,CIG,KH,KW,16,16] bias[COB,16] R...[COB,n,OH,OW,16] -> D[COB,n,OH,OW,16], where CIG are the input blocks
of a group. A first layer reads an image of few channels as it is, [n,C,H,W], and its weights are [COB,1,KH,KW,C,16]. The sum
runs over input blocks, taps and lanes in turn; the tile's sums stay in registers until it is done. No padded copy is made: which taps of
a column lie in the image is known when the kernel is written, which rows do is found once a row.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.ops.window import Pair
from ....ir.types import Array
from ..processor import AVX512, Processor
from .epilogue import Step, apply, read_names
from .kernel import KEPT, LANES, Batch, Operand, Writer, blocked, blocks, kernel, request
from .windows import Run, Window, tap_rows

__all__ = ["CACHE", "MACS", "ROWS", "WIDEST", "Body", "Direct", "Form", "direct", "pack", "pack_bias"]

# Columns of a register tile by its blocks of channels, at most: they must fit the registers. Their product is what hides latency, 10 being
# enough; each column costs one load for all its blocks, so two are better than one, and with four there are no registers left for what is
# loaded.
WIDEST = {1: 14, 2: 10, 3: 8}
CACHE = 3 << 19  # bytes that stay in a core's own cache
MACS = 8  # that take as long as to move an element
WRITTEN_OUT = 3  # taps of a row, whose loads are then shared; of more, the code grows beyond the registers
ROWS = 14  # from which threads have about as many as one another


@dataclass(frozen=True, slots=True)
class Form:
    """Another order than the rules of `Direct` choose: columns and blocks of a register tile, and whether it goes row by row."""

    width: int
    blocks: int
    is_rowwise: bool


@dataclass(frozen=True, slots=True)
class Direct:
    """One convolution's sizes. `lanes_in` is the input's block, 16 or, for a first layer, its few channels.

    With `before`, the input is first scaled and shifted, a constant a channel each, and then goes through these steps: a batch norm that
    could not go into the layer before. Only for a kernel of one tap. `form` was found by tuning; without, the tile fits the registers of
    `processor`.
    """

    batch: Batch
    blocks_in: int
    lanes_in: int
    window: Window
    blocks_out: int
    groups: int
    steps: tuple[Step, ...]
    before: tuple[Step, ...] | None = None
    form: Form | None = None
    processor: Processor = AVX512

    @property
    def out(self) -> Pair:
        """Rows and columns of the result."""
        return self.window.out

    @property
    def is_image(self) -> bool:
        return self.lanes_in < LANES

    @property
    def per_group(self) -> Pair:
        """Input and output blocks of a group."""
        return self.blocks_in // self.groups, self.blocks_out // self.groups

    @property
    def weights(self) -> tuple[int, ...]:
        return self.blocks_out, self.per_group[0], *self.window.kernel, self.lanes_in, LANES

    @property
    def macs(self) -> int:
        """Multiply-adds for an image, lanes of padding included."""
        return math.prod(self.weights) * math.prod(self.out)

    def depths(self) -> list[tuple[int, int, int]]:
        """(first block, tiles, blocks of each) of a group's output: pairs, and where their number is odd three at the end.

        One at a time where a block takes several registers: a pair leaves room for few columns, and takes a tenth longer on AVX2.
        """
        count = self.per_group[1]
        if self.form is not None:
            tiles, left = divmod(count, self.form.blocks)
            return [(0, tiles, self.form.blocks), *([(count - left, 1, left)] if left else [])]
        if self.processor.lanes < LANES:
            return [(0, count, 1)]
        if count < 3 or count % 2 == 0:
            return [(0, count // min(count, 2), min(count, 2))]
        return [(0, (count - 3) // 2, 2), (count - 3, 1, 3)] if count > 3 else [(0, 1, 3)]

    def widest(self, deep: int) -> int:
        """Columns of a register tile of so many blocks, at most."""
        return self.form.width if self.form is not None else min(WIDEST[deep], self.processor.sums(deep * LANES))

    @property
    def is_rowwise(self) -> bool:
        """Whether a thread computes all channels of a row before the next: the input is read once, the weights once a row.

        Otherwise all rows of a few channels: the weights are read once, and while they are used the next are asked for; the input is read
        for each few channels, and what is before the layer computed. That is as fast or faster, unless the weights stay in the cache and
        an image does not.
        """
        if self.form is not None:
            return self.form.is_rowwise
        image = 4 * self.blocks_in * self.lanes_in * self.window.rows * self.window.cols
        return 4 * math.prod(self.weights) <= CACHE and self.out[0] >= ROWS and (self.before is not None or image > CACHE)


def pack(w: Array, lanes_in: int, groups: int) -> Array:
    """[O,C/groups,KH,KW] as [COB,CIG,KH,KW,lanes_in,16] with zeros for lanes of padding.

    Groups are whole blocks here; narrower ones are widened first, by zeros between them.
    """
    c_out, c_in, *taps = w.shape
    per_out = c_out // groups
    blocks_in = -(-c_in // lanes_in)
    padded = np.zeros((groups, blocks(per_out) * LANES, blocks_in * lanes_in, *taps), np.float32)
    padded[:, :per_out, :c_in] = w.reshape(groups, per_out, c_in, *taps)
    split = padded.reshape(groups * blocks(per_out), LANES, blocks_in, lanes_in, *taps)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 5, 3, 1))


def pack_bias(b: Array | None, c_out: int) -> Array:
    """[O] as [COB,16]."""
    packed = np.zeros(blocks(c_out) * LANES, np.float32)
    if b is not None:
        packed[:c_out] = b
    return packed.reshape(-1, LANES)


@functools.lru_cache(KEPT)
def direct(size: Direct) -> Any:
    """(A, [gain[CIB,16], shift[CIB,16],] B, bias, R..., D), the two where there is something before."""
    window = size.window
    image = Operand("A", (size.batch, size.lanes_in, window.rows, window.cols))
    given = image if size.is_image else blocked("A", size.batch, size.blocks_in * LANES, window.rows, window.cols)
    results = [blocked(name, size.batch, size.blocks_out * LANES, *size.out) for name in (*read_names(size.steps), "D")]
    norm = [] if size.before is None else [Operand(name, (size.blocks_in, LANES)) for name in ("gain", "shift")]
    weights = [Operand("B", size.weights), Operand("bias", (size.blocks_out, LANES))]

    def body(writer: Writer, a: Any, *rest: Any) -> None:
        before, (b, bias, *read, d) = rest[: len(norm)], rest[len(norm) :]
        Body(writer, size, a, before, b, bias, read, d).write()

    return kernel([given, *norm, *weights, *results], body)


@dataclass(frozen=True, slots=True)
class _Tile:
    """A register tile: an image, the first input and output block, a row and its first column, and a vector of `sums` for each
    output block and column. `line` is the row it reads, where something was computed before.
    """

    line: Any
    image: Any
    block_in: Any
    block_out: Any
    row: Any
    col: Any
    sums: list[Any]


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
        rows, work = size.out[0], size.macs // MACS
        if size.is_rowwise:
            with writer.each(size.batch, rows, work=work) as (i, y):
                line = self.line(i, y)
                for first, tiles, deep in size.depths():
                    with writer.loop(size.groups * tiles) as t:
                        self.row(line, i, t, y, first, tiles, deep)
        else:
            for first, tiles, deep in size.depths():
                with writer.each(size.batch, size.groups * tiles, rows, work=work) as (i, t, y):
                    self.row(self.line(i, y), i, t, y, first, tiles, deep)

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
                tile = _Tile(line, i, group * per_in, group * per_out + first + t % tiles * deep, y, col, sums)
                self.product(tile, run)
                self.finish(tile, len(run.columns))

    def product(self, tile: _Tile, run: Run) -> None:
        writer = self.writer
        for block in tile.sums:
            for j in range(len(run.columns)):
                writer.store(block, writer.spread(0.0), j)
        above, below = tap_rows(writer, self.size.window, tile.row)
        channels = self.size.lanes_in if self.size.is_image else self.size.per_group[0]
        with writer.loop(channels) as c, writer.loop(below, above) as k_row:
            if run.first == 0 and not self.size.is_rowwise:
                self.ask(tile, c, k_row)
            self.taps(tile, run, c, k_row)

    def ask(self, tile: _Tile, c: Any, k_row: Any) -> None:
        """Requests for a share of the next blocks' weights, so that they have come from memory when their first row needs them.

        A fifth of the time for 2048 channels @7. Requests past the last block do nothing.
        """
        writer, size = self.writer, self.size
        per_in, (k_rows, k_cols), rows = size.per_group[0], size.window.kernel, size.out[0]
        shape = [writer.long(math.prod(size.weights[:-1])), writer.long(LANES)]
        lines = writer.to.decl_buffer(shape, "float32", data=self.b.data, elem_offset=self.b.elem_offset)
        share = -(-len(tile.sums) * k_cols * LANES // rows)
        first = (tile.block_out + len(tile.sums)) * (per_in * k_rows * k_cols * LANES) + ((tile.row * per_in + c) * k_rows + k_row) * share
        for i in range(share):
            writer.to.evaluate(request(writer.tirx, lines[first + i, 0]))

    def taps(self, tile: _Tile, run: Run, c: Any, k_row: Any) -> None:
        """A row of taps: a loop where it is long and all columns have all of them."""
        count = self.size.window.kernel[1]
        if count > WRITTEN_OUT and all(len(column.taps) == count for column in run.columns):
            with self.writer.loop(count) as k_col:
                self.tap(tile, range(len(run.columns)), c, k_row, k_col)
            return
        for k_col in range(count):
            columns = [j for j, column in enumerate(run.columns) if k_col in column.taps]
            if columns:
                self.tap(tile, columns, c, k_row, k_col)

    def tap(self, tile: _Tile, columns: Sequence[int], c: Any, k_row: Any, k_col: Any) -> None:
        if self.size.is_image:
            self.take(tile, columns, (0, k_row, k_col, c))
            return
        with self.writer.loop(LANES) as lane:
            self.take(tile, columns, (c, k_row, k_col, lane))

    def take(self, tile: _Tile, columns: Sequence[int], tap: tuple[Any, Any, Any, Any]) -> None:
        """One input channel's share of one tap in the sums of these columns: a load for each column, and one for each block."""
        writer, window = self.writer, self.size.window
        block, k_row, k_col, lane = tap
        row = tile.row * window.strides[0] + (k_row * window.dilations[0] - window.pads[0])
        factors = [writer.load(self.b, tile.block_out + q, *tap) for q in range(len(tile.sums))]
        for j in columns:
            col = tile.col * window.strides[1] + (j * window.strides[1] + k_col * window.dilations[1] - window.pads[1])
            pixel = writer.keep(writer.spread(self.pixel(tile, block, row, col, lane)))
            for sums, factor in zip(tile.sums, factors, strict=True):
                writer.store(sums, sums[(j, writer.lanes())] + pixel * factor, j)

    def pixel(self, tile: _Tile, block: Any, row: Any, col: Any, lane: Any) -> Any:
        if tile.line is not None:
            return tile.line[block, col, lane]
        return self.a[tile.image, lane, row, col] if self.size.is_image else self.a[tile.image, tile.block_in + block, row, col, lane]

    def finish(self, tile: _Tile, width: int) -> None:
        """Bias, steps and store."""
        writer = self.writer
        for q, sums in enumerate(tile.sums):
            for j in range(width):
                place = (tile.image, tile.block_out + q, tile.row, tile.col + j)
                value = writer.keep(writer.load(sums, j) + writer.load(self.bias, tile.block_out + q))
                values = [writer.load(other, *place) for other in self.read]
                writer.store(self.d, apply(writer.vectors, self.size.steps, value, values), *place)
