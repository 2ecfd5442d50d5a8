"""Elementwise ops on blocked tensors that no kernel before them could take along. All run at the speed of memory."""

from __future__ import annotations

import functools
import math
from typing import Any

from .epilogue import EpilogueStep, Steps, apply, read_names
from .kernel import kind
from .layout import LANES, Batch, blocks
from .writer import Operand, Writer, blocked, prim_func

__all__ = ["by_channel", "by_image", "gate", "pointwise"]


@kind("pointwise")
def pointwise(batch: Batch, channels: int, rows: int, cols: int, steps: Steps) -> Any:
    """(A, R..., D): D is A after the steps. All are blocked."""
    others = [blocked(name, batch, channels, rows, cols) for name in read_names(steps)]
    return _rowwise(batch, channels, rows, cols, (), steps, others)


@kind("by channel")
def by_channel(batch: Batch, channels: int, rows: int, cols: int, first: EpilogueStep, steps: Steps = ()) -> Any:
    """(A, B[CB,LANES], R..., D): `first` reads one constant a channel, such as a bias or a scale; then the steps."""
    constant = Operand("B", (blocks(channels), LANES))
    others = [blocked(name, batch, channels, rows, cols) for name in read_names(steps)]
    return _rowwise(batch, channels, rows, cols, (first,), steps, [constant, *others])


@kind("by image")
def by_image(batch: Batch, channels: int, rows: int, cols: int, first: EpilogueStep, steps: Steps = ()) -> Any:
    """(A, G[CB,n,1,1,LANES], R..., D): `first` reads one value an image and channel, as the gate of squeeze-and-excite; then the steps."""
    gate = blocked("G", batch, channels, 1, 1)
    others = [blocked(name, batch, channels, rows, cols) for name in read_names(steps)]
    return _rowwise(batch, channels, rows, cols, (first,), steps, [gate, *others])


@kind("gate")
def gate(batch: Batch, channels: int, rows: int, cols: int, conditions: tuple[str, ...], steps: Steps = ()) -> Any:
    """(A, G, numbers[LANES]..., otherwise[LANES], R..., D): G where A is `greater` or `less` than the number of each condition, as a relu's
    gradient; then the steps.
    """
    count = blocks(channels)
    images = [blocked(name, batch, channels, rows, cols) for name in ("A", "G", *read_names(steps), "D")]
    numbers = [Operand(name, (LANES,)) for name in (*conditions, "otherwise")]
    work = math.prod((count, rows, cols, LANES, len(images)))

    def body(writer: Writer, a: Any, g: Any, *rest: Any) -> None:
        given, (*read, d) = rest[: len(numbers)], rest[len(numbers) :]
        with writer.each(batch, count, rows, work=work) as (i, c, y):
            *limits, other = (writer.keep(number[writer.lanes()]) for number in given)
            with writer.loop(cols) as x:
                at = (i, c, y, x)
                had = writer.load(a, *at)
                held = [had > limit if name == "greater" else had < limit for name, limit in zip(conditions, limits, strict=True)]
                is_open = functools.reduce(writer.tirx.And, held)
                value = writer.vectors.Select(is_open, writer.load(g, *at), other)
                writer.store(d, apply(writer.vectors, steps, value, [writer.load(each, *at) for each in read]), *at)

    return prim_func([*images[:2], *numbers, *images[2:]], body)


def _rowwise(
    batch: Batch,
    channels: int,
    rows: int,
    cols: int,
    first: Steps,
    steps: Steps,
    others: list[Operand],
) -> Any:
    count = blocks(channels)
    work = math.prod((count, rows, cols, LANES, 2 + len(others)))

    def body(writer: Writer, a: Any, *rest: Any) -> None:
        *read, d = rest
        with writer.each(batch, count, rows, work=work) as (i, c, y):
            at = {"B": (c,), "G": (i, c, 0, 0)}
            fixed = [writer.load(read[0], *at[others[0].name])] if first else []  # one vector for the whole row
            with writer.loop(cols) as x:
                values = [*fixed, *(writer.load(other, i, c, y, x) for other in read[len(fixed) :])]
                writer.store(d, apply(writer.vectors, (*first, *steps), writer.load(a, i, c, y, x), values), i, c, y, x)

    return prim_func([blocked("A", batch, channels, rows, cols), *others, blocked("D", batch, channels, rows, cols)], body)
