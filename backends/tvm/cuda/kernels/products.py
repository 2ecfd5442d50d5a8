"""What a block multiplies of a step that lies in shared memory, on tensor cores: by mma.sync, a warp by itself, or by wgmma, four together.

Either has lines and columns: 16 or 64 lines, of which all are multiplied, and columns by eights. Lines are pixels and columns filters, or
where a tile is turned filters and pixels. What is not there lies there as zeros, and is left out as far as instructions let it be
(`GpuTile.filled`): lines that a warp has none of, columns, and chunks that a sum does not have.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from .layout import ElementKind, padded
from .tiles import COLUMNS, GpuTile
from .writer import GpuWriter

__all__ = ["ALIGNMENT", "UNIT", "GpuBlock", "GroupProducts", "WarpProducts"]

LINES = 16  # of a product of one warp
GROUP = 4  # warps, of 16 lines each
UNIT = 4  # bytes of an element of shared memory, which is declared as float32
ALIGNMENT = 1024  # bytes, of shared memory: wgmma swizzles by the address
MATRICES = "ldmatrix.sync.aligned.m8n8.x{}.shared.b16"
ROUND = "cvt.rna.tf32.f32"  # of the image; filters are packed so
SWIZZLES = {64: 2, 128: 1}  # what a descriptor says of rows of so many bytes


@dataclass(frozen=True)
class GpuBlock:
    """One block of a grid, and its thread: `rows` by `cols` are the whole result, of which its part begins at `row0` and `col0`, and
    `depth` are the elements of a sum. Rows may be an expression.
    """

    writer: GpuWriter
    tile: GpuTile
    element: ElementKind
    shared: Any
    thread: Any
    rows: Any
    cols: int
    row0: Any
    col0: Any
    depth: int

    @property
    def lane(self) -> Any:
        return self.thread % 32

    @property
    def warp_row(self) -> Any:
        """The first row of a warp, in the tile."""
        return self.thread // 32 % self.tile.down * (self.tile.rows // self.tile.down)

    @property
    def warp_col(self) -> Any:
        return self.thread // 32 // self.tile.down * (self.tile.cols // self.tile.across)

    @property
    def chunks(self) -> int:
        """Of a row of a stage."""
        return self.tile.depth // 16

    @property
    def step(self) -> int:
        """Elements of a row that a step takes."""
        return self.tile.depth // self.element.bytes

    @property
    def steps(self) -> int:
        return math.ceil(self.depth / self.step)

    @property
    def chunks_left(self) -> int:
        """Those that the last step has."""
        return math.ceil((self.depth % self.step or self.step) / self.element.each_16_bytes)

    @property
    def filters(self) -> int:
        """Where they begin in a stage, behind the pixels."""
        return self.tile.rows * self.tile.depth // UNIT

    def swizzled(self, row: Any, chunk: Any) -> Any:
        """The place, in a stage, of a chunk of a row."""
        turned = row % 8 if self.chunks == 8 else row // 2 % 4
        return (row * self.chunks + (chunk ^ turned)) * (16 // UNIT)


class WarpProducts:
    """Sums of a thread in `acc`, by mma.sync and ldmatrix."""

    def __init__(self, block: GpuBlock, acc: Any) -> None:
        tile, writer = block.tile, block.writer
        lines, columns = (tile.cols // tile.across, tile.rows) if tile.turned else (tile.rows // tile.down, tile.cols // tile.across)
        self.block, self.acc, self.down, self.across = block, acc, lines // LINES, columns // COLUMNS
        self.factor_a = writer.registers(self.down * 4, "uint32")
        self.factor_b = writer.registers(self.across * 2, "uint32")
        tests = self._tests()
        self.has_work = writer.keep(functools.reduce(writer.tirx.And, tests)) if tests else None

    def multiply(self, stage: Any, step: Any) -> None:
        """The products of a step of the whole sum, which lies at `stage`."""
        with self.block.writer.when(self.has_work) if self.has_work is not None else nullcontext():
            self._by_pairs(step, functools.partial(self._multiply_pair, stage))

    def places(self) -> Iterator[tuple[Any, Any, Any, int]]:
        """What a thread has of its warp's products: row and column in the tile, the first of its registers, and of how many channels."""
        block, across = self.block, self.across
        if block.tile.turned:
            yield from turned_places(block, across)
            return
        writer, first, pair = block.writer, block.lane // 4, block.lane % 4 * 2
        with writer.unrolled(self.down) as i, writer.unrolled(2) as half, writer.unrolled(across) as j:
            row, col = block.warp_row + i * LINES + half * 8 + first, block.warp_col + j * COLUMNS + pair
            yield row, col, (i * across + j) * 4 + half * 2, 2

    def _tests(self) -> list[Any]:
        """Whether a warp has rows and columns that are there; nothing of sides of which every warp has some."""
        block, tile = self.block, self.block.tile
        rows = block.row0 + block.warp_row, block.rows, tile.rows, tile.down
        cols = block.col0 + block.warp_col, block.cols, tile.cols, tile.across
        return [start < extent for start, extent, whole, warps in (rows, cols) if not _all_have(extent, whole, warps)]

    def _columns(self) -> Iterator[tuple[int, int, AbstractContextManager[None]]]:
        """Columns of a warp, by eights, the first and how many: those that every block has, and what all but the last have."""
        block, tile = self.block, self.block.tile
        rows, cols = (block.rows, tile.rows, block.row0), (block.cols, tile.cols, block.col0)
        extent, whole, start = rows if tile.turned else cols
        is_known = isinstance(extent, int) and (tile.turned or tile.across == 1)
        always = math.ceil(extent % whole / COLUMNS) or self.across if is_known else self.across
        yield 0, always, nullcontext()
        if always < self.across and extent > whole:
            yield always, self.across - always, block.writer.when(start + whole <= extent)

    def _by_pairs(self, step: Any, product: Callable[[Any, bool], None]) -> None:
        """A step's pairs of chunks, which are what an mma takes of a row, and the one chunk that a sum may end with."""
        block, writer = self.block, self.block.writer
        (full, alone), pairs, last = divmod(block.chunks_left, 2), block.chunks // 2, block.steps - 1
        if full:
            with writer.unrolled(full) as pair:
                product(pair, False)
        if full < pairs and last:
            with writer.when(step < last), writer.unrolled(pairs - full) as pair:
                product(full + pair, False)
        if alone:
            with writer.when(step == last) if last else nullcontext():
                product(full, True)

    def _multiply_pair(self, stage: Any, pair: Any, is_half: bool) -> None:
        """A pair of chunks, or the first of the two, of all lines and columns that a warp has."""
        block, writer, lane, a = self.block, self.block.writer, self.block.lane, self.factor_a
        lines, columns = (stage, block.warp_row), (stage + block.filters, block.warp_col)
        lines, columns = (columns, lines) if block.tile.turned else (lines, columns)
        with writer.unrolled(self.down) as i:
            at = lines[0] + block.swizzled(lines[1] + i * LINES + lane % 16, pair * 2 + lane // 16)
            writer.ptx(MATRICES.format(4), *(a[i * 4 + k] for k in range(4)), block.shared.ptr_to([at]))
        if not block.tile.turned:
            self._round(a, 0, self.down * 4)
        for first, count, where in self._columns():
            with where:
                self._take_columns(columns, pair, first, count)
                self._multiply(first, count, is_half)

    def _take_columns(self, columns: tuple[Any, Any], pair: Any, first: int, count: int) -> None:
        """A pair of chunks of so many columns, two at a time."""
        block, lane, b = self.block, self.block.lane, self.factor_b
        start, first_column = columns
        for j, number in _by_twos(block.writer, first, count):
            column = first_column + j * COLUMNS + lane % 8 + (lane // 16 * 8 if number == 2 else 0)
            at = start + block.swizzled(column, pair * 2 + lane // 8 % 2)
            block.writer.ptx(MATRICES.format(number * 2), *(b[j * 2 + k] for k in range(number * 2)), block.shared.ptr_to([at]))
        if block.tile.turned:
            self._round(b, first * 2, count * 2)

    def _multiply(self, first: int, count: int, is_half: bool) -> None:
        writer, element, a, b = self.block.writer, self.block.element, self.factor_a, self.factor_b
        words, name = (1, element.half_product) if is_half else (2, element.product)  # of a column; a line has twice as many
        with writer.unrolled(self.down) as i, writer.unrolled(count) as k:
            j = first + k
            sums = [self.acc[(i * self.across + j) * 4 + k] for k in range(4)]
            writer.ptx(name, *sums, *(a[i * 4 + k] for k in range(2 * words)), *(b[j * 2 + k] for k in range(words)), *sums)

    def _round(self, image: Any, first: int, count: int) -> None:
        """Registers of the image, of which tensor cores would cut digits off."""
        if self.block.element.name == "f32":
            writer = self.block.writer
            with writer.unrolled(count) as i:
                writer.ptx(ROUND, image[first + i], writer.to.reinterpret("float32", image[first + i]))


class GroupProducts:
    """Sums of a thread in `acc`, by wgmma, straight from shared memory."""

    def __init__(self, block: GpuBlock, acc: Any) -> None:
        self.block, self.acc, writer = block, acc, block.writer
        start = writer.to.cuda.cvta_generic_to_shared(block.shared.ptr_to([0]))
        self.start = writer.keep(writer.to.cast(start, "uint64"))

    @property
    def columns(self) -> int:
        """Of a product: those of the tile, or as many as there are where one block has all."""
        whole, extent = (self.block.tile.rows, self.block.rows) if self.block.tile.turned else (self.block.tile.cols, self.block.cols)
        return min(whole, padded(extent)) if isinstance(extent, int) else whole

    def multiply(self, stage: Any, step: Any) -> None:
        """The products of one step are asked for, and those of the step before are waited for."""
        block, writer, tile, element = self.block, self.block.writer, self.block.tile, self.block.element
        own = block.thread // (32 * GROUP) * (LINES * GROUP * tile.depth // UNIT)
        starts = (block.filters + own, 0) if tile.turned else (own, block.filters)
        a, b = (writer.keep(self._described(stage + start)) for start in starts)
        assert element.group_product is not None
        name, sums = element.group_product.format(self.columns), [self.acc[i] for i in range(self.columns // 2)]

        def ask(first: int, end: int) -> None:
            for pair in range(first, end):
                ahead = writer.to.uint64(pair * 2)  # descriptors count by 16 bytes
                writer.ptx(name, *sums, a + ahead, b + ahead, writer.to.bool(True), 1, 1, 0, 0)

        always, pairs, last = math.ceil(block.chunks_left / 2), block.chunks // 2, block.steps - 1
        writer.ptx("wgmma.fence.sync.aligned")
        ask(0, always)
        if always < pairs and last:
            with writer.when(step < last):
                ask(always, pairs)
        writer.ptx("wgmma.commit_group.sync.aligned")
        writer.ptx("wgmma.wait_group.sync.aligned", 1)

    def places(self) -> Iterator[tuple[Any, Any, Any, int]]:
        """As those of a warp, which has 16 lines of its group's."""
        block, writer = self.block, self.block.writer
        if block.tile.turned:
            yield from turned_places(block, self.columns // COLUMNS)
            return
        first, pair = block.lane // 4, block.lane % 4 * 2
        with writer.unrolled(2) as half, writer.unrolled(self.columns // COLUMNS) as j:
            yield block.warp_row + half * 8 + first, block.warp_col + j * COLUMNS + pair, j * 4 + half * 2, 2

    def _described(self, at: Any) -> Any:
        """A matrix descriptor (PTX ISA 9.7.17.5.1.2): where rows begin, how far the next 8 of them are, and how they are swizzled."""
        to, depth = self.block.writer.to, self.block.tile.depth
        shape = SWIZZLES[depth] << 62 | (8 * depth // 16) << 32 | 1 << 16
        shape -= shape >> 63 << 64  # a number that TVM has
        return (self.start + to.cast(at * UNIT, "uint64")) // to.uint64(16) | to.reinterpret("uint64", to.int64(shape))


def turned_places(block: GpuBlock, columns: int) -> Iterator[tuple[Any, Any, Any, int]]:
    """Of a tile that is turned: two neighbours are two pixels."""
    writer, first, pair = block.writer, block.lane // 4, block.lane % 4 * 2
    with writer.unrolled(2) as half, writer.unrolled(columns) as j, writer.unrolled(2) as k:
        yield j * COLUMNS + pair + k, block.warp_col + half * 8 + first, j * 4 + half * 2 + k, 1


def _all_have(extent: Any, whole: int, warps: int) -> bool:
    """Whether in every block each of so many warps, which share `whole` rows, or columns, has some before `extent`."""
    return warps == 1 or (isinstance(extent, int) and (extent - 1) % whole >= whole - whole // warps)


def _by_twos(writer: GpuWriter, first: int, count: int) -> Iterator[tuple[Any, int]]:
    """From the first on two at a time, and the last by itself where the count is odd."""
    if count > 1:
        with writer.unrolled(count // 2) as i:
            yield first + i * 2, 2
    if count % 2:
        yield first + count - 1, 1
