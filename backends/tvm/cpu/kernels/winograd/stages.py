"""What a Winograd convolution computes, stage by stage: transformed input, product, result."""

from __future__ import annotations

from typing import Any

from ....host import tvm
from ..epilogue import apply, read_names
from ..layout import LANES, blocks
from ..writer import greatest
from .arrangement import Arrangement, Tiled, group_of, round_up
from .transforms import input_transform, output_transform

__all__ = ["stages"]


def stages(size: Tiled, form: Arrangement) -> list[Any]:
    """Arguments of the kernel, the last one computed from the others."""
    space = _Space(size, form)
    image = space.given("A", space.blocks_in, space.images, size.rows, size.cols, LANES)
    weights = space.given("U", *size.weights)
    bias = space.given("bias", space.blocks_out, LANES)
    others = [space.given(name, *space.stored) for name in read_names(size.steps)]
    tiles = _transformed_back(space, _product(space, _transformed_input(space, image), weights))
    return [image, weights, bias, *others, _result(space, tiles, bias, others)]


class _Space:
    """What the stages share: extents in blocks and tiles. Tiles and output channels are padded to what the registers hold."""

    def __init__(self, size: Tiled, form: Arrangement) -> None:
        self.te, self.tirx = tvm().te, tvm().tirx
        self.size = size
        self.images = self.tirx.Var("n", "int64") * size.phases if size.images is None else size.images
        self.blocks_in, self.blocks_out = blocks(size.c_in), blocks(size.c_out)
        self.padded_out = round_up(self.blocks_out, group_of(size.c_out))
        self.high, self.wide = (round_up(tiles, part) for tiles, part in zip(size.grid, (form.strip, form.tile_cols), strict=True))
        self.stored = (self.blocks_out, self.images, *size.stored, LANES)

    def extents(self, *sizes: Any) -> tuple[Any, ...]:
        """In int64, as a symbolic n is: schedules do not see through a mixture."""
        return tuple(self.tirx.IntImm("int64", size) if isinstance(size, int) else size for size in sizes)

    def given(self, name: str, *shape: Any) -> Any:
        return self.te.placeholder(self.extents(*shape), "float32", name)

    def stage(self, name: str, shape: tuple[Any, ...], element: Any) -> Any:
        """Computed element by element; the schedule finds it by its name."""
        return self.te.compute(self.extents(*shape), element, name)

    def const(self, value: float) -> Any:
        return self.tirx.const(value, "float32")

    def nth(self, index: Any, values: list[Any]) -> Any:
        """values[index]; the index is unrolled, so that only one is left."""
        chosen = values[-1]
        for k, value in reversed(list(enumerate(values[:-1]))):
            chosen = self.tirx.Select(index == k, value, chosen)
        return chosen


def _transformed_input(space: _Space, image: Any) -> Any:
    """V[n,x,y,c,tile] = B^T d B: down the columns of each tile, then across its rows."""
    size, tirx, n, ci, high, wide = space.size, space.tirx, space.images, space.blocks_in, space.high, space.wide
    m, a, (top, left, *_) = size.m, size.a, size.pads

    def inside(b: Any, c: Any, y: Any, x: Any, lane: Any) -> Any:
        here = tirx.all(y >= top, y < size.rows + top, x >= left, x < size.cols + left)
        return tirx.if_then_else(here, image[c, b, y - top, x - left, lane], space.const(0.0))

    pad = space.stage("pad", (n, ci, high * m + size.r - 1, wide * m + size.r - 1, LANES), inside)

    def down(b: Any, c: Any, p: Any, q: Any, x: Any, j: Any, lane: Any) -> Any:
        return space.nth(x, input_transform(space.const, [pad[b, c, p * m + i, q * m + j, lane] for i in range(a)]))

    half = space.stage("half", (n, ci, high, wide, a, a, LANES), down)

    def across(b: Any, x: Any, y: Any, c: Any, p: Any, q: Any, lane: Any) -> Any:
        return space.nth(y, input_transform(space.const, [half[b, c, p, q, x, j, lane] for j in range(a)]))

    return space.stage("V", (n, a, a, ci, high, wide, LANES), across)


def _product(space: _Space, v: Any, weights: Any) -> Any:
    """M[n,x,y,o,tile], a sum over all input channels for each position of a tile."""
    te, tirx, a, group = space.te, space.tirx, space.size.a, group_of(space.size.c_out)
    shape = (space.images, a, a, space.padded_out, space.high, space.wide, LANES)
    k, i = (te.reduce_axis((0, extent), name) for extent, name in zip(space.extents(space.blocks_in, LANES), "ki", strict=True))

    def product(b: Any, x: Any, y: Any, o: Any, p: Any, q: Any, lane: Any) -> Any:
        weight = weights[x, y, tirx.floordiv(o, group), k, i, tirx.floormod(o, group), lane]
        return te.sum(v[b, x, y, k, p, q, i] * weight, axis=[k, i])

    sums = space.stage("sums", shape, product)

    def stored(*at: Any) -> Any:
        return sums[at]

    return space.stage("M", shape, stored)


def _transformed_back(space: _Space, products: Any) -> Any:
    """Y[n,o,row,column] = A^T M A, of whole tiles."""
    tirx, m, a = space.tirx, space.size.m, space.size.a
    n, padded, high, wide = space.images, space.padded_out, space.high, space.wide

    def up(b: Any, o: Any, p: Any, q: Any, y: Any, j: Any, lane: Any) -> Any:
        return space.nth(y, output_transform(space.const, m, [products[b, x, j, o, p, q, lane] for x in range(a)]))

    back = space.stage("back", (n, padded, high, wide, m, a, LANES), up)

    def output(b: Any, o: Any, h: Any, w: Any, lane: Any) -> Any:
        p, q, y, z = tirx.floordiv(h, m), tirx.floordiv(w, m), tirx.floormod(h, m), tirx.floormod(w, m)
        return space.nth(z, output_transform(space.const, m, [back[b, o, p, q, y, j, lane] for j in range(a)]))

    return space.stage("tiles", (n, padded, high * m, wide * m, LANES), output)


def _result(space: _Space, tiles: Any, bias: Any, others: list[Any]) -> Any:
    """D: tiles cut to the image, with bias and steps, and of a pool the greatest of every 2x2."""
    size, tirx, co, padded = space.size, space.tirx, space.blocks_out, space.padded_out

    def finished(o: Any, b: Any, h: Any, w: Any, lane: Any) -> Any:
        channel = tirx.min(o, co - 1) if size.pools and co < padded else o
        return apply(tirx, size.steps, tiles[b, o, h, w, lane] + bias[channel, lane], [other[o, b, h, w, lane] for other in others])

    if not size.pools:
        return space.stage("D", space.stored, finished)
    rows, cols = space.high * size.m, space.wide * size.m
    whole, greater = space.stage("whole", (padded, space.images, rows, cols, LANES), finished), greatest(tirx)

    def window(b: Any, o: Any, h: Any, w: Any, lane: Any) -> Any:
        above, below = (greater(whole[o, b, row, w * 2, lane], whole[o, b, row, w * 2 + 1, lane]) for row in (h * 2, h * 2 + 1))
        return greater(above, below)

    pooled = space.stage("pooled", (space.images, padded, rows // 2, cols // 2, LANES), window)

    def cut(o: Any, b: Any, h: Any, w: Any, lane: Any) -> Any:
        return pooled[b, o, h, w, lane]

    return space.stage("D", space.stored, cut)
