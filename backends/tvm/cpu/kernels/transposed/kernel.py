"""Transposed convolution on blocked tensors: as many ordinary convolutions as there are phases of its strides.

Results whose row and column leave the same remainders by the strides are one phase. What a phase reads are neighbours, by the same few of
the kernel's taps: a direct convolution of stride 1, whose result is a lattice of the whole one's pixels. So no zero between pixels is
multiplied, and nothing is added to what is already stored. Dumoulin & Visin 2016, sec. 4. Neighbouring phases with equal windows are
written once, in a loop: of 2x2 taps and stride 2 all four, of 16x16 taps and stride 8 four times sixteen.

A[CIB,n,H,W,16] B[V,16,16] bias[COB,16] R...[COB,n,H',W',16] -> D[COB,n,H',W',16], where B holds [COB,CIG,kh,kw,16,16] of each phase in
turn, with kh by kw the taps of that phase; where every channel has a filter of its own, B[V,16] holds [CB,kh,kw,16] of each.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ....processor import AVX512, Processor
from ..depthwise import filtered
from ..direct.body import Body
from ..direct.size import CACHE, MACS, ROWS, Direct, Form
from ..epilogue import Steps, read_names
from ..kernel import kind
from ..layout import LANES, Batch, blocks
from ..windows import Window, slide_row
from ..writer import Operand, Writer, blocked, prim_func
from .phases import Lattice, Transposed

__all__ = ["depthwise_transposed", "transposed"]


@kind("transposed")
def transposed(
    size: Transposed,
    batch: Batch,
    blocks_in: int,
    blocks_out: int,
    groups: int,
    steps: Steps = (),
    processor: Processor = AVX512,
    last: int = LANES,
    ending: int = LANES,
) -> Any:
    """(A, B, bias, R..., D). Groups are whole blocks. Of one group `last` and `ending` of the lanes of the last block that it reads, and
    of its result, are channels, as in `Direct`.
    """
    vectors = size.taps * blocks_out * (blocks_in // groups)
    given = [blocked("A", batch, blocks_in * LANES, size.rows, size.cols), Operand("B", (vectors, LANES, LANES))]
    results = _results(size, batch, blocks_out, steps)
    macs = size.rows * size.cols * vectors * LANES * LANES
    image = 4 * blocks_in * LANES * size.rows * size.cols
    # Row by row, and all phases of a row, for the reasons of a direct convolution. Otherwise phase by phase: the weights of all phases, of
    # one tile, fill a core's cache. 512 to 256 channels by 4x4 taps @8 took a third longer, 1024 to 512 by 2x2 @28 a tenth less.
    is_rowwise = 4 * vectors * LANES * LANES <= CACHE < image and size.rows >= ROWS
    whole = Direct(
        batch, blocks_in, LANES, Window(size.rows, size.cols, (1, 1)), blocks_out, groups, steps, None, None, processor, last, ending
    )

    def body(writer: Writer, a: Any, b: Any, bias: Any, *rest: Any) -> None:
        def row(depth: tuple[int, int, int], at: tuple[Any, Any, Any], lattice: Lattice, rows: Any, cols: Any) -> None:
            """A row of one phase, `at` an image, tile and row, for as many blocks as the depth says."""
            first, tiles, deep = depth
            part = replace(whole, window=lattice.window, form=Form(whole.widest(deep), deep, is_rowwise))
            weights = _weights(writer, b, lattice, part.weights, rows, cols)
            *read, d = (_pixels(writer, buffer, size, lattice, rows, cols) for buffer in rest)
            Body(writer, part, a, (), weights, bias, read, d).row(None, *at, first, tiles, deep)

        if is_rowwise:
            with writer.each(batch, size.places, work=macs // MACS) as (i, y):
                for depth in whole.depths():
                    with writer.loop(groups * depth[1]) as t:
                        _each_phase(writer, size, y, functools.partial(row, depth, (i, t, y)))
            return
        for lattice, depth in itertools.product(size.lattices(), whole.depths()):
            rows, cols = lattice.rows, lattice.cols
            work = rows.count * cols.count * replace(whole, window=lattice.window).macs // MACS
            with writer.each(batch, rows.count, cols.count, groups * depth[1], rows.places, work=work) as (i, p, q, t, y):
                row(depth, (i, t, y), lattice, p + rows.first, q + cols.first)

    return prim_func([*given, Operand("bias", (blocks_out, LANES)), *results], body)


@kind("depthwise transposed")
def depthwise_transposed(size: Transposed, batch: Batch, channels: int, steps: Steps = (), processor: Processor = AVX512) -> Any:
    """(A, B, bias, R..., D)."""
    count = blocks(channels)
    given = [blocked("A", batch, channels, size.rows, size.cols), Operand("B", (size.taps * count, LANES))]
    results = _results(size, batch, count, steps)
    work = count * LANES * (size.rows * size.cols * max(1, math.prod(size.kernel) // 4) + math.prod(size.out))

    def body(writer: Writer, a: Any, b: Any, bias: Any, *rest: Any) -> None:
        with writer.each(batch, count, size.places, work=work) as at:

            def phase(lattice: Lattice, rows: Any, cols: Any) -> None:
                filters = _weights(writer, b, lattice, (count, *lattice.window.kernel, LANES), rows, cols)
                *read, d = (_pixels(writer, buffer, size, lattice, rows, cols) for buffer in rest)
                slide_row(writer, lattice.window, a, at, filtered(writer, filters, bias, steps, read, d), processor)

            _each_phase(writer, size, at[-1], phase)

    return prim_func([*given, Operand("bias", (count, LANES)), *results], body)


def _results(size: Transposed, batch: Batch, count: int, steps: Steps) -> list[Operand]:
    """What steps read besides, and the result."""
    return [blocked(name, batch, count * LANES, *size.out) for name in (*read_names(steps), "D")]


def _each_phase(writer: Writer, size: Transposed, y: Any, phase: Callable[[Lattice, Any, Any], None]) -> None:
    """`phase(lattice, row, column)`, its remainders, for every phase that has a row y."""
    for lattice in size.lattices():

        def write(lattice: Lattice = lattice) -> None:
            rows, cols = lattice.rows, lattice.cols
            with writer.loop(rows.first + rows.count, rows.first) as row, writer.loop(cols.first + cols.count, cols.first) as col:
                phase(lattice, row, col)

        if lattice.rows.places == size.places:
            write()
        else:
            writer.branch(y < lattice.rows.places, write)


def _weights(writer: Writer, b: Any, lattice: Lattice, shape: Sequence[int], row: Any, col: Any) -> Any:
    """The filters of one phase among those of all."""
    before = lattice.before + ((row - lattice.rows.first) * lattice.cols.count + col - lattice.cols.first) * lattice.taps
    offset = before * (math.prod(shape) // max(1, lattice.taps))
    return writer.to.decl_buffer(list(map(writer.long, shape)), "float32", data=b.data, elem_offset=offset)


def _pixels(writer: Writer, d: Any, size: Transposed, lattice: Lattice, row: Any, col: Any) -> Any:
    """The results of one phase among those of all, [n,COB,places,places,16]."""
    (s_rows, s_cols), cols = size.op.strides, size.out[1]
    shape = [*d.shape[:2], *map(writer.long, (lattice.rows.places, lattice.cols.places, LANES))]
    strides = [*d.strides[:2], *map(writer.long, (s_rows * cols * LANES, s_cols * LANES, 1))]
    return writer.to.decl_buffer(shape, "float32", data=d.data, strides=strides, elem_offset=(row * cols + col) * LANES)
