"""Direct convolution of volumes as they lie, [n,C,D,H,W]: lanes are channels of the result, and tiles of its columns stay in registers.

Elements of the input are spread over the lanes as they are read. Results leave their registers once, when all their products are summed,
and are stored lane by lane. A net of two 3x3x3 layers, 3 to 32 channels @8x56x56 and 32 to 64 @8x28x28, takes 20 ms; by the stock rows it
took 1.1 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .....ir.ops.window import PerAxis
from .....ir.types import Array
from ...processor import AVX512, Processor
from .epilogue import Steps, apply
from .kernel import kind
from .layout import LANES, Batch, Packing, blocks
from .windows import WIDEST, TileRun, Window, tap_rows
from .writer import Operand, Writer, prim_func

__all__ = ["Volume", "direct_volume", "volume_filters"]


@dataclass(frozen=True, slots=True)
class Volume:
    """A convolution's way over volumes: `slices` goes along the depth, as over rows, `window` over rows and columns."""

    batch: Batch
    c_in: int
    c_out: int
    slices: Window
    window: Window

    @property
    def out(self) -> PerAxis:
        return (self.slices.out[0], *self.window.out)

    @property
    def kernel(self) -> PerAxis:
        return (self.slices.kernel[0], *self.window.kernel)


def volume_filters(c_in: int, c_out: int, kernel: PerAxis) -> Packing:
    """[O,C,KD,KH,KW] as [OB,KD,KH,C,KW,LANES], zeros behind the last channel."""
    shape = (blocks(c_out), *kernel[:2], c_in, kernel[2], LANES)

    def pack(w: Array) -> Array:
        whole = np.zeros((shape[0] * LANES, *w.shape[1:]), np.float32)
        whole[:c_out] = w
        return np.ascontiguousarray(whole.reshape(shape[0], LANES, c_in, *kernel).transpose(0, 3, 4, 2, 5, 1))

    return Packing(shape, pack)


@kind("direct volume")
def direct_volume(size: Volume, steps: Steps = (), processor: Processor = AVX512) -> Any:
    """(A[n,C,D,H,W], W[OB,KD,KH,C,KW,LANES], bias[OB,LANES], D[n,O,D',H',W'])."""
    count, (depths, rows, _) = blocks(size.c_out), size.out
    runs = size.window.runs(min(WIDEST, processor.floats // (2 * LANES)))
    work = count * LANES * math.prod(size.out) * max(1, size.c_in * math.prod(size.kernel) // 4)

    def body(writer: Writer, a: Any, w: Any, bias: Any, d: Any) -> None:
        with writer.each(size.batch, count, depths, rows, work=work) as (i, o, z, y):
            for run in runs:
                width = len(run.columns)
                with writer.loop(run.tiles) as tile:
                    left = tile * width + run.first
                    sums = writer.registers(width)
                    for j in range(width):
                        writer.store(sums, writer.load(bias, o), j)
                    _products(writer, size, run, (a, w), (i, o, z, y, left), sums)
                    done = writer.registers(width)  # read by lanes that are no numbers, so in memory, which sums may not be
                    for j in range(width):
                        writer.store(done, apply(writer.vectors, steps, writer.load(sums, j), []), j)
                    with writer.loop(writer.tirx.min(size.c_out - o * LANES, writer.long(LANES))) as lane:
                        for j in range(width):
                            writer.to.buffer_store(d, done[(j, lane)], [i, o * LANES + lane, z, y, left + j])

    window, weights = size.window, volume_filters(size.c_in, size.c_out, size.kernel).shape
    given = Operand("A", (size.batch, size.c_in, size.slices.rows, window.rows, window.cols))
    result = Operand("D", (size.batch, size.c_out, *size.out))
    return prim_func([given, Operand("W", weights), Operand("bias", (count, LANES)), result], body)


def _products(writer: Writer, size: Volume, run: TileRun, operands: tuple[Any, Any], at: tuple[Any, ...], sums: Any) -> None:
    """All of a tile's. Which taps of a column lie in the volume is known here; which depths and rows do is found once a row."""
    (a, w), (i, o, z, y, left), window = operands, at, size.window
    start = writer.keep(left * window.strides[1] - window.pads[1])
    with writer.loop(*reversed(tap_rows(writer, size.slices, z))) as k_depth:
        depth = writer.keep(z * size.slices.strides[0] + (k_depth * size.slices.dilations[0] - size.slices.pads[0]))
        with writer.loop(*reversed(tap_rows(writer, window, y))) as k_row, writer.loop(size.c_in) as c:
            row = y * window.strides[0] + (k_row * window.dilations[0] - window.pads[0])
            read: dict[int, Any] = {}
            for tap in range(window.kernel[1]):
                factor = writer.load(w, o, k_depth, k_row, c, tap)
                for j, column in enumerate(run.columns):
                    if tap in column.taps:
                        place = j * window.strides[1] + tap * window.dilations[1]
                        if place not in read:
                            read[place] = writer.keep(writer.spread(a[i, c, depth, row, start + place]))
                        writer.store(sums, sums[(j, writer.lanes())] + read[place] * factor, j)
