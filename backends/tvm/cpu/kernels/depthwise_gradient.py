"""Gradient of a depthwise convolution by its weights on blocked tensors: every channel's taps meet its own results alone. In groups of
which a vector holds several whole they meet those of their group, which come by in turns: the r-th moves them r lanes on, around its end.

Sums of all taps stay in registers, or those of some rows of a tall window. They run over a chunk of rows and are then added to those of the
chunks before, so that a sum of a hundred thousand products rounds as one of a few hundred. Which taps lie in the image is known when the
kernel is written: rows and columns whose windows have the same are loops of their own.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from ...processor import AVX512, Processor
from .kernel import MOST_SUMS, kind
from .layout import LANES, Batch, blocks
from .windows import Window
from .writer import Operand, Register, Writer, blocked, prim_func

__all__ = ["depthwise_weight_gradient"]

PARTS = 8  # of the images, whose sums are kept apart until the end: by sizes alone, so that threads change no bit
PIXELS = 512  # of a chunk, about


@kind("depthwise weight gradient")
def depthwise_weight_gradient(batch: Batch, channels: int, window: Window, processor: Processor = AVX512, group: int = 1) -> Any:
    """(A[CB,n,H,W,16], G[CB,n,H',W',16], D[C,group,KH,KW])."""
    count, (k_rows, k_cols), (rows, cols) = blocks(channels), window.kernel, window.out
    parts = PARTS if batch is None else max(1, min(PARTS, batch))
    most = max(1, min(MOST_SUMS, processor.sums(LANES)) // (k_cols * group))  # rows of taps at once
    bands = [range(first, min(first + most, k_rows)) for first in range(0, k_rows, most)]
    work = (batch or 1) * count * LANES * rows * cols * math.prod(window.kernel) * group

    def body(writer: Writer, a: Any, g: Any, d: Any) -> None:
        number = writer.batch if batch is None else writer.long(batch)
        sums = writer.to.alloc_buffer((parts, count, k_rows, k_cols, group, LANES), scope="global")
        with writer.each(1, parts, count, work=work) as (_, part, c):
            with writer.loop(k_rows) as k_row, writer.loop(k_cols) as k_col, writer.loop(group) as turn:
                writer.store(sums, writer.spread(0.0), part, c, k_row, k_col, turn)
            first, end = writer.keep(part * number // parts), writer.keep((part + 1) * number // parts)
            with writer.loop(end, first) as i:
                for band in bands:
                    _image(writer, window, band, group, (a, g, sums), (i, part, c))
        with writer.each(1, count, work=0) as (_, c), writer.loop(k_rows) as k_row, writer.loop(k_cols) as k_col:
            for turn in range(group):
                total = Register(writer)
                total.set(writer.pairwise([writer.load(sums, part, c, k_row, k_col, turn) for part in range(parts)], lambda x, y: x + y))
                _store(writer, (channels, group, turn), c, total, (d, k_row, k_col))

    images = blocked("A", batch, channels, window.rows, window.cols), blocked("G", batch, channels, rows, cols)
    return prim_func([*images, Operand("D", (channels, group, k_rows, k_cols))], body)


def _image(writer: Writer, window: Window, band: range, group: int, buffers: tuple[Any, Any, Any], at: tuple[Any, Any, Any]) -> None:
    """What an image adds to the sums of a band of the window's rows."""
    (a, g, sums), (i, part, c) = buffers, at
    for first, end, k_rows in _runs(window, 0):
        taps = [k_row for k_row in k_rows if k_row in band]
        if not taps:
            continue
        chunk = max(1, PIXELS // window.out[1])
        with writer.loop(-(-(end - first) // chunk)) as step:
            start = writer.keep(step * chunk + first)
            held = [(k_row, k_col, turn) for k_row in taps for k_col in range(window.kernel[1]) for turn in range(group)]
            partial = writer.registers(len(held))
            for place in range(len(held)):
                writer.store(partial, writer.spread(0.0), place)
            with writer.loop(writer.keep(writer.tirx.min(start + chunk, writer.long(end))), start) as y:
                for left, right, k_cols in _runs(window, 1):
                    if not k_cols:
                        continue
                    with writer.loop(right, left) as x:
                        wanted = _turns(writer, writer.load(g, i, c, y, x), group)
                        for place, (k_row, k_col, turn) in enumerate(held):
                            if k_col in k_cols:
                                row = y * window.strides[0] + (k_row * window.dilations[0] - window.pads[0])
                                col = x * window.strides[1] + (k_col * window.dilations[1] - window.pads[1])
                                had = writer.load(a, i, c, row, col)
                                writer.store(partial, partial[(place, writer.lanes())] + had * wanted[turn], place)
            for place, at in enumerate(held):
                writer.store(sums, writer.load(sums, part, c, *at) + writer.load(partial, place), part, c, *at)


def _turns(writer: Writer, value: Any, group: int) -> list[Any]:
    """What lane p of a group meets in each turn: lane p - r, around the group's start."""
    turned = ([lane - lane % group + (lane % group - turn) % group for lane in range(LANES)] for turn in range(group))
    return [value if group == 1 else writer.settle(writer.blend([value], lanes)) for lanes in turned]


def _runs(window: Window, axis: int) -> list[tuple[int, int, tuple[int, ...]]]:
    """(first, end, taps in the image) of neighbours among the results with the same taps."""
    groups = itertools.groupby(range(window.out[axis]), lambda place: window.taps(axis, place))
    found = [(taps, list(group)) for taps, group in groups]
    return [(group[0], group[-1] + 1, taps) for taps, group in found]


def _store(writer: Writer, sizes: tuple[int, int, int], block: Any, total: Register, place: tuple[Any, Any, Any]) -> None:
    """The lanes that a block has, of a turn: each belongs to the filter whose result came by."""
    (channels, group, turn), (d, k_row, k_col) = sizes, place
    full, left = divmod(channels, LANES)

    def store(used: int) -> None:
        for lane in range(used):
            own = lane % group
            writer.to.buffer_store(d, total.lane(lane), [block * LANES + (lane - own + (own - turn) % group), own, k_row, k_col])

    if left and full:
        writer.branch(block < full, lambda: store(LANES), lambda: store(left))
    else:
        store(left or LANES)
