"""Moves of a parameter that is computed, such as the weights that a step of training is given, to where a kernel reads them."""

from __future__ import annotations

import math
from typing import Any

from .kernel import kind
from .writer import Operand, Writer, prim_func

__all__ = ["arrange"]

CHUNK = 1 << 10  # elements that a thread takes at a time


@kind("arrange")
def arrange(given: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """(W of a shape, places[shape] as i32, D[shape]): D has what lies at each place of W, in row-major order, and 0 for -1."""
    count = math.prod(shape)
    chunks = -(-count // CHUNK)

    def body(writer: Writer, w: Any, places: Any, d: Any) -> None:
        def flat(buffer: Any, number: int) -> Any:
            return writer.to.decl_buffer([writer.long(number)], str(buffer.dtype), data=buffer.data)

        lines, at, made = flat(w, math.prod(given)), flat(places, count), flat(d, count)
        with writer.each(1, chunks, work=2 * count) as (_, chunk), writer.loop(CHUNK) as k:
            i = writer.keep(chunk * CHUNK + k)

            def move() -> None:
                place = writer.keep(at[i])
                value = writer.keep(lines[writer.tirx.Cast("int64", writer.tirx.max(place, writer.tirx.const(0, "int32")))])
                zero = writer.tirx.const(0.0, "float32")
                writer.to.buffer_store(made, writer.tirx.Select(place < 0, zero, value), [i])

            if count % CHUNK:
                writer.branch(i < count, move)
            else:
                move()

    return prim_func([Operand("W", given), Operand("places", shape, "int32"), Operand("D", shape)], body)
