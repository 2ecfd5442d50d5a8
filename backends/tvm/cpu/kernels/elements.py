"""Elementwise ops on plain tensors of any rank, which are vectors end to end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .epilogue import Steps, apply, read_names
from .kernel import kind
from .layout import LANES
from .writer import Operand, Register, Writer, prim_func

__all__ = ["elements"]

CHUNK = 64  # vectors that a thread takes at a time


@kind("elements")
def elements(shapes: tuple[tuple[int | None, ...], ...], steps: Steps, period: int = 0) -> Any:
    """(A, [B[period],] R..., D), D being A after the steps. With a `period`, of whole vectors or 1, the first step reads B again and again.

    All have as many elements, and these shapes but B: a size that has a name is None.
    """
    images = None if None in shapes[0] else 1
    count = math.prod(extent for extent in shapes[0] if extent is not None)
    full, left = divmod(count, LANES)
    chunks = -(-full // CHUNK) + (left > 0 and full % CHUNK == 0)
    names = read_names(steps)[period > 0 :]
    others = [Operand(name, shape) for name, shape in zip(names, shapes[1:-1], strict=True)]
    constant = [Operand("B", (period,))] if period else []

    def body(writer: Writer, a: Any, *rest: Any) -> None:
        *read, d = rest
        number = writer.batch if images is None else writer.long(1)

        def flat(buffer: Any) -> Any:
            return writer.to.decl_buffer([number * count], "float32", data=buffer.data)

        given, made = flat(a), flat(d)
        table, more = (read[0], read[1:]) if period else (None, read)
        lines = [flat(each) for each in more]

        def repeated(place: Any) -> Sequence[Any]:
            if table is None:
                return []
            return [writer.keep(writer.spread(table[0]) if period == 1 else table[writer.lanes(place % period)])]

        def vector(start: Any, place: Any) -> None:
            lanes = writer.lanes(start + place)
            values = [*repeated(place), *(writer.keep(line[lanes]) for line in lines)]
            writer.to.buffer_store(made, apply(writer.vectors, steps, writer.keep(given[lanes]), values), [lanes])

        def ending(start: Any) -> None:
            """The elements that fill no vector: a vector over others' would overwrite what was read already, where D lies in A."""
            registers = [Register(writer) for _ in (given, *lines)]
            for register, line in zip(registers, (given, *lines), strict=True):
                register.set(writer.spread(0.0))
                for lane in range(left):
                    register.set_lane(lane, line[start + (full * LANES + lane)])
            values = [*repeated(writer.long(0)), *(register.get() for register in registers[1:])]
            result = Register(writer)
            result.set(apply(writer.vectors, steps, registers[0].get(), values))
            for lane in range(left):
                writer.to.buffer_store(made, result.lane(lane), [start + (full * LANES + lane)])

        with writer.each(images, chunks, work=(2 + len(read)) * count) as (i, chunk):
            start = writer.keep(i * count)
            with writer.loop(writer.tirx.min(chunk * CHUNK + CHUNK, writer.long(full)), writer.keep(chunk * CHUNK)) as k:
                vector(start, k * LANES)
            if left:
                writer.branch(chunk == chunks - 1, lambda: ending(start))

    return prim_func([Operand("A", shapes[0]), *constant, *others, Operand("D", shapes[-1])], body)
