"""Attention: softmax of products of queries and keys, times values, some queries at a time: their scores lie in the cache, and no others.

Queries, keys and values are read where they lie, by strides, so heads cost no move: they are columns of what one layer computed for all
three, mostly. Results are written by strides too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...processor import AVX512, Processor
from .kernel import kind
from .layout import LANES, Batch, blocks
from .moves import transposed
from .writer import Operand, Register, Writer, greatest, prim_func

__all__ = ["Heads", "Stride", "Strided", "attention"]

DEEP = 4  # vectors of scores, or of results, that share what is read of a query
MACS = 4  # that take as long as to move an element
Stride = tuple[int, int]  # elements, and elements times the batch that has a name


@dataclass(frozen=True, slots=True)
class Strided:
    """A value of [images, heads, places, depth] within one of `shape`; one that is None is the batch that has a name."""

    shape: tuple[int | None, ...]
    strides: tuple[Stride, Stride, Stride, Stride]
    offset: Stride = (0, 0)


@dataclass(frozen=True, slots=True)
class Heads:
    """So many heads of each image, queries, keys, elements of a key and of a value. With a mask there is one for each of `masks` images
    and heads, in turn, that is added to the scores.
    """

    batch: Batch
    heads: int
    queries: int
    keys: int
    depth: int
    width: int
    given: tuple[Strided, Strided, Strided]
    made: Strided
    masks: tuple[int, int] | None = None
    processor: Processor = AVX512

    @property
    def copies_values(self) -> bool:
        """Whether values are copied into whole vectors: some end within one, or lie so far apart as the batch that has a name says."""
        return self.width % LANES != 0 or self.given[2].strides[3][1] != 0

    @property
    def deep(self) -> int:
        return DEEP if self.processor.floats >= 32 * LANES else 1

    @property
    def wide(self) -> int:
        """Queries at a time."""
        most = self.processor.sums(self.deep * LANES)
        return -(-self.queries // -(-self.queries // most))


@kind("attention")
def attention(size: Heads) -> Any:
    """(Q, K, V, scale[1], M[masks,queries,keys] if there is one, D): softmax(scale Q K^T + M) V."""
    names = zip("QKV", size.given, strict=True)
    mask = [] if size.masks is None else [Operand("M", (*size.masks, size.queries, size.keys))]

    def body(writer: Writer, *buffers: Any) -> None:
        q, k, v, scale, *masks, d = buffers
        of = [_flat(writer, buffer, where.shape) for buffer, where in zip((q, k, v, d), (*size.given, size.made), strict=True)]
        _OfHeads(writer, size, of[0], of[1], of[2], scale, masks[0] if masks else None, of[3]).write()

    operands = [*(Operand(name, where.shape) for name, where in names), Operand("scale", (1,)), *mask, Operand("D", size.made.shape)]
    return prim_func(operands, body)


def _flat(writer: Writer, buffer: Any, shape: Sequence[int | None]) -> Any:
    count: Any = writer.long(math.prod(extent for extent in shape if extent is not None))
    for extent in shape:
        count = count * writer.batch if extent is None else count
    return writer.to.decl_buffer([count], "float32", data=buffer.data)


@dataclass(frozen=True, slots=True)
class _OfHeads:
    """Writes the statements, for an image and a head at a time."""

    writer: Writer
    size: Heads
    q: Any
    k: Any
    v: Any
    scale: Any
    mask: Any
    d: Any

    def write(self) -> None:
        size, writer = self.size, self.writer
        vectors = blocks(size.keys)
        work = size.heads * size.queries * size.keys * (size.depth + size.width) // MACS
        with writer.each(size.batch, size.heads, work=work) as (i, h):
            keys = writer.to.alloc_buffer((vectors * size.depth, LANES), scope="global")
            with writer.loop(size.keys // LANES) as block:
                self.turn(keys, i, h, block)
            if size.keys % LANES:
                self.pick(keys, i, h, vectors - 1)
            values = writer.to.alloc_buffer((size.keys * blocks(size.width), LANES), scope="global") if size.copies_values else None
            if values is not None:
                self.fill(values, i, h)
            scores = writer.to.alloc_buffer((size.wide * vectors, LANES), scope="global")
            full, left = divmod(size.queries, size.wide)
            with writer.loop(full) as tile:
                self.queries(i, h, tile * size.wide, size.wide, keys, values, scores)
            if left:
                self.queries(i, h, writer.long(full * size.wide), left, keys, values, scores)

    def place(self, where: Strided, *at: Any) -> Any:
        """Where in the memory of what holds it an element lies."""
        total = self.term(where.offset, 1)
        for stride, index in zip(where.strides, at, strict=True):
            total = total + self.term(stride, index)
        return total

    def term(self, stride: Stride, index: Any) -> Any:
        fixed, named = stride
        total = self.writer.long(fixed) * index
        return total + self.writer.batch * named * index if named else total

    def turn(self, keys: Any, i: Any, h: Any, block: Any) -> None:
        """LANES keys as vectors of one element of each."""
        size, writer, where = self.size, self.writer, self.size.given[1]
        if where.strides[3] == (1, 0):
            with writer.loop(size.depth // LANES) as part:
                rows = [self.place(where, i, h, block * LANES + lane, part * LANES) for lane in range(LANES)]
                for c, vector in enumerate(transposed(writer, [writer.keep(self.k[writer.lanes(row)]) for row in rows])):
                    writer.store(keys, vector, block * size.depth + part * LANES + c)
            start = size.depth // LANES * LANES
        else:
            start = 0
        with writer.loop(size.depth, start) as c:
            for lane in range(LANES):
                writer.to.buffer_store(keys, self.k[self.place(where, i, h, block * LANES + lane, c)], [block * size.depth + c, lane])

    def pick(self, keys: Any, i: Any, h: Any, block: int) -> None:
        """The last keys; lanes beyond are 0."""
        size, writer = self.size, self.writer
        with writer.loop(size.depth) as c:
            vector = Register(writer)
            vector.set(writer.spread(0.0))
            for lane in range(size.keys % LANES):
                vector.set_lane(lane, self.k[self.place(size.given[1], i, h, block * LANES + lane, c)])
            writer.store(keys, vector.get(), writer.long(block * size.depth) + c)

    def fill(self, values: Any, i: Any, h: Any) -> None:
        """Values in whole vectors, zeros in the lanes beyond."""
        size, writer = self.size, self.writer
        count = blocks(size.width)
        with writer.loop(size.keys) as key:
            for c in range(count * LANES):
                value = self.v[self.place(size.given[2], i, h, key, c)] if c < size.width else writer.tirx.const(0.0, "float32")
                writer.to.buffer_store(values, value, [key * count + c // LANES, c % LANES])

    def queries(self, i: Any, h: Any, first: Any, count: int, keys: Any, values: Any, scores: Any) -> None:
        size, writer = self.size, self.writer
        rows = [writer.keep(self.place(size.given[0], i, h, first + j, 0)) for j in range(count)]
        vectors = blocks(size.keys)
        whole, rest = divmod(vectors, size.deep)
        with writer.loop(whole) as group:
            self.score(rows, keys, scores, group * size.deep, size.deep)
        if rest:
            self.score(rows, keys, scores, writer.long(whole * size.deep), rest)
        if self.mask is not None:
            self.hide(i, h, first, count, scores)
        totals = self.grow(scores, count)
        whole, rest = divmod(blocks(size.width), size.deep)
        with writer.loop(whole) as group:
            self.mix(i, h, first, count, values, scores, totals, group * size.deep, size.deep)
        if rest:
            self.mix(i, h, first, count, values, scores, totals, writer.long(whole * size.deep), rest)

    def score(self, rows: Sequence[Any], keys: Any, scores: Any, first: Any, deep: int) -> None:
        """scale Q K^T for `deep` vectors of keys."""
        size, writer = self.size, self.writer
        sums = [writer.registers(len(rows)) for _ in range(deep)]
        _clear(writer, sums, len(rows))
        fixed, named = size.given[0].strides[3]
        with writer.loop(size.depth) as c:
            factors = [writer.load(keys, (first + b) * size.depth + c) for b in range(deep)]
            for j, row in enumerate(rows):
                value = writer.keep(writer.spread(self.q[row + self.term((fixed, named), c)]))
                for block, factor in zip(sums, factors, strict=True):
                    writer.store(block, block[(j, writer.lanes())] + value * factor, j)
        scale = writer.keep(writer.spread(self.scale[0]))
        for b, block in enumerate(sums):
            for j in range(len(rows)):
                writer.store(scores, writer.load(block, j) * scale, first + (j * blocks(size.keys) + b))

    def hide(self, i: Any, h: Any, first: Any, count: int, scores: Any) -> None:
        """Scores plus their masks."""
        size, writer, vectors = self.size, self.writer, blocks(self.size.keys)
        assert size.masks is not None
        images, heads = size.masks
        at = [i % images if images > 1 else writer.long(0), h if heads > 1 else writer.long(0)]
        full, left = divmod(size.keys, LANES)
        for j in range(count):
            with writer.loop(full) as block:
                lanes = writer.lanes(block * LANES)
                writer.store(scores, writer.load(scores, j * vectors + block) + self.mask[(*at, first + j, lanes)], j * vectors + block)
            if left:  # as a whole vector, since one that was written in parts is read late
                masks = Register(writer)
                masks.set(writer.spread(0.0))
                for lane in range(left):
                    masks.set_lane(lane, self.mask[(*at, first + j, full * LANES + lane)])
                writer.store(scores, writer.load(scores, j * vectors + full) + masks.get(), j * vectors + full)

    def grow(self, scores: Any, count: int) -> list[Any]:
        """Powers of each row's scores less the greatest of them; their sums, in every lane. Each step of all rows before the next: alone, a
        row would wait for itself.
        """
        size, writer, vectors, rows = self.size, self.writer, blocks(self.size.keys), range(count)
        if left := size.keys % LANES:
            beyond = writer.spread(-math.inf)  # no key: the power of nothing, 0
            for j in rows:
                last = writer.load(scores, (j + 1) * vectors - 1)
                writer.store(scores, writer.blend([last, beyond], [k if k < left else LANES for k in range(LANES)]), (j + 1) * vectors - 1)
        best, total = ([Register(writer) for _ in rows] for _ in range(2))
        for j in rows:
            best[j].set(writer.load(scores, j * vectors))
            total[j].set(writer.spread(0.0))
        with writer.loop(vectors, 1) as block:
            for j in rows:
                best[j].set(greatest(writer.tirx)(best[j].get(), writer.load(scores, j * vectors + block)))
        self.across(best, greatest(writer.tirx))
        with writer.loop(vectors) as block:
            for j in rows:
                grown = writer.vectors.exp(writer.load(scores, j * vectors + block) - best[j].get())
                writer.store(scores, grown, j * vectors + block)
                total[j].set(total[j].get() + grown)
        self.across(total, lambda x, y: x + y)
        return total

    def across(self, registers: Sequence[Register], combine: Callable[[Any, Any], Any]) -> None:
        """All lanes of each combined, in every lane."""
        for distance in (8, 4, 2, 1):
            for register in registers:
                turned = self.writer.blend([register.get()], [(lane + distance) % LANES for lane in range(LANES)])
                register.set(combine(register.get(), turned))

    def mix(self, i: Any, h: Any, first: Any, count: int, values: Any, scores: Any, totals: Sequence[Any], part: Any, deep: int) -> None:
        """Sums of values by their shares, `deep` vectors of them, written where they belong."""
        size, writer, where, vectors = self.size, self.writer, self.size.made, blocks(self.size.keys)
        sums = [writer.registers(count) for _ in range(deep)]
        _clear(writer, sums, count)
        line = writer.to.decl_buffer([writer.long(count * vectors * LANES)], "float32", data=scores.data)
        with writer.loop(size.keys) as key:
            factors = [writer.keep(self.value(i, h, key, part + b, values)) for b in range(deep)]
            for j in range(count):
                share = writer.keep(writer.spread(line[key + j * vectors * LANES]))
                for block, factor in zip(sums, factors, strict=True):
                    writer.store(block, block[(j, writer.lanes())] + share * factor, j)
        for b, block in enumerate(sums):
            for j in range(count):
                value = writer.load(block, j) / totals[j].get()
                if size.width % LANES == 0 and where.strides[3] == (1, 0):
                    place = self.place(where, i, h, first + j, (part + b) * LANES)
                    writer.to.buffer_store(self.d, value, [writer.lanes(place)])
                    continue
                result = Register(writer)
                result.set(value)
                for lane in range(LANES):
                    self.put(result.lane(lane), (i, h, first + j), (part + b) * LANES + lane)

    def put(self, value: Any, at: tuple[Any, ...], c: Any) -> None:
        size, writer = self.size, self.writer

        def store() -> None:
            writer.to.buffer_store(self.d, value, [self.place(size.made, *at, c)])

        if size.width % LANES == 0:
            store()
        else:
            writer.branch(c < size.width, store)

    def value(self, i: Any, h: Any, key: Any, block: Any, values: Any) -> Any:
        size, writer, where = self.size, self.writer, self.size.given[2]
        if values is not None:
            return values[key * blocks(size.width) + block, writer.lanes()]
        place = self.place(where, i, h, key, block * LANES)
        if where.strides[3] == (1, 0):
            return self.v[writer.lanes(place)]
        fixed, named = where.strides[3]
        assert not named, "a vector's lanes lie apart by a number"
        return self.v[writer.tirx.Ramp(place, writer.long(fixed), LANES)]


def _clear(writer: Writer, sums: Sequence[Any], rows: int) -> None:
    for block in sums:
        for j in range(rows):
            writer.store(block, writer.spread(0.0), j)
