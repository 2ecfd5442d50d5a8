"""Products of plain rows and weights that a run computes, as a step of training: packed where they are needed, and not before.

Some vectors of results are a task's, with a block of the rows: a chunk of their weights is packed, all its rows pass, and sums wait for the
next. So weights are read once for each block of rows, and a packed copy of 100 million of them never lies in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .dense import finish_row
from .epilogue import read_names
from .kernel import kind
from .layout import LANES, blocks
from .rows import MACS, RowProduct
from .writer import PARALLEL_FROM, Operand, Writer, prim_func

__all__ = ["computed_product"]

CHUNK = 256  # inputs whose weights are packed at once
WIDE = 16  # vectors of results of a task: a row of plain weights is read in pieces as long as that
ROWS = 256  # of a task, at most: their sums wait in a core's own cache
SOME_ROWS = 64  # of a task, where their number has a name
TASKS = 8  # to divide among threads, at least


@kind("rows of computed weights")
def computed_product(size: RowProduct, *, is_turned: bool, has_bias: bool) -> Any:
    """(A[...,I], W[I,O], [bias[OB,LANES],] R[...,O]..., D[...,O]); W[O,I] where it `is_turned`."""
    weights = Operand("W", (size.c_out, size.c_in) if is_turned else (size.c_in, size.c_out))
    bias = [Operand("bias", (blocks(size.c_out), LANES))] if has_bias else []
    results = [Operand(name, shape) for name, shape in zip((*read_names(size.steps), "D"), (*size.read, size.made), strict=True)]

    def body(writer: Writer, a: Any, w: Any, *rest: Any) -> None:
        count = writer.long(size.rows) if size.images else writer.batch * size.rows

        def lines(buffer: Any, width: int) -> Any:
            return writer.to.decl_buffer([count, writer.long(width)], "float32", data=buffer.data)

        shown = [lines(each, size.c_out) for each in rest[len(bias) :]]
        _Product(writer, size, is_turned, lines(a, size.c_in), w, rest[0] if bias else None, shown[:-1], shown[-1]).write(count)

    return prim_func([Operand("A", size.given), weights, *bias, *results], body)


@dataclass(frozen=True, slots=True)
class _Product:
    writer: Writer
    size: RowProduct
    is_turned: bool
    a: Any
    w: Any
    bias: Any
    read: list[Any]
    d: Any

    @property
    def wide(self) -> int:
        """Vectors of results of a task, as many as its register tiles have."""
        count, deep = blocks(self.size.c_out), self.size.deep
        return deep * max(1, min(WIDE // deep, count // (deep * TASKS)))

    @property
    def tall(self) -> int:
        """Rows of a task: whole register tiles."""
        groups, wide = -(-blocks(self.size.c_out) // self.wide), self.size.wide
        if self.size.images is None:
            return -(-SOME_ROWS // wide) * wide
        parts = max(-(-self.size.rows // ROWS), min(-(-TASKS // groups), self.size.rows // wide))
        return -(-self.size.rows // max(1, parts * wide)) * wide

    def write(self, rows: Any) -> None:
        writer, size = self.writer, self.size
        groups, parts = -(-blocks(size.c_out) // self.wide), (rows + (self.tall - 1)) // self.tall
        is_small = size.images and size.rows * size.c_in * blocks(size.c_out) * LANES < MACS * PARALLEL_FROM
        with (writer.to.serial if is_small else writer.to.parallel)(writer.long(0), parts * groups) as task:
            first, row = writer.keep(task // parts * self.wide), writer.keep(task % parts * self.tall)
            count = writer.keep(writer.tirx.min(writer.long(self.wide), blocks(size.c_out) - first))
            self.task(first, count, row, writer.keep(writer.tirx.min(row + self.tall, rows)))

    def task(self, first: Any, count: Any, row: Any, end: Any) -> None:
        writer, size = self.writer, self.size
        packed = writer.to.alloc_buffer((self.wide, min(CHUNK, size.c_in), LANES), scope="global")
        if size.c_in <= CHUNK:
            self.pack(packed, first, count, writer.long(0), writer.long(size.c_in))
            self.rows(packed, None, (first, count, row, end), (writer.long(0), writer.long(size.c_in)))
            return
        waiting = writer.to.alloc_buffer((self.tall, self.wide, LANES), scope="global")
        with writer.loop(end - row) as j, writer.loop(count) as q:
            writer.store(waiting, writer.spread(0.0), j, q)
        with writer.loop(-(-size.c_in // CHUNK)) as chunk:
            start = writer.keep(chunk * CHUNK)
            number = writer.keep(writer.tirx.min(writer.long(CHUNK), size.c_in - start))
            self.pack(packed, first, count, start, number)
            self.rows(packed, waiting, (first, count, row, end), (start, number))
        with writer.loop(end - row) as j, writer.loop(count) as q:
            self.finish(row + j, first + q, writer.load(waiting, j, q))

    def rows(self, packed: Any, waiting: Any, task: tuple[Any, ...], chunk: tuple[Any, Any]) -> None:
        """All rows of a task, tile by tile; the last vectors of results one by one where they fill no tile."""
        writer, (first, count, row, end), deep = self.writer, task, self.size.deep
        wide = self.size.wide

        def tiles(q: Any, deep: int) -> None:
            with writer.loop((end - row) // wide) as tile:
                self.tile(packed, waiting, (row, tile * wide, wide), (first, q, deep), chunk)
            with writer.loop(end - row, (end - row) // wide * wide) as j:
                self.tile(packed, waiting, (row, j, 1), (first, q, deep), chunk)

        with writer.loop(count // deep) as group:
            tiles(writer.keep(group * deep), deep)
        if deep > 1 and blocks(self.size.c_out) % deep:
            with writer.loop(count, count // deep * deep) as q:
                tiles(q, 1)

    def tile(self, packed: Any, waiting: Any, rows: tuple[Any, Any, int], vectors: tuple[Any, Any, int], chunk: tuple[Any, Any]) -> None:
        writer, (row, at, number), (first, place, deep), (start, count) = self.writer, rows, vectors, chunk
        sums = [writer.registers(number) for _ in range(deep)]
        for q, block in enumerate(sums):
            for j in range(number):
                writer.store(block, writer.spread(0.0) if waiting is None else writer.load(waiting, at + j, place + q), j)
        with writer.loop(count) as k:
            factors = [writer.load(packed, place + q, k) for q in range(deep)]
            for j in range(number):
                value = writer.keep(writer.spread(self.a[row + at + j, start + k]))
                for block, factor in zip(sums, factors, strict=True):
                    writer.store(block, block[(j, writer.lanes())] + value * factor, j)
        for q, block in enumerate(sums):
            for j in range(number):
                if waiting is None:
                    self.finish(row + at + j, first + place + q, writer.load(block, j))
                else:
                    writer.store(waiting, writer.load(block, j), at + j, place + q)

    def finish(self, row: Any, o: Any, value: Any) -> None:
        value = value if self.bias is None else value + self.writer.load(self.bias, o)
        finish_row(self.writer, self.size.steps, self.read, self.d, self.size.c_out, row, o, value)

    # --- weights ---------------------------------------------------------------------------------------------------------

    def pack(self, packed: Any, first: Any, count: Any, start: Any, number: Any) -> None:
        """Of `count` vectors of results those of `number` inputs from `start` on; lanes beyond the last result are 0."""
        writer, (full, left) = self.writer, divmod(self.size.c_out, LANES)
        if not self.is_turned:  # a row of weights in one piece
            with writer.loop(number) as k, writer.loop(writer.tirx.min(count, full - first)) as q:
                writer.store(packed, writer.keep(self.w[start + k, writer.lanes((first + q) * LANES)]), q, k)
        else:
            with writer.loop(writer.tirx.min(count, full - first)) as q:
                self.turned(packed, first + q, q, start, number)
        if left:
            last = writer.keep(writer.long(full) - first)
            with writer.loop(writer.tirx.Select(last < count, number, writer.long(0))) as k:
                for lane in range(LANES):
                    at = (full * LANES + lane, start + k) if self.is_turned else (start + k, full * LANES + lane)
                    value = self.w[at] if lane < left else writer.tirx.const(0.0, "float32")
                    writer.to.buffer_store(packed, value, [last, k, lane])

    def turned(self, packed: Any, o: Any, q: Any, start: Any, number: Any) -> None:
        """Squares of 16 results and inputs, exchanged in registers."""
        writer, tiles = self.writer, number // LANES
        with writer.loop(tiles) as tile:
            lines = [self.w[o * LANES + lane, writer.lanes(start + tile * LANES)] for lane in range(LANES)]
            for k, vector in enumerate(_exchanged(writer, [writer.settle(line) for line in lines])):
                writer.store(packed, vector, q, tile * LANES + k)
        with writer.loop(number, tiles * LANES) as k:
            for lane in range(LANES):
                writer.to.buffer_store(packed, self.w[o * LANES + lane, start + k], [q, k, lane])


def _exchanged(writer: Writer, rows: list[Any]) -> list[Any]:
    """The columns of a square of vectors: halves, quarters, ... of pairs change places."""
    distance = LANES // 2
    while distance:
        low = [lane if not lane & distance else LANES + lane - distance for lane in range(LANES)]
        high = [lane + distance if not lane & distance else LANES + lane for lane in range(LANES)]
        made = list(rows)
        for i in range(LANES):
            if not i & distance:
                pair = [rows[i], rows[i + distance]]
                made[i], made[i + distance] = (writer.settle(writer.blend(pair, lanes)) for lanes in (low, high))
        rows, distance = made, distance // 2
    return rows
