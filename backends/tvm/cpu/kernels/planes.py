"""Depthwise convolution of an image of few channels as it lies, [n,C,H,W]: lanes are neighbours in a row of the result.

In blocks such an image would fill 3 of 16 lanes. Vectors at the edges are read where the image still is, lanes moved and zeros put in.
The last vector of a row lies at its end, over results of the one before it, so steps read nothing besides: it could be overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .....ir.ops.window import Pair
from ...processor import AVX512, Processor
from .epilogue import Steps, apply
from .kernel import kind
from .layout import LANES, Batch, Packing
from .windows import Window, tap_rows
from .writer import Operand, Writer, prim_func

__all__ = ["can_slide", "depthwise_planes", "plane_filters"]

TILES = 4  # vectors of sums at once, where there are registers: they share what is read of the weights


def can_slide(window: Window) -> bool:
    """Whether neighbours in the result come from neighbours in the image, and a vector fits both."""
    return window.strides[1] == 1 and min(window.cols, window.out[1]) >= LANES


def plane_filters(channels: int, kernel: Pair) -> Packing:
    """[C,1,KH,KW] as [C,KH,KW]."""
    return Packing((channels, *kernel), lambda w: w[:, 0])


@kind("depthwise planes")
def depthwise_planes(batch: Batch, channels: int, window: Window, steps: Steps = (), processor: Processor = AVX512) -> Any:
    """(A[n,C,H,W], W[C,KH,KW], bias[C], D[n,C,OH,OW])."""
    rows, cols = window.out
    edges, inner = _tiles(window)
    most = min(TILES, processor.sums(LANES))

    def body(writer: Writer, a: Any, w: Any, bias: Any, d: Any) -> None:
        def tiles(at: tuple[Any, ...], starts: Sequence[Any]) -> None:
            """Those that start at these columns of row `at`: numbers, or an expression where no window leaves the row."""
            i, c, y = at
            sums = writer.registers(len(starts))
            for j in range(len(starts)):
                writer.store(sums, writer.spread(bias[c]), j)
            above, below = tap_rows(writer, window, y)
            with writer.loop(below, above) as k_row:
                row = y * window.strides[0] + (k_row * window.dilations[0] - window.pads[0])
                for k_col in range(window.kernel[1]):
                    factor = writer.keep(writer.spread(w[c, k_row, k_col]))
                    for j, start in enumerate(starts):
                        pixels = _pixels(writer, window, a, (i, c, row), start + (k_col * window.dilations[1] - window.pads[1]))
                        writer.store(sums, sums[(j, writer.lanes())] + pixels * factor, j)
            for j, start in enumerate(starts):
                writer.to.buffer_store(d, apply(writer.vectors, steps, writer.load(sums, j), []), [*at, writer.lanes(start)])

        with writer.each(batch, channels, rows, work=channels * rows * cols * max(2, math.prod(window.kernel) // 4)) as at:
            place = (at[0], at[1], at[2])
            for start in edges:
                tiles(place, [start])
            groups, left = divmod(len(inner), most)
            if groups:
                with writer.loop(groups) as group:
                    first = writer.keep(group * (most * LANES) + inner[0])
                    tiles(place, [first + j * LANES for j in range(most)])
            if left:
                tiles(place, [writer.long(start) for start in inner[-left:]])

    weights = [Operand("W", (channels, *window.kernel)), Operand("bias", (channels,))]
    return prim_func(
        [Operand("A", (batch, channels, window.rows, window.cols)), *weights, Operand("D", (batch, channels, rows, cols))], body
    )


def _tiles(window: Window) -> tuple[list[int], list[int]]:
    """First columns of the vectors of a row: those whose windows reach over an edge, and the others. The last lies at the end."""
    cols = window.out[1]
    starts = [*range(0, cols - LANES, LANES), cols - LANES]
    least, most = -window.pads[1], (window.kernel[1] - 1) * window.dilations[1] - window.pads[1] + LANES
    inner = [start for start in starts if start % LANES == 0 and start + least >= 0 and start + most <= window.cols]
    return [start for start in starts if start not in inner], inner


def _pixels(writer: Writer, window: Window, a: Any, row: tuple[Any, ...], first: Any) -> Any:
    """The vector of a row of the image from column `first` on, zeros beyond its ends."""
    if not isinstance(first, int):
        return writer.keep(a[(*row, writer.lanes(first))])
    start = min(max(first, 0), window.cols - LANES)
    there = [first + lane - start for lane in range(LANES)]
    pixels = writer.keep(a[(*row, writer.lanes(start))])
    if start == first:
        return pixels
    return writer.blend([pixels, writer.spread(0.0)], [lane if 0 <= lane < LANES else LANES for lane in there])
