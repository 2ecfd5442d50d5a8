"""Nearest and bilinear resize of blocked tensors, by any scales. Where each row and column comes from is a table, made with the weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .....ir.ops.resize import RESIZE, Resize, is_plain
from .....ir.types import Array
from .kernel import kind
from .layout import LANES, Batch, blocks
from .writer import Operand, Writer, blocked, prim_func

__all__ = ["can_resize", "resize", "tables"]


def can_resize(op: Resize) -> bool:
    """Whether there is a kernel for it."""
    return op.mode in ("nearest", "bilinear") and is_plain(op)


def tables(op: Resize, rows: int, cols: int) -> tuple[Array, ...]:
    """Where rows and columns of the result come from, in the kernel's order: int32 places, each axis followed, if bilinear,
    by float32 shares of the next place.

    The op's own meaning says so: it resizes a ramp, along one axis at a time.
    """
    along_rows = replace(op, scales=(op.scales[0], 1.0), sizes=(*op.sizes[:1], 1) if op.sizes else ())
    along_cols = replace(op, scales=(1.0, op.scales[1]), sizes=(1, *op.sizes[1:]) if op.sizes else ())
    found: list[Array] = []
    for one, shape in ((along_rows, (1, 1, rows, 1)), (along_cols, (1, 1, 1, cols))):
        at = RESIZE.meaning(one, np.arange(max(shape), dtype=np.float64).reshape(shape)).ravel()
        low = np.floor(at)
        found.append(low.astype(np.int32))
        if op.mode == "bilinear":
            found.append((at - low).astype(np.float32))
    return tuple(found)


@kind("resize")
def resize(op: Resize, batch: Batch, channels: int, rows: int, cols: int) -> Any:
    """(A, tables..., D)."""
    given = tables(op, rows, cols)
    is_bilinear = op.mode == "bilinear"
    high, wide = given[0].size, given[-1].size
    names = ("rows", "row_shares", "cols", "col_shares") if is_bilinear else ("rows", "cols")
    operands = [Operand(name, table.shape, str(table.dtype)) for name, table in zip(names, given, strict=True)]

    def nearest(writer: Writer, a: Any, row_at: Any, col_at: Any, d: Any) -> None:
        with _result_rows(writer) as (i, c, y):
            row = _place(writer, row_at, y)
            with writer.loop(wide) as x:
                writer.store(d, writer.load(a, i, c, row, _place(writer, col_at, x)), i, c, y, x)

    def bilinear(writer: Writer, a: Any, row_at: Any, row_shares: Any, col_at: Any, col_shares: Any, d: Any) -> None:
        with _result_rows(writer) as (i, c, y):
            (top, below), down = _pair(writer, row_at, y, rows), writer.keep(writer.spread(row_shares[y]))
            with writer.loop(wide) as x:
                across = writer.keep(writer.spread(col_shares[x]))
                left, right = (
                    writer.settle(_mixed(writer.load(a, i, c, top, col), writer.load(a, i, c, below, col), down, writer))
                    for col in _pair(writer, col_at, x, cols)
                )
                writer.store(d, _mixed(left, right, across, writer), i, c, y, x)

    def _result_rows(writer: Writer) -> Any:
        return writer.each(batch, blocks(channels), high, work=(4 if is_bilinear else 2) * blocks(channels) * high * wide * LANES)

    result = blocked("D", batch, channels, high, wide)
    return prim_func([blocked("A", batch, channels, rows, cols), *operands, result], bilinear if is_bilinear else nearest)


def _place(writer: Writer, table: Any, at: Any) -> Any:
    return writer.keep(writer.tirx.Cast("int64", table[at]))


def _pair(writer: Writer, table: Any, at: Any, size: int) -> tuple[Any, Any]:
    place = _place(writer, table, at)
    return place, writer.keep(writer.tirx.min(place + 1, writer.long(size - 1)))


def _mixed(a: Any, b: Any, share: Any, writer: Writer) -> Any:
    """As the op's meaning has it, so that infinities go the same ways."""
    return a * (writer.spread(1.0) - share) + b * share
