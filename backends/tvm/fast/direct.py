"""Direct convolution on blocked tensors: a register tile of output pixels by vectors of 16 channels, no tuner.

A[n,CIB,H,W,16] B[COB,CIG,KH,KW,16,16] bias[COB,16] R...[n,COB,OH,OW,16] -> D[n,COB,OH,OW,16], where CIG are the input blocks
of a group. A first layer reads an image of few channels as it is, [n,C,H,W], and its weights are [COB,1,KH,KW,C,16]. The sum
runs over input blocks, taps and lanes in turn; the tile's sums stay in registers until it is done.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.ops.window import Pads, Pair, dilated
from ....ir.types import Array
from ..host import tvm
from .epilogue import Step, apply
from .kernel import LANES, blocks

__all__ = ["Direct", "direct", "long", "pack", "pack_bias"]

REGISTERS = 28  # accumulators of a tile; AVX-512 has 32 registers
OPAQUE = 8  # TVM's pattern of kernels that nothing is fused into


@dataclass(frozen=True, slots=True)
class Direct:
    """One convolution's sizes. `lanes_in` is the input's block, 16 or, for a first layer, its few channels."""

    batch: int | None  # None: a named size
    blocks_in: int
    lanes_in: int
    rows: int
    cols: int
    blocks_out: int
    kernel: Pair
    strides: Pair
    pads: Pads
    dilations: Pair
    groups: int
    steps: tuple[Step, ...]

    @property
    def out(self) -> Pair:
        """Rows and columns of the result."""
        top, left, bottom, right = self.pads
        extents = (dilated(k, d) for k, d in zip(self.kernel, self.dilations, strict=True))
        sizes = (self.rows + top + bottom, self.cols + left + right)
        rows, cols = ((size - extent) // stride + 1 for size, extent, stride in zip(sizes, extents, self.strides, strict=True))
        return rows, cols

    @property
    def tile(self) -> tuple[int, int, int]:
        """(columns, blocks, rows) of a register tile. Rows and columns divide the result; more sums hide more latency.

        A single row of seven columns by four blocks was measured to spill, so three blocks are the most.
        """
        rows, cols = self.out
        per_group = self.blocks_out // self.groups
        best, score = (1, 1, 1), (0, 0, 0)
        for blocks_ in (1, 2, 3):
            for height in _divisors(rows, 4):
                for width in _divisors(cols, REGISTERS):
                    sums = blocks_ * height * width
                    if per_group % blocks_ or sums > REGISTERS:
                        continue
                    found = (min(sums, 20), blocks_ == 2, width)
                    if found > score:
                        best, score = (width, blocks_, height), found
        return best


def pack(w: Array, lanes_in: int, groups: int) -> Array:
    """[O,C/groups,KH,KW] as [COB,CIG,KH,KW,lanes_in,16] with zeros for lanes of padding.

    Groups are whole blocks here; narrower ones are widened first, by zeros between them.
    """
    c_out, c_in, *kernel = w.shape
    per_out = c_out // groups
    blocks_in = -(-c_in // lanes_in)
    padded = np.zeros((groups, blocks(per_out) * LANES, blocks_in * lanes_in, *kernel), np.float32)
    padded[:, :per_out, :c_in] = w.reshape(groups, per_out, c_in, *kernel)
    split = padded.reshape(groups * blocks(per_out), LANES, blocks_in, lanes_in, *kernel)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 5, 3, 1))


def pack_bias(b: Array | None, c_out: int) -> Array:
    """[O] as [COB,16]."""
    packed = np.zeros(blocks(c_out) * LANES, np.float32)
    if b is not None:
        packed[:c_out] = b
    return packed.reshape(-1, LANES)


def long(*extents: Any) -> tuple[Any, ...]:
    """Extents in int64, as a named batch is: schedules do not see through a mixture."""
    return tuple(tvm().tirx.IntImm("int64", extent) if isinstance(extent, int) else extent for extent in extents)


@functools.cache
def direct(size: Direct) -> Any:
    """The scheduled PrimFunc."""
    host = tvm()
    te, tirx = host.te, host.tirx
    n = tirx.Var("n", "int64") if size.batch is None else size.batch
    (k_rows, k_cols), (s_rows, s_cols), (d_rows, d_cols) = size.kernel, size.strides, size.dilations
    (top, left, bottom, right), (rows, cols) = size.pads, size.out
    per_in, per_out = size.blocks_in // size.groups, size.blocks_out // size.groups
    zero = tirx.const(0.0, "float32")
    is_image = size.lanes_in < LANES
    given = (n, size.lanes_in, size.rows, size.cols) if is_image else (n, size.blocks_in, size.rows, size.cols, LANES)
    a = te.placeholder(long(*given), "float32", "A")
    b = te.placeholder(long(size.blocks_out, per_in, k_rows, k_cols, size.lanes_in, LANES), "float32", "B")
    bias = te.placeholder(long(size.blocks_out, LANES), "float32", "bias")
    shape = long(n, size.blocks_out, rows, cols, LANES)
    others = [te.placeholder(shape, "float32", f"R{i}") for i in range(sum(step.reads for step in size.steps))]

    def inside(i: Any, c: Any, y: Any, x: Any, lane: Any) -> Any:
        hits = tirx.all(y >= top, y < size.rows + top, x >= left, x < size.cols + left)
        return tirx.if_then_else(hits, a[i, lane, y - top, x - left] if is_image else a[i, c, y - top, x - left, lane], zero)

    is_padded = any(size.pads) or is_image
    grown = long(n, size.blocks_in, size.rows + top + bottom, size.cols + left + right, size.lanes_in)
    padded = te.compute(grown, inside, "pad") if is_padded else a
    extents = zip(("block", "k_row", "k_col", "lane_in"), long(per_in, k_rows, k_cols, size.lanes_in), strict=True)
    block, k_row, k_col, lane_in = (te.reduce_axis((0, extent), name) for name, extent in extents)

    def product(i: Any, o: Any, y: Any, x: Any, lane: Any) -> Any:
        first = tirx.floordiv(o, per_out) * per_in if size.groups > 1 else 0
        pixel = padded[i, first + block, y * s_rows + k_row * d_rows, x * s_cols + k_col * d_cols, lane_in]
        return te.sum(pixel * b[o, block, k_row, k_col, lane_in, lane], axis=[block, k_row, k_col, lane_in])

    conv = te.compute(shape, product, "conv")

    def finished(i: Any, o: Any, y: Any, x: Any, lane: Any) -> Any:
        at = (i, o, y, x, lane)
        return apply(tirx, size.steps, conv[at] + bias[o, lane], [other[at] for other in others])

    d = te.compute(shape, finished, "epilogue")
    schedule = host.s_tir.Schedule(te.create_prim_func([a, b, bias, *others, d]))
    _schedule(schedule, size, is_padded)
    return schedule.mod["main"].with_attr("op_pattern", OPAQUE)


def _schedule(schedule: Any, size: Direct, is_padded: bool) -> None:
    width, blocks_, height = size.tile
    conv, epilogue = schedule.get_sblock("conv"), schedule.get_sblock("epilogue")
    if is_padded:
        *outer, _, lane = schedule.get_loops(schedule.get_sblock("pad"))
        if size.lanes_in == LANES:
            schedule.vectorize(lane)
        schedule.parallel(schedule.fuse(*outer))
    i, o, y, x, lane = schedule.get_loops(epilogue)
    o, o_in = schedule.split(o, [None, blocks_])
    x, x_in = schedule.split(x, [None, width])
    y, y_in = schedule.split(y, [None, height])
    schedule.reorder(i, o, y, x, y_in, x_in, o_in, lane)
    schedule.parallel(schedule.fuse(i, o, y))
    schedule.compute_at(conv, x, preserve_unit_loops=True)
    schedule.set_scope(conv, 0, "local")
    o_in, y_in, x_in, lane, block, k_row, k_col, lane_in = schedule.get_loops(conv)[-8:]
    schedule.reorder(block, k_row, k_col, lane_in, y_in, x_in, o_in, lane)
    schedule.vectorize(lane)
    for loop in (y_in, x_in, o_in):
        schedule.unroll(loop)
    schedule.decompose_reduction(conv, block)
    *unrolled, lane = schedule.get_loops(epilogue)[-4:]
    schedule.vectorize(lane)
    for loop in unrolled:
        schedule.unroll(loop)


def _divisors(number: int, most: int) -> list[int]:
    return [divisor for divisor in range(1, min(number, most) + 1) if number % divisor == 0]
