"""Gradient of a 3x3 convolution of stride 1 by its weights, by Winograd's tiles: the way back through F(m x m, 3x3).

A convolution's tile is Y = A^T (U V) A with U = G w G^T and V = B^T d B, so what a gradient g of Y adds to that of w is

    G^T (sum over tiles of (A g A^T) (B^T d B)) G

with as few products as the convolution has: a quarter for m = 4. Images and gradients are transformed a few images at a time, so that what
was transformed stays in a cache; sums are kept in the transform's domain and transformed back once. The last tiles of a row or column
that have fewer results are evaluated at fewer points, and add to those points' sums alone: of 14x14 that is 484 products, and not 576. The
order of every sum is that of the images and tiles, for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ......ir.ops.window import Pads, Pair
from ....processor import AVX512, Processor
from ..kernel import kind
from ..layout import LANES, Batch, blocks
from ..moves import transposed
from ..writer import Operand, Writer, blocked, prim_func
from .arrangement import Tiled, ceil_div
from .transforms import (
    adjoint_output_transform,
    filter_transform,
    gradient_of_part,
    input_of_part,
    input_transform,
    places_of_part,
)

__all__ = ["TiledWeightGradient", "points_along", "tiled_weight_gradient"]

R = 3
TILES_AT_ONCE = 100  # of a chunk of images at least, where there are as many: of 256, 64 channels @56 took 1.1 times as long
CHAIN = 256  # tiles that are added up in turn
SUMS = 24  # of LANES floats, in registers


@dataclass(frozen=True, slots=True)
class TiledWeightGradient:
    """Sizes of F(m x m, 3x3): an image of rows x cols, with pads (top, left, bottom, right) >= 0."""

    m: int
    batch: Batch
    c_in: int
    c_out: int
    rows: int
    cols: int
    pads: Pads
    processor: Processor = AVX512

    @property
    def convolution(self) -> Tiled:
        """What it is a gradient of, which has the same tiles."""
        return Tiled(self.m, self.batch, self.c_in, self.c_out, self.rows, self.cols, self.pads, r=R)

    @property
    def a(self) -> int:
        return self.convolution.a

    @property
    def out(self) -> Pair:
        return self.convolution.out

    @property
    def grid(self) -> Pair:
        return self.convolution.grid

    @property
    def last(self) -> Pair:
        """Rows and columns of results of the last tiles, as they are evaluated. A lone tile is whole, so that each point has some sum."""
        high, wide = (_last(self.m, size) for size in self.out)
        return high, wide

    def places(self, results: int) -> list[int]:
        """The points at which a tile of so many results along an axis is evaluated."""
        return _places(self.m, results)

    def grid_at(self, *point: int) -> Pair:
        """Rows and columns of tiles that are evaluated at a point."""
        high, wide = (count - (x not in self.places(last)) for x, count, last in zip(point, self.grid, self.last, strict=True))
        return high, wide

    @property
    def counts(self) -> Pair:
        """Blocks of channels and of filters."""
        return blocks(self.c_in), blocks(self.c_out)

    @property
    def images(self) -> int:
        """That are transformed at once."""
        high, wide = self.grid
        wanted = ceil_div(TILES_AT_ONCE, high * wide)
        return wanted if self.batch is None else max(1, min(wanted, self.batch))

    @property
    def tiles(self) -> int:
        high, wide = self.grid
        return self.images * high * wide

    @property
    def chains(self) -> tuple[int, int]:
        """Tiles that are added up in turn, and how many such sums are: of one image for a batch with a name."""
        each = min(self.tiles, CHAIN)
        return each, ceil_div(self.batch or 1, self.images) * ceil_div(self.tiles, CHAIN)

    @property
    def deep(self) -> int:
        """Blocks of filters in a register tile."""
        return 2 if self.counts[1] % 2 == 0 and self.processor.lanes >= LANES else 1

    @property
    def lanes(self) -> int:
        """Channels in a register tile: a divisor of a block."""
        most = min(SUMS, self.processor.sums(LANES)) // self.deep
        return max(lanes for lanes in (1, 2, 4, 8, 16) if lanes == 1 or lanes <= most)


def points_along(m: int, size: int) -> int:
    """At which all tiles of an axis of so many results are evaluated: the products are as many as those of rows and columns multiply to."""
    return (ceil_div(size, m) - 1) * (m + R - 1) + len(_places(m, _last(m, size)))


def _last(m: int, size: int) -> int:
    count = ceil_div(size, m)
    return size - (count - 1) * m if m == 4 and count > 1 else m


def _places(m: int, results: int) -> list[int]:
    return list(range(m + R - 1)) if results == m else places_of_part(m, results)


@kind("winograd weight gradient")
def tiled_weight_gradient(size: TiledWeightGradient) -> Any:
    """(A[CB,n,H,W,16], G[OB,n,H',W',16], D[O,C,3,3])."""
    given = blocked("A", size.batch, size.c_in, size.rows, size.cols), blocked("G", size.batch, size.c_out, *size.out)
    made = Operand("D", (size.c_out, size.c_in, R, R))

    def body(writer: Writer, a: Any, g: Any, d: Any) -> None:
        _TileBody.of(writer, size, a, g).write(d)

    return prim_func([*given, made], body)


@dataclass(frozen=True, slots=True)
class _TileBody:
    """`seen` and `wanted` are the tiles of A and G transformed, [position,tile,block,16]; `sums` [position,OB,CB,16,16]."""

    writer: Writer
    size: TiledWeightGradient
    a: Any
    g: Any
    seen: Any
    wanted: Any
    sums: Any

    @staticmethod
    def of(writer: Writer, size: TiledWeightGradient, a: Any, g: Any) -> _TileBody:
        """Positions are an odd number of cache lines apart: else many share one place in a cache."""
        (blocks_in, blocks_out), positions = size.counts, size.a**2

        def scratch(*shape: int) -> Any:
            lines, inner = math.prod(shape) | 1, [math.prod(shape[axis:]) * LANES for axis in range(1, len(shape) + 1)]
            memory = writer.to.alloc_buffer((positions * lines, LANES), "float32", scope="global")
            extents, strides = (positions, *shape, LANES), (lines * LANES, *inner, 1)
            return writer.to.decl_buffer([*map(writer.long, extents)], "float32", data=memory.data, strides=[*map(writer.long, strides)])

        seen, wanted = scratch(blocks_in, size.tiles), scratch(blocks_out, size.tiles)
        return _TileBody(writer, size, a, g, seen, wanted, scratch(blocks_out, blocks_in, LANES))

    def write(self, d: Any) -> None:
        writer, size = self.writer, self.size
        number = writer.batch if size.batch is None else writer.long(size.batch)
        with writer.loop((number + (size.images - 1)) // size.images) as chunk:
            first = writer.keep(chunk * size.images)
            images = writer.keep(writer.tirx.min(writer.long(size.images), number - first))
            self.transform(self.a, self.seen, first, images)
            self.transform(self.g, self.wanted, first, images)
            self.add(images, chunk == 0)
        self.finish(d)

    def transform(self, source: Any, made: Any, first: Any, images: Any) -> None:
        """The tiles of some images, a row of them at a time: copied with zeros around, so that no tile asks where an edge is."""
        writer, size, (high, wide) = self.writer, self.size, self.size.grid
        m, (last_high, last_wide), is_image = size.m, size.last, source is self.a
        count, (rows, cols) = size.counts[0 if is_image else 1], (size.rows, size.cols) if is_image else size.out
        (above, left), more = (size.pads[:2], R - 1) if is_image else ((0, 0), 0)
        width = (wide - 1) * m + last_wide + more
        with writer.to.parallel(writer.long(0), images * (count * high)) as task:
            block, image, p = writer.keep(task // (images * high)), writer.keep(task // high % images), writer.keep(task % high)
            strip = writer.to.alloc_buffer((m + more, width, LANES), "float32", scope="global")

            def row(results: int) -> None:
                for i in range(results + more):
                    self._row(strip, i, (source, first + image, block, writer.keep(p * m + (i - above))), (rows, cols, left, width))
                whole = wide if last_wide == m else wide - 1
                with writer.loop(whole) as q:
                    self._tile(strip, made, (block, image, p, q), (results, m), more)
                if whole < wide:
                    self._tile(strip, made, (block, image, p, writer.long(whole)), (results, last_wide), more)

            if last_high == m:
                row(m)
            else:
                writer.branch(p < high - 1, lambda: row(m), lambda: row(last_high))

    def _tile(self, strip: Any, made: Any, at: tuple[Any, ...], results: Pair, more: int) -> None:
        """One of so many rows and columns of results, each point's among its like."""
        writer, size, (block, image, p, q) = self.writer, self.size, at
        downs, alongs = map(size.places, results)
        grids = {size.grid_at(x, y) for x in downs for y in alongs}
        tiles = {(high, wide): writer.keep((image * high + p) * wide + q) for high, wide in sorted(grids)}

        def way(count: int) -> Callable[[list[Any]], Sequence[Any]]:
            ways = (input_transform, input_of_part) if more else (adjoint_output_transform, gradient_of_part)
            return lambda values: ways[count < size.m](writer.vectors.const, values)

        def load(i: int, j: int) -> Any:
            return writer.load(strip, i, q * size.m + j)

        def store(x: int, y: int, value: Any) -> None:
            position = downs[x], alongs[y]
            writer.store(made, value, position[0] * size.a + position[1], block, tiles[size.grid_at(*position)])

        self._both((way(results[0]), way(results[1])), (results[0] + more, results[1] + more), load, store)

    def _row(self, strip: Any, i: int, source: tuple[Any, ...], extents: tuple[int, int, int, int]) -> None:
        """A row of an image, moved right by `left`; zeros beside it, and where there is no such row."""
        writer, (image, *at), (rows, cols, left, width) = self.writer, source, extents
        end = min(width, left + cols)

        def zeros(first: int, last: int) -> None:
            if first < last:
                with writer.loop(last, first) as x:
                    writer.store(strip, writer.spread(0.0), i, x)

        def copied() -> None:
            zeros(0, left)
            with writer.loop(end, left) as x:
                writer.store(strip, writer.load(image, *at, x - left), i, x)
            zeros(end, width)

        row = at[-1]
        writer.branch(writer.tirx.And(row >= 0, row < rows), copied, lambda: zeros(0, width))

    def _both(
        self,
        ways: tuple[Callable[[list[Any]], Sequence[Any]], Callable[[list[Any]], Sequence[Any]]],
        sides: Pair,
        load: Callable[[int, int], Any],
        store: Callable[[int, int, Any], None],
    ) -> None:
        """A transform down the columns of a tile, then across its rows."""
        writer, (down, along), (high, wide) = self.writer, ways, sides
        columns = [[writer.settle(value) for value in down([load(i, j) for i in range(high)])] for j in range(wide)]
        for x, row in enumerate(zip(*columns, strict=True)):
            for y, value in enumerate(along(list(row))):
                store(x, y, value)

    def add(self, images: Any, is_first: Any) -> None:
        """The products of a chunk: for each position and some filters, channel by channel, over all its tiles."""
        writer, size, (blocks_in, blocks_out) = self.writer, self.size, self.size.counts
        deep, lanes, positions = size.deep, size.lanes, size.a**2
        groups = blocks_out // deep
        with writer.to.parallel(writer.long(0), writer.long(positions * groups)) as task:
            turn, o = writer.keep(task // groups), writer.keep(task % groups * deep)
            position = turn
            if size.last != (size.m, size.m):  # from both halves by turns: those of fewer tiles lie together, and threads take neighbours
                position = writer.keep(turn // 2 + turn % 2 * (positions // 2))
            tiles = writer.keep(images * self._tiles(position))
            with writer.loop(blocks_in) as c, writer.loop(LANES // lanes) as part:
                sums = [writer.registers(lanes) for _ in range(deep)]
                with writer.loop((tiles + (CHAIN - 1)) // CHAIN) as chain:
                    for each in sums:
                        for k in range(lanes):
                            writer.store(each, writer.spread(0.0), k)
                    start = writer.keep(chain * CHAIN)
                    with writer.loop(writer.keep(writer.tirx.min(start + CHAIN, tiles)), start) as tile:
                        wanted = [writer.load(self.wanted, position, o + q, tile) for q in range(deep)]
                        for k in range(lanes):
                            pixel = writer.keep(writer.spread(self.seen[position, c, tile, part * lanes + k]))
                            for each, g in zip(sums, wanted, strict=True):
                                writer.store(each, each[(k, writer.lanes())] + pixel * g, k)
                    is_new = writer.keep(writer.tirx.And(is_first, chain == 0))
                    for q, each in enumerate(sums):
                        for k in range(lanes):
                            at = (position, o + q, c, part * lanes + k)
                            had = writer.tirx.if_then_else(is_new, writer.spread(0.0), self.sums[(*at, writer.lanes())])
                            writer.store(self.sums, had + writer.load(each, k), *at)

    def _tiles(self, position: Any) -> Any:
        """Of an image, at a position."""
        size, tirx = self.size, self.writer.tirx

        def count(x: Any, axis: int) -> Any:
            whole, last = size.grid[axis], size.last[axis]
            return self.writer.long(whole) - tirx.Cast("int64", tirx.And(x > last, x <= size.m)) if last < size.m else whole

        return count(position // size.a, 0) * count(position % size.a, 1)

    def finish(self, d: Any) -> None:
        """G^T sums G, turned to [O,C,3,3]."""
        writer, size, (blocks_in, blocks_out) = self.writer, self.size, self.size.counts
        a, to_w = size.a, filter_transform(size.m, R).T

        def way(values: list[Any]) -> list[Any]:
            made: list[Any] = []
            for factors in to_w:
                terms = [
                    value if factor == 1 else value * writer.vectors.const(float(factor))
                    for factor, value in zip(factors, values, strict=True)
                    if factor
                ]
                made.append(writer.pairwise(terms, lambda x, y: x + y))
            return made

        with writer.to.parallel(writer.long(0), writer.long(blocks_out * blocks_in)) as task:
            o, c = writer.keep(task // blocks_in), writer.keep(task % blocks_in)
            taps = writer.to.alloc_buffer((LANES * R * R, LANES), "float32", scope="global")
            with writer.loop(writer.tirx.min(writer.long(LANES), size.c_in - c * LANES)) as lane:
                self._both(
                    (way, way),
                    (a, a),
                    lambda x, y: writer.load(self.sums, x * a + y, o, c, lane),
                    lambda row, col, value: writer.store(taps, value, lane * (R * R) + (row * R + col)),
                )
            full, left = divmod(size.c_out, LANES)
            if left and full:
                writer.branch(o < full, lambda: self._turn_out(taps, d, o, c, LANES), lambda: self._turn_out(taps, d, o, c, left))
            else:
                self._turn_out(taps, d, o, c, left or LANES)

    def _turn_out(self, taps: Any, d: Any, o: Any, c: Any, used: int) -> None:
        """A block of channels for so many filters: taps[channel*tap,16 filters] to whole vectors of D's rows, where channels make some."""
        writer, (full, left) = self.writer, divmod(self.size.c_in, LANES)
        rows, each = writer.alias(d, (self.size.c_in * R * R,)), LANES * R * R

        def vectors() -> None:
            with writer.loop(R * R) as part:
                given = [writer.load(taps, part * LANES + k) for k in range(LANES)]
                for k, vector in enumerate(transposed(writer, given)[:used]):
                    writer.to.buffer_store(rows, vector, [o * LANES + k, writer.lanes(c * each + part * LANES)])

        def floats() -> None:
            with writer.loop(left * R * R) as tap:
                for k in range(used):
                    writer.to.buffer_store(rows, taps[tap, k], [o * LANES + k, c * each + tap])

        if left and full:
            writer.branch(c < full, vectors, floats)
        else:
            (floats if left else vectors)()
