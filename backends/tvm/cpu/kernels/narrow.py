"""Convolution in groups of 2, 4 or 8 channels on blocked tensors, of which a vector holds several whole.

A group has as many results as channels, and both lie in the same lanes, in other places. So a vector of pixels is multiplied by as many
vectors of weights as a group has channels: the r-th takes lane p of a group to lane p + r of it, around its end. Each has a sum of its own,
and only when all taps are done are the sums turned to their lanes and added up: within the loop no lane moves, and none is multiplied by a
zero, as where groups are widened to whole blocks. For groups of 8, 104 channels @28, that takes a tenth of the time; 256 channels, half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .....ir.ops.window import Pair
from .....ir.types import Array
from ...processor import AVX512, Processor
from .epilogue import Steps, apply, read_names
from .kernel import kind
from .layout import LANES, Batch, Packing, block_channels, blocks
from .windows import UNROLLED, WIDEST, TileRun, Window, tap_rows
from .writer import Operand, Writer, blocked, prim_func

__all__ = ["GROUPS", "can_turn", "narrow", "narrow_filters"]

GROUPS = (2, 4, 8)  # channels of a group


def can_turn(groups: int, c_in: int, c_out: int, kernel: Pair) -> bool:
    """Whether these are groups of whole lanes, whose windows may be written out along a row."""
    return c_in == c_out and c_in // groups in GROUPS and kernel[1] <= UNROLLED


def narrow_filters(channels: int, group: int, kernel: Pair) -> Packing:
    """[C,group,KH,KW] as [CB,KH,KW,group,LANES]: of turn r, what lane p of a group gives to lane (p + r) % group."""

    def pack(w: Array) -> Array:
        place = np.arange(channels) % group
        turns = [w[np.arange(channels) - place + (place + r) % group, place] for r in range(group)]
        return np.ascontiguousarray(block_channels(np.stack(turns, axis=-1)))

    return Packing((blocks(channels), *kernel, group, LANES), pack)


@kind("narrow groups")
def narrow(batch: Batch, channels: int, group: int, window: Window, steps: Steps = (), processor: Processor = AVX512) -> Any:
    """(A, W[CB,KH,KW,group,LANES], bias[CB,LANES], R..., D)."""
    count, (rows, cols) = blocks(channels), window.out
    others = [blocked(name, batch, channels, rows, cols) for name in read_names(steps)]
    weights = [Operand("W", (count, *window.kernel, group, LANES)), Operand("bias", (count, LANES))]
    tile = _Turns.that_fit(group, processor)
    work = count * LANES * rows * cols * max(2, math.prod(window.kernel) * group // 4)

    def body(writer: Writer, a: Any, w: Any, bias: Any, *rest: Any) -> None:
        *read, d = rest
        with writer.each(batch, count, rows, work=work) as (i, c, y):
            for run in window.runs(tile.columns):
                with writer.loop(run.tiles) as number:
                    left = writer.keep(number * len(run.columns) + run.first)
                    totals = _totals(writer, window, tile, run, (a, w, bias), (i, c, y, left))
                    for j, total in enumerate(totals):
                        at = (i, c, y, left + j)
                        values = [writer.load(other, *at) for other in read]
                        writer.store(d, apply(writer.vectors, steps, total, values), *at)

    given = blocked("A", batch, channels, window.rows, window.cols)
    return prim_func([given, *weights, *others, blocked("D", batch, channels, rows, cols)], body)


@dataclass(frozen=True, slots=True)
class _Turns:
    """How many columns have their sums in registers at once, and how many turns of the `group` there are."""

    columns: int
    turns: int
    group: int

    @staticmethod
    def that_fit(group: int, processor: Processor) -> _Turns:
        """Beside sums there are a pixel for each column, a vector of weights and, where turns come in parts, what those before left."""
        most = processor.floats // LANES - 1
        for parts in range(1, group + 1):
            columns = most // (group // parts + 1 + (parts > 1))
            if group % parts == 0 and columns:
                return _Turns(min(WIDEST, columns), group // parts, group)
        return _Turns(1, 1, group)


def _totals(writer: Writer, window: Window, tile: _Turns, run: TileRun, given: tuple[Any, ...], at: tuple[Any, ...]) -> list[Any]:
    """The sums of a tile's columns, one vector each, on top of the bias."""
    a, w, bias = given
    i, c, y, left = at
    width = len(run.columns)
    start = writer.keep(left * window.strides[1] - window.pads[1])
    totals = [writer.load(bias, c)] * width
    for first in range(0, tile.group, tile.turns):
        sums = writer.registers(width * tile.turns)
        for j in range(width * tile.turns):
            writer.store(sums, writer.spread(0.0), j)
        above, below = tap_rows(writer, window, y)
        with writer.loop(below, above) as k_row:
            row = y * window.strides[0] + (k_row * window.dilations[0] - window.pads[0])
            for k_col in range(window.kernel[1]):
                columns = [j for j, column in enumerate(run.columns) if k_col in column.taps]
                places = [start + (j * window.strides[1] + k_col * window.dilations[1]) for j in columns]
                pixels = [writer.load(a, i, c, row, place) for place in places]
                for r in range(tile.turns if columns else 0):
                    factor = writer.load(w, c, k_row, k_col, first + r)
                    for j, pixel in zip(columns, pixels, strict=True):
                        place = j * tile.turns + r
                        writer.store(sums, sums[(place, writer.lanes())] + pixel * factor, place)
        for j in range(width):
            turned = [_turned(writer, writer.load(sums, j * tile.turns + r), first + r, tile.group) for r in range(tile.turns)]
            totals[j] = writer.settle(totals[j] + writer.pairwise(turned, lambda x, y: x + y))
    return totals


def _turned(writer: Writer, value: Any, turn: int, group: int) -> Any:
    """Each lane p of a group at (p + turn) % group."""
    return writer.blend([value], [lane - lane % group + (lane - turn) % group for lane in range(LANES)]) if turn else value
