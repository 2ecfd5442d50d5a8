"""Products of plain rows and weights, [...,I] times [I,O]: what layers of tokens are, and dense layers of many images.

A tile of sums, some rows by some vectors of 16 results, stays in registers while it runs over the inputs. Rows lie as they are, an input
after the other, so each row of a tile is one stream, and the weights of a vector of results another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...processor import AVX512, Processor
from .dense import finish_row
from .epilogue import Steps, read_names
from .kernel import kind
from .layout import LANES, Packing, block_channels, blocks
from .writer import Operand, Writer, prim_func, request

__all__ = ["MACS", "RowProduct", "matrix_product", "row_product", "row_weights"]

MACS = 8  # that take as long as to move an element
CACHE = 5 << 17  # bytes of weights that stay in a core's own cache beside the rows
TILES = 14  # of rows, from which threads have about as many as one another
DEEP = 1024  # inputs whose weights, for a tile's results, stay in that cache while all rows pass
HELD = 1 << 19  # bytes of sums that wait for the next inputs


def row_weights(c_in: int, c_out: int) -> Packing:
    """[I,O] as [OB,I,LANES]."""
    return Packing((blocks(c_out), c_in, LANES), lambda w: block_channels(w.T))


@dataclass(frozen=True, slots=True)
class RowProduct:
    """Rows of the last axis. `given`, `made` and `read` are the shapes of what is read, written and read by the steps, None where a size,
    one and the same, has a name: then there are so many images of rows.
    """

    given: tuple[int | None, ...]
    made: tuple[int | None, ...]
    steps: Steps = ()
    read: tuple[tuple[int | None, ...], ...] = ()
    processor: Processor = AVX512

    @property
    def c_in(self) -> int:
        return self.given[-1] or 0

    @property
    def c_out(self) -> int:
        return self.made[-1] or 0

    @property
    def images(self) -> int | None:
        """None where their number has a name; otherwise all are one."""
        return None if None in self.given else 1

    @property
    def rows(self) -> int:
        """Of an image: they are cut into tiles."""
        return math.prod(extent for extent in self.given[:-1] if extent is not None)

    @property
    def deep(self) -> int:
        """Vectors of a tile: of four each of six rows is read for all, and there are registers for what is loaded."""
        if self.processor.floats < 32 * LANES:
            return 1  # a vector takes several registers, or there are few
        count = blocks(self.c_out)
        return next((deep for deep in (4, 3) if count % deep == 0), min(count, 4))

    @property
    def wide(self) -> int:
        """Rows of a tile."""
        most = self.processor.sums(self.deep * LANES)
        return -(-self.rows // -(-self.rows // most))

    @property
    def is_rowwise(self) -> bool:
        """Whether all results of a tile of rows are computed before the next tile: the weights, which stay in the cache, are read for each.

        Otherwise all rows of a few results, while the weights of the next are asked for.
        """
        return 4 * self.c_in * blocks(self.c_out) * LANES <= CACHE and self.rows >= TILES * self.wide

    @property
    def parts(self) -> list[tuple[int, int]]:
        """Inputs, first and end, that are summed in turn, by all rows."""
        count = -(-self.c_in // DEEP)
        if self.is_rowwise or count < 2 or self.rows * self.deep * LANES * 4 > HELD:
            return [(0, self.c_in)]
        each = -(-self.c_in // count)
        return [(first, min(first + each, self.c_in)) for first in range(0, self.c_in, each)]


@kind("rows")
def row_product(size: RowProduct) -> Any:
    """(A[...,I], W[OB,I,LANES], bias[OB,LANES], R[...,O]..., D[...,O])."""
    weights = [Operand("W", (blocks(size.c_out), size.c_in, LANES)), Operand("bias", (blocks(size.c_out), LANES))]
    results = [Operand(name, shape) for name, shape in zip((*read_names(size.steps), "D"), (*size.read, size.made), strict=True)]

    def body(writer: Writer, a: Any, w: Any, bias: Any, *rest: Any) -> None:
        lines = [_lines(writer, size, buffer, width) for buffer, width in ((a, size.c_in), *((each, size.c_out) for each in rest))]
        _OfRows(writer, size, lines[0], w, bias, lines[1:-1], lines[-1]).write()

    return prim_func([Operand("A", size.given), *weights, *results], body)


@kind("matmul")
def matrix_product(size: RowProduct, count: int) -> Any:
    """(A[...,rows,I], B[...,I,O], R[...,rows,O]..., D): of `count` matrices an image, whose columns are packed where they are needed.

    The rows of `size` are those of one image's matrices.
    """
    rows, made = size.rows // count, [Operand(name, shape) for name, shape in zip(read_names(size.steps), size.read, strict=True)]
    whole, rest = divmod(blocks(size.c_out), size.deep)
    columns = (*size.given[:-2], size.c_in, size.c_out)

    def body(writer: Writer, a: Any, b: Any, *rest_of: Any) -> None:
        given, read, d = _lines(writer, size, a, size.c_in), rest_of[:-1], rest_of[-1]
        right = _lines(writer, size, b, size.c_out, count * size.c_in)
        lines = [_lines(writer, size, each, size.c_out) for each in (*read, d)]
        one = replace(size, given=(rows, size.c_in), made=(rows, size.c_out))

        def column(i: Any, k: Any, first: Any, deep: int) -> None:
            matrix = writer.keep(i * count + k)
            packed = writer.to.alloc_buffer((deep, size.c_in, LANES), scope="global")
            for q in range(deep):
                _pack(writer, right, packed, matrix * size.c_in, first + q, q, (size.c_in, size.c_out))
            of = _OfRows(writer, one, given, packed, None, lines[:-1], lines[-1], first)
            full, left = divmod(rows, one.wide)
            with writer.loop(full) as tile:
                of.tile(matrix * rows + tile * one.wide, one.wide, first, deep)
            if left:
                of.tile(matrix * rows + full * one.wide, left, first, deep)

        work = size.rows * size.c_in * blocks(size.c_out) * LANES // MACS
        with writer.each(size.images, count, whole + (rest > 0), work=work) as (i, k, group):
            first = writer.keep(group * size.deep)
            last = (lambda: column(i, k, first, rest)) if rest else None
            writer.branch(group < whole, lambda: column(i, k, first, size.deep), last)

    return prim_func([Operand("A", size.given), Operand("B", columns), *made, Operand("D", size.made)], body)


def _pack(writer: Writer, right: Any, packed: Any, row: Any, o: Any, q: int, sizes: tuple[int, int]) -> None:
    """A vector of columns from block `o` on; lanes beyond the last one are 0."""
    (c_in, c_out), whole = sizes, sizes[1] // LANES

    def full() -> None:
        with writer.loop(c_in) as k:
            writer.store(packed, writer.keep(right[row + k, writer.lanes(o * LANES)]), q, k)

    def part() -> None:
        with writer.loop(c_in) as k:
            for lane in range(LANES):
                value = right[row + k, whole * LANES + lane] if lane < c_out % LANES else writer.tirx.const(0.0, "float32")
                writer.to.buffer_store(packed, value, [q, k, lane])

    writer.branch(o < whole, full, part if c_out % LANES else None)


def _lines(writer: Writer, size: RowProduct, buffer: Any, width: int, rows: int = 0) -> Any:
    """All rows of all images."""
    images = writer.batch if size.images is None else writer.long(1)
    return writer.to.decl_buffer([images * (rows or size.rows), writer.long(width)], "float32", data=buffer.data)


@dataclass(frozen=True, slots=True)
class _OfRows:
    """Writes the statements. Rows are counted through all images; the weights are those from vector `first` of the results on."""

    writer: Writer
    size: RowProduct
    a: Any
    w: Any
    bias: Any
    read: Sequence[Any]
    d: Any
    first: Any = 0

    def write(self) -> None:
        size, writer = self.size, self.writer
        full, left = divmod(size.rows, size.wide)
        work = (size.rows * size.c_in * blocks(size.c_out) * LANES) // MACS
        if size.is_rowwise:
            with writer.each(size.images, full + (left > 0), work=work) as (i, tile):

                def tile_of(rows: int) -> None:
                    for o, deep in self.groups():
                        self.tile(i * size.rows + tile * size.wide, rows, o, deep)

                writer.branch(tile < full, lambda: tile_of(size.wide), (lambda: tile_of(left)) if left else None)
            return
        whole, rest = divmod(blocks(size.c_out), size.deep)
        with writer.each(size.images, whole + (rest > 0), work=work) as (i, group):
            first = writer.keep(group * size.deep)
            writer.branch(
                group < whole,
                lambda: self.column(i, first, size.deep, full, left),
                (lambda: self.column(i, first, rest, full, left)) if rest else None,
            )

    def groups(self) -> Iterator[tuple[Any, int]]:
        """All results, some vectors at a time: the first, and how many. What is written for the one is within a loop."""
        size, writer = self.size, self.writer
        whole, rest = divmod(blocks(size.c_out), size.deep)
        with writer.loop(whole) as group:
            yield writer.keep(group * size.deep), size.deep
        if rest:
            yield writer.long(whole * size.deep), rest

    def column(self, i: Any, o: Any, deep: int, full: int, left: int) -> None:
        """All rows of an image for `deep` vectors of results from the o-th on."""
        size, writer = self.size, self.writer
        parts, start = size.parts, i * size.rows
        waiting = writer.to.alloc_buffer((size.rows * deep, LANES), scope="global") if len(parts) > 1 else None
        for part in parts:
            with writer.loop(full) as tile:
                if part == parts[0]:
                    self.ask(o + deep, deep, tile, full)
                self.tile(start + tile * size.wide, size.wide, o, deep, part, waiting, tile * (size.wide * deep))
            if left:
                self.tile(start + full * size.wide, left, o, deep, part, waiting, writer.long(full * size.wide * deep))

    def ask(self, o: Any, deep: int, tile: Any, tiles: int) -> None:
        """A share of the next results' weights, so that they have come from memory when they are needed. Past the end it does nothing."""
        writer, size = self.writer, self.size
        lines = writer.to.decl_buffer([writer.long(blocks(size.c_out) * size.c_in), writer.long(LANES)], "float32", data=self.w.data)
        share = -(-deep * size.c_in // tiles)
        with writer.loop(share) as k:
            writer.to.evaluate(request(writer.tirx, lines[o * size.c_in + tile * share + k, 0]))

    def tile(self, row: Any, rows: int, o: Any, deep: int, part: Any = None, waiting: Any = None, place: Any = 0) -> None:
        """`rows` rows by `deep` vectors of results; sums wait at `place` between parts of the inputs."""
        writer, (start, stop) = self.writer, part or (0, self.size.c_in)
        row = writer.keep(row)
        sums = [writer.registers(rows) for _ in range(deep)]
        for q, block in enumerate(sums):
            for j in range(rows):
                writer.store(block, writer.load(waiting, place + (j * deep + q)) if start else writer.spread(0.0), j)
        with writer.loop(stop, start) as k:
            factors = [writer.load(self.w, o - self.first + q, k) for q in range(deep)]
            for j in range(rows):
                value = writer.keep(writer.spread(self.a[row + j, k]))
                for block, factor in zip(sums, factors, strict=True):
                    writer.store(block, block[(j, writer.lanes())] + value * factor, j)
        for q, block in enumerate(sums):
            for j in range(rows):
                if stop < self.size.c_in:
                    writer.store(waiting, writer.load(block, j), place + (j * deep + q))
                else:
                    value = writer.load(block, j) if self.bias is None else writer.load(block, j) + writer.load(self.bias, o + q)
                    finish_row(writer, self.size.steps, self.read, self.d, self.size.c_out, row + j, o + q, value)
