"""Convolution with stride 1 by Winograd's minimal filtering, of 3x3 and 5x5.

F(4x4,3x3) takes a quarter of the products, F(2x2,3x3) 1/2.25, F(2x2,5x5) 1/2.78. Lavin & Gray 2016, sec. 4, on blocked channels. A tile
is m x m outputs of r x r taps; it reads a = m + r - 1 rows and columns of the padded input. Two transforms surround a product for each of
the a x a positions of a tile:

    V[x,y,c,tile] = B^T d B    M[x,y,o,tile] = sum over c of U[x,y,o,c] V[x,y,c,tile]    Y[o,tile] = A^T M A
"""

from __future__ import annotations

import functools
from typing import Any

from ..host import tvm
from .epilogue import apply, read_names
from .kernel import KEPT, LANES, blocks, greatest
from .winograd_arrangement import Arrangement, Tiled, group_of, round_up
from .winograd_stream import STREAM, ask_pixels, ask_weights, asking
from .winograd_transforms import input_transform, output_transform

__all__ = ["winograd_kernel"]


@functools.lru_cache(KEPT)
def winograd_kernel(size: Tiled) -> Any:
    """(A[CIB,n,rows,cols,16], U of `weights`, bias[COB,16], what steps read besides, each as the result, D[COB,n,`stored`,16])."""
    package = tvm()
    form = size.form or size.rule
    schedule = package.s_tir.Schedule(package.te.create_prim_func(_stages(size, form)))
    if form.fused:
        _fused(schedule, size, form)
    else:
        _three(schedule, size, form)
    # positions an odd number of LANES floats, a cache's line, apart: else many share one place in a cache, for up to 1.2 times the time
    for stage in ("V", "M"):
        schedule.storage_align(schedule.get_sblock(stage), buffer_index=0, axis=2, factor=2 * LANES, offset=LANES)
    kernel = schedule.mod["main"].without_attr("global_symbol")
    image, weights, *_, result = kernel.params
    ask = functools.partial(ask_pixels, size, form.tile_cols, image, result) if form.fused else functools.partial(ask_weights, weights)
    kernel = kernel.with_body(asking(kernel.body, ask))
    return kernel.with_attr("op_pattern", 8)  # opaque: Relax fuses nothing into it


# ---- what is computed


def _stages(size: Tiled, form: Arrangement) -> list[Any]:
    """Arguments of the kernel, the last one computed from the others. Tiles and output channels are padded to what the registers hold."""
    te, tirx = tvm().te, tvm().tirx
    n = tirx.Var("n", "int64") if size.batch is None else size.batch
    m, rows, cols, (top, left, *_) = size.m, size.rows, size.cols, size.pads
    a, group = size.a, group_of(size.c_out)
    ci, co = blocks(size.c_in), blocks(size.c_out)
    padded = round_up(co, group)
    high, wide = (round_up(tiles, part) for tiles, part in zip(size.grid, (form.strip, form.tile_cols), strict=True))

    def extents(*sizes: Any) -> tuple[Any, ...]:
        """In int64, as a symbolic n is: schedules do not see through a mixture."""
        return tuple(tirx.IntImm("int64", size) if isinstance(size, int) else size for size in sizes)

    def const(value: float) -> Any:
        return tirx.const(value, "float32")

    def nth(index: Any, values: list[Any]) -> Any:
        """values[index]; the index is unrolled, so that only one is left."""
        chosen = values[-1]
        for k, value in reversed(list(enumerate(values[:-1]))):
            chosen = tirx.Select(index == k, value, chosen)
        return chosen

    x_ = te.placeholder(extents(ci, n, rows, cols, LANES), "float32", "A")
    u_ = te.placeholder(extents(*size.weights), "float32", "U")
    bias = te.placeholder(extents(co, LANES), "float32", "bias")
    shape = extents(co, n, *size.stored, LANES)
    others = [te.placeholder(shape, "float32", name) for name in read_names(size.steps)]

    def inside(b: Any, c: Any, y: Any, x: Any, lane: Any) -> Any:
        here = tirx.all(y >= top, y < rows + top, x >= left, x < cols + left)
        return tirx.if_then_else(here, x_[c, b, y - top, x - left, lane], const(0.0))

    pad = te.compute(extents(n, ci, high * m + size.r - 1, wide * m + size.r - 1, LANES), inside, "pad")

    def down(b: Any, c: Any, p: Any, q: Any, x: Any, j: Any, lane: Any) -> Any:
        return nth(x, input_transform(const, [pad[b, c, p * m + i, q * m + j, lane] for i in range(a)]))

    half = te.compute(extents(n, ci, high, wide, a, a, LANES), down, "half")

    def across(b: Any, x: Any, y: Any, c: Any, p: Any, q: Any, lane: Any) -> Any:
        return nth(y, input_transform(const, [half[b, c, p, q, x, j, lane] for j in range(a)]))

    v_ = te.compute(extents(n, a, a, ci, high, wide, LANES), across, "V")
    k, i = (te.reduce_axis((0, extent), name) for extent, name in zip(extents(ci, LANES), "ki", strict=True))

    def product(b: Any, x: Any, y: Any, o: Any, p: Any, q: Any, lane: Any) -> Any:
        weight = u_[x, y, tirx.floordiv(o, group), k, i, tirx.floormod(o, group), lane]
        return te.sum(v_[b, x, y, k, p, q, i] * weight, axis=[k, i])

    sums = te.compute(extents(n, a, a, padded, high, wide, LANES), product, "sums")

    def stored(*at: Any) -> Any:
        return sums[at]

    m_ = te.compute(extents(n, a, a, padded, high, wide, LANES), stored, "M")

    def up(b: Any, o: Any, p: Any, q: Any, y: Any, j: Any, lane: Any) -> Any:
        return nth(y, output_transform(const, m, [m_[b, x, j, o, p, q, lane] for x in range(a)]))

    back = te.compute(extents(n, padded, high, wide, m, a, LANES), up, "back")

    def output(b: Any, o: Any, h: Any, w: Any, lane: Any) -> Any:
        p, q, y, z = tirx.floordiv(h, m), tirx.floordiv(w, m), tirx.floormod(h, m), tirx.floormod(w, m)
        return nth(z, output_transform(const, m, [back[b, o, p, q, y, j, lane] for j in range(a)]))

    tiles = te.compute(extents(n, padded, high * m, wide * m, LANES), output, "tiles")

    def finished(o: Any, b: Any, h: Any, w: Any, lane: Any) -> Any:
        channel = tirx.min(o, co - 1) if size.pools and co < padded else o
        return apply(tirx, size.steps, tiles[b, o, h, w, lane] + bias[channel, lane], [other[o, b, h, w, lane] for other in others])

    if not size.pools:
        return [x_, u_, bias, *others, te.compute(shape, finished, "D")]
    whole, greater = te.compute(extents(padded, n, high * m, wide * m, LANES), finished, "whole"), greatest(tirx)

    def window(b: Any, o: Any, h: Any, w: Any, lane: Any) -> Any:
        above, below = (greater(whole[o, b, row, w * 2, lane], whole[o, b, row, w * 2 + 1, lane]) for row in (h * 2, h * 2 + 1))
        return greater(above, below)

    def cut(o: Any, b: Any, h: Any, w: Any, lane: Any) -> Any:
        return pooled[b, o, h, w, lane]

    pooled = te.compute(extents(n, padded, high * m // 2, wide * m // 2, LANES), window, "pooled")
    return [x_, u_, bias, te.compute(shape, cut, "D")]


# ---- in which order


def _fused(sch: Any, size: Tiled, form: Arrangement) -> None:
    """Parallel over runs of tiles; for each, V of all channels, the sums position by position, and the result."""
    b, o, p, y, q, z, lane = _tiles(sch, size)
    run, q = sch.split(q, [None, form.tile_cols])
    sch.reorder(b, p, run, o, q, y, z, lane)
    run = sch.fuse(b, p, run)
    sch.parallel(run)
    _output(sch, (y, z, lane), size.pools)
    sch.compute_at(sch.get_sblock("M"), run, preserve_unit_loops=True)
    o, p, q, lane = sch.get_loops(sch.get_sblock("M"))[-4:]
    groups, o = sch.split(o, [None, group_of(size.c_out)])
    _sums(sch, groups, (o, p, q, lane))
    sch.annotate(groups, STREAM, 1)
    _input(sch, run)


def _three(sch: Any, size: Tiled, form: Arrangement) -> None:
    """For each strip: V parallel over channels and rows, sums over positions and groups of outputs, the result over channels and rows."""
    b, o, p, y, q, z, lane = _tiles(sch, size)
    b, image = sch.split(b, [None, form.images])
    strip, p = sch.split(p, [None, form.strip])
    sch.reorder(b, strip, image, o, p, q, y, z, lane)
    sch.parallel(sch.fuse(image, o, p))
    _output(sch, (y, z, lane), size.pools)
    sch.compute_at(sch.get_sblock("M"), strip, preserve_unit_loops=True)
    image, x, j, o, p, q, lane = sch.get_loops(sch.get_sblock("M"))[-7:]
    groups, o = sch.split(o, [None, group_of(size.c_out)])
    rows, p = sch.split(p, [None, form.tile_rows])
    cols, q = sch.split(q, [None, form.tile_cols])
    sch.reorder(x, j, groups, image, rows, cols, o, p, q, lane)
    sch.parallel(sch.fuse(x, j, groups))
    sch.annotate(_sums(sch, cols, (o, p, q, lane)), STREAM, 1)
    sch.parallel(sch.fuse(*_input(sch, strip)))


def _tiles(sch: Any, size: Tiled) -> tuple[Any, ...]:
    """Loops over images, channels, rows of tiles and rows in a tile, columns likewise, lanes: of the last stage that has whole tiles."""
    b, o, h, w, lane = sch.get_loops(sch.get_sblock("pooled" if size.pools else "tiles"))
    side = size.m // 2 if size.pools else size.m
    return (b, o, *sch.split(h, [None, side]), *sch.split(w, [None, side]), lane)


def _output(sch: Any, inner: tuple[Any, ...], pools: bool) -> None:
    """A tile's result, row by row: both steps of the transform in registers, and the guarded, finished store.

    Stages of one tile are small, so TVM keeps them on the stack, unless they were given the scope "local": then on the heap.
    """
    y, *_ = inner
    result = sch.get_sblock("D")
    sch.reverse_compute_at(result, y, preserve_unit_loops=True)
    if pools:
        sch.compute_inline(sch.get_sblock("tiles"))
        whole = sch.get_sblock("whole")
        sch.compute_at(whole, y, preserve_unit_loops=True)
        _flatten(sch, sch.get_loops(whole)[-3:])
    back = sch.get_sblock("back")
    sch.compute_at(back, y, preserve_unit_loops=True)
    _flatten(sch, sch.get_loops(result)[-2:])
    _flatten(sch, sch.get_loops(back)[-3 if pools else -2 :])
    _flatten(sch, inner)


def _sums(sch: Any, at: Any, inner: tuple[Any, ...]) -> Any:
    """The product: sums of one register tile at loop `at` of M, all input channels at once. The loop over their blocks."""
    sums = sch.get_sblock("sums")
    sch.compute_at(sums, at, preserve_unit_loops=True)
    o, p, q, lane, k, i = sch.get_loops(sums)[-6:]
    sch.reorder(k, i, p, q, o, lane)
    _flatten(sch, (p, q, o, lane))
    sch.decompose_reduction(sums, k)
    _flatten(sch, inner)
    return k


def _input(sch: Any, at: Any) -> tuple[Any, ...]:
    """V at loop `at`, tile by tile, padding copied row by row of tiles. Its outer loops: images, channels, rows of tiles."""
    v, half, pad = (sch.get_sblock(name) for name in ("V", "half", "pad"))
    sch.compute_at(v, at, preserve_unit_loops=True)
    image, x, j, c, p, q, lane = sch.get_loops(v)[-7:]
    sch.reorder(image, c, p, q, x, j, lane)
    sch.compute_at(half, x, preserve_unit_loops=True)
    _flatten(sch, sch.get_loops(half)[-2:])
    _flatten(sch, (x, j, lane))
    sch.compute_at(pad, p, preserve_unit_loops=True)
    sch.vectorize(sch.get_loops(pad)[-1])
    return (image, c, p)


def _flatten(sch: Any, loops: Any) -> None:
    """The last loop becomes a vector, the others are written out."""
    *outer, lane = loops
    sch.vectorize(lane)
    for loop in outer:
        sch.unroll(loop)
