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

    def place_of(self, at: Any) -> Any:
        """The address of a place in the first stage, in bytes."""
        return self.writer.opaque(self.writer.to.cuda.cvta_generic_to_shared(self.shared.ptr_to([at])), "uint32")

    def swizzled(self, row: Any, chunk: Any) -> Any:
        """The place, in a stage, of a chunk of a row."""
        turned = row % 8 if self.chunks == 8 else row // 2 % 4
        return (row * self.chunks + (chunk ^ turned)) * (16 // UNIT)


class Ring:
    """A stage, in bytes from the first, and after the last stage the first again."""

    def __init__(self, writer: GpuWriter, tile: GpuTile, first: int) -> None:
        self.writer, self.each, self.all = writer, tile.stage, tile.stage * tile.stages
        self.at = writer.registers(1, "uint32")
        writer.set(self.at, 0, writer.to.uint32(tile.stage * first))

    def advance(self) -> None:
        """On to the next stage."""
        to, ahead = self.writer.to, self.at[0] + self.writer.to.uint32(self.each)
        self.writer.set(self.at, 0, to.Select(ahead == to.uint32(self.all), to.uint32(0), ahead))

    def taken(self) -> Any:
        """This stage, after which it is the next one's turn."""
        stage = self.writer.registers(1, "uint32")
        self.writer.set(stage, 0, self.at[0])
        self.advance()
        return stage[0]


class WarpProducts:
    """Sums of a thread in `acc`, by mma.sync and ldmatrix."""

    def __init__(self, block: GpuBlock, acc: Any) -> None:
        tile, writer = block.tile, block.writer
        lines, columns = (tile.cols // tile.across, tile.rows) if tile.turned else (tile.rows // tile.down, tile.cols // tile.across)
        self.block, self.acc, self.down, self.across = block, acc, lines // LINES, columns // COLUMNS
        # of a pair of chunks, and of the next
        self.factors = [[writer.registers(count, "uint32") for count in (self.down * 4, self.across * 2)] for _ in range(2)]
        tests = self._tests()
        self.has_work = writer.keep(functools.reduce(writer.tirx.And, tests)) if tests else None

    def begin(self, wait: Callable[[], None]) -> None:
        """Takes the first pair of chunks; `wait` is for the copies of the step that follows."""
        block, lane = self.block, self.block.lane
        row, column = lane % 16, lane % 8 + lane // 16 * 8
        lines, columns = (0, block.warp_row), (block.filters, block.warp_col)
        (a, line), (b, first) = (columns, lines) if block.tile.turned else (lines, columns)
        self.lines = block.place_of(a + block.swizzled(line + row, lane // 16))
        self.columns = block.place_of(b + block.swizzled(first + column, lane // 8 % 2))
        self.read = Ring(block.writer, block.tile, 0)
        wait()
        self._take(0)

    def multiply(self, wait: Callable[[], None], fetch: Callable[[], None]) -> None:
        """The products of a step that is not the last. While a pair of chunks is multiplied the next is on its way, and the copies of a
        later step are asked for: tensor cores wait for neither.
        """
        pairs = self.block.chunks // 2
        for pair in range(pairs):
            if pair == pairs - 1:
                wait()
                self.read.advance()
            self._take((pair + 1) % pairs)
            if pair == 0:
                fetch()
            with self._if_has_work():
                self._multiply(pair % 2, False)

    def finish(self, step: Any, wait: Callable[[], None]) -> None:
        """Those of the last step, which may have fewer chunks, and at the end one alone: of these a product of half the depth takes care.
        Where sums are in parts it does where `step` is the last of all.
        """
        (full, alone), pairs, last = divmod(self.block.chunks_left, 2), self.block.chunks // 2, self.block.steps - 1
        in_parts, writer = not isinstance(step, int), self.block.writer
        count = pairs if in_parts else full + alone
        for pair in range(count):
            if pair + 1 < count:
                self._take(pair + 1)
            with self._if_has_work():
                if pair < full:
                    self._multiply(pair % 2, False)
                    continue
                if in_parts:
                    with writer.when(step < last):
                        self._multiply(pair % 2, False)
                if alone and pair == full:
                    with writer.when(step == last) if in_parts else nullcontext():
                        self._multiply(pair % 2, True)

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

    def _if_has_work(self) -> AbstractContextManager[None]:
        return nullcontext() if self.has_work is None else self.block.writer.when(self.has_work)

    def _take(self, pair: int) -> None:
        """A pair of chunks, of all lines and columns that a warp has: columns two at a time."""
        block, writer, (a, b) = self.block, self.block.writer, self.factors[pair % 2]
        depth, addr = block.tile.depth, block.writer.to.ptx.addr
        # a pair further on, chunks change places by one bit: their addresses differ in it
        lines, columns = (writer.keep(own + self.read.at[0] ^ writer.to.uint32(pair * 32)) for own in (self.lines, self.columns))
        with self._if_has_work():
            with writer.unrolled(self.down) as i:
                writer.ptx(MATRICES.format(4), *(a[i * 4 + k] for k in range(4)), addr(lines, i * (LINES * depth)))
            for j, number in _by_twos(writer, 0, self.across):
                writer.ptx(MATRICES.format(number * 2), *(b[j * 2 + k] for k in range(number * 2)), addr(columns, j * (COLUMNS * depth)))

    def _multiply(self, which: int, is_half: bool) -> None:
        """The pair of chunks that was taken into these registers, or the first of the two."""
        writer, element, (a, b) = self.block.writer, self.block.element, self.factors[which]
        words, name = (1, element.half_product) if is_half else (2, element.product)  # of a column; a line has twice as many
        self._round(*((b, self.across * 2) if self.block.tile.turned else (a, self.down * 4)))
        for first, count, where in self._columns():
            with where, writer.unrolled(self.down) as i, writer.unrolled(count) as k:
                j = first + k
                sums = [self.acc[(i * self.across + j) * 4 + k] for k in range(4)]
                writer.ptx(name, *sums, *(a[i * 4 + k] for k in range(2 * words)), *(b[j * 2 + k] for k in range(words)), *sums)

    def _round(self, image: Any, count: int) -> None:
        """Registers of the image, of which tensor cores would cut digits off."""
        if self.block.element.name == "f32":
            writer = self.block.writer
            with writer.unrolled(count) as i:
                writer.ptx(ROUND, image[i], writer.to.reinterpret("float32", image[i]))


class GroupProducts:
    """Sums of a thread in `acc`, by wgmma, straight from shared memory."""

    def __init__(self, block: GpuBlock, acc: Any) -> None:
        self.block, self.acc, tile = block, acc, block.tile
        own = block.thread // (32 * GROUP) * (LINES * GROUP * tile.depth // UNIT)
        lines, columns = (block.filters + own, 0) if tile.turned else (own, block.filters)
        self.starts = block.place_of(lines), block.place_of(columns)
        self.read = Ring(block.writer, tile, 0)

    @property
    def columns(self) -> int:
        """Of a product: those of the tile, or as many as there are where one block has all."""
        whole, extent = (self.block.tile.rows, self.block.rows) if self.block.tile.turned else (self.block.tile.cols, self.block.cols)
        return min(whole, padded(extent)) if isinstance(extent, int) else whole

    def begin(self, wait: Callable[[], None]) -> None:
        """Each step waits for itself."""

    def multiply(self, wait: Callable[[], None], fetch: Callable[[], None]) -> None:
        """The products of a step that is not the last are asked for, then copies of a later one; those of the step before are waited
        for.
        """
        wait()
        self._ask(lambda ask: ask(0, self.block.chunks // 2))
        fetch()
        self.block.writer.ptx("wgmma.wait_group.sync.aligned", 1)

    def finish(self, step: Any, wait: Callable[[], None]) -> None:
        """The last step's, which may have fewer chunks; where sums are in parts it does where `step` is the last of all."""
        always, pairs, last = math.ceil(self.block.chunks_left / 2), self.block.chunks // 2, self.block.steps - 1

        def products(ask: Callable[[int, int], None]) -> None:
            ask(0, always)
            if always < pairs and not isinstance(step, int):
                with self.block.writer.when(step < last):
                    ask(always, pairs)

        wait()
        self._ask(products)
        # nvcc does not know that sums change here: so all that reads them is a store
        self.block.writer.ptx("wgmma.wait_group.sync.aligned", 0)

    def _ask(self, products: Callable[[Callable[[int, int], None]], None]) -> None:
        """For products of pairs of chunks, from one to another, as a group."""
        writer, element, stage = self.block.writer, self.block.element, self.read.taken()
        a, b = (writer.keep(self._described(start + stage)) for start in self.starts)
        assert element.group_product is not None
        name, sums = element.group_product.format(self.columns), [self.acc[i] for i in range(self.columns // 2)]

        def ask(first: int, end: int) -> None:
            for pair in range(first, end):
                ahead = writer.to.uint64(pair * 2)  # descriptors count by 16 bytes
                writer.ptx(name, *sums, a + ahead, b + ahead, writer.to.bool(True), 1, 1, 0, 0)

        writer.ptx("wgmma.fence.sync.aligned")
        products(ask)
        writer.ptx("wgmma.commit_group.sync.aligned")

    def places(self) -> Iterator[tuple[Any, Any, Any, int]]:
        """As those of a warp, which has 16 lines of its group's."""
        block, writer = self.block, self.block.writer
        if block.tile.turned:
            yield from turned_places(block, self.columns // COLUMNS)
            return
        first, pair = block.lane // 4, block.lane % 4 * 2
        with writer.unrolled(2) as half, writer.unrolled(self.columns // COLUMNS) as j:
            yield block.warp_row + half * 8 + first, block.warp_col + j * COLUMNS + pair, j * 4 + half * 2, 2

    def _described(self, address: Any) -> Any:
        """A matrix descriptor (PTX ISA 9.7.17.5.1.2): where rows begin, how far the next 8 of them are, and how they are swizzled."""
        to, depth = self.block.writer.to, self.block.tile.depth
        shape = SWIZZLES[depth] << 62 | (8 * depth // 16) << 32 | 1 << 16
        shape -= shape >> 63 << 64  # a number that TVM has
        return to.cast(address // to.uint32(16), "uint64") | to.reinterpret("uint64", to.int64(shape))


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
