"""The transform of a Winograd convolution's weights as a kernel, for those that are known only in a run, as a step of training has them.

It computes in float64 and rounds once, as packing does for weights that are known: so the bounds on a result are the same for both.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from ..kernel import kind
from ..layout import LANES
from ..writer import Operand, Writer, prim_func
from .arrangement import TileFilters
from .transforms import filter_transform

__all__ = ["winograd_weights"]

WIDE = f"float64x{LANES}"


@kind("winograd weights")
def winograd_weights(size: TileFilters, is_turned: bool = False) -> Any:
    """(W, U of its `shape`) of filters W[O,C,r,r]; or, where the convolution is the way back of another, of that one's, [C,O,r,r].

    A task has a block of inputs by a group of filters. It keeps what was transformed along columns, so that U is written position by
    position: in turn, the positions of one block lie so many bytes apart that all would share one place in a cache.
    """
    a, r = size.a, size.r
    _, _, groups, blocks_in, _, group, _ = size.shape
    given = (size.c_in, size.c_out, r, r) if is_turned else (size.c_out, size.c_in, r, r)

    def body(writer: Writer, w: Any, u: Any) -> None:
        with writer.each(1, groups, blocks_in, work=math.prod(size.shape)) as (_, g, c):
            taps = writer.to.alloc_buffer((LANES, r, r, LANES), "float32", scope="global")
            half = writer.to.alloc_buffer((group, LANES, r, a, LANES), "float64", scope="global")
            for q in range(group):
                _gather(writer, size, w, taps, (g * group + q, c), is_turned)
                with writer.loop(LANES) as i, writer.loop(r) as k:
                    down = [writer.tirx.Cast(WIDE, writer.load(taps, i, row, k)) for row in range(r)]
                    for x, value in enumerate(_transformed(writer, down, a)):
                        writer.store(half, value, q, i, k, x)
            with writer.loop(a) as x:
                for y in range(a):
                    with writer.loop(LANES) as i:
                        for q in range(group):
                            across = [writer.load(half, q, i, k, x) for k in range(r)]
                            value = _transformed(writer, across, a)[y]
                            writer.store(u, writer.tirx.Cast(f"float32x{LANES}", value), x, y, g, c, i, q)

    return prim_func([Operand("W", given), Operand("U", size.shape)], body)


def _gather(writer: Writer, size: TileFilters, w: Any, taps: Any, at: tuple[Any, Any], is_turned: bool) -> None:
    """The taps of a block of inputs and one of filters, [16 inputs,r,r,16 filters], zeros where there are no such channels."""
    tirx, r, (o, c) = writer.tirx, size.r, at

    def those(block: Any, channels: int) -> Any:
        return writer.keep(tirx.max(writer.long(0), tirx.min(writer.long(LANES), channels - block * LANES)))

    if size.c_in % LANES or size.c_out % LANES or size.shape[2] * size.shape[5] * LANES > size.c_out:
        with writer.loop(LANES) as i, writer.loop(r) as row, writer.loop(r) as col:
            writer.store(taps, writer.spread(0.0), i, row, col)
    outer, inner = (those(c, size.c_in), those(o, size.c_out)) if is_turned else (those(o, size.c_out), those(c, size.c_in))
    with writer.loop(outer) as first, writer.loop(inner) as second:
        i, lane = (first, second) if is_turned else (second, first)
        channels = (c * LANES + i, o * LANES + lane) if is_turned else (o * LANES + lane, c * LANES + i)
        for row, col in itertools.product(range(r), range(r)):
            place = (r - 1 - row, r - 1 - col) if is_turned else (row, col)
            writer.to.buffer_store(taps, w[(*channels, row, col)], [i, *place, lane])


def _transformed(writer: Writer, values: list[Any], a: int) -> list[Any]:
    """The rows of G times the values."""
    made: list[Any] = []
    for factors in filter_transform(a - len(values) + 1, len(values)):
        terms = [
            value if factor == 1 else value * writer.vectors.const(float(factor), "float64")
            for factor, value in zip(factors, values, strict=True)
            if factor
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        made.append(total)
    return made
