"""In which order the stages of a Winograd convolution are computed: their loops, nested as the arrangement says."""

from __future__ import annotations

from typing import Any

from .arrangement import Arrangement, Tiled, group_of
from .stream import STREAM

__all__ = ["arrange_fused", "arrange_three"]


def arrange_fused(sch: Any, size: Tiled, form: Arrangement) -> None:
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


def arrange_three(sch: Any, size: Tiled, form: Arrangement) -> None:
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
