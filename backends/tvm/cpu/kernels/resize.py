"""Nearest and bilinear resize of blocked tensors, by any scales. Where each row and column comes from is a table, made with the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .....ir.ops.resize import RESIZE, Resize, is_plain
from .....ir.types import Array
from .kernel import kind
from .layout import LANES, Batch, blocks
from .moves import turn_out
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
def resize(op: Resize, batch: Batch, channels: int, rows: int, cols: int, *, out_of_blocks: bool = False) -> Any:
    """(A blocked, tables..., D blocked, or [n,C,OH,OW] where it comes `out_of_blocks`, which takes a row of a vector's width)."""
    given = tables(op, rows, cols)
    is_bilinear = op.mode == "bilinear"
    high, wide = given[0].size, given[-1].size
    names = ("rows", "row_shares", "cols", "col_shares") if is_bilinear else ("rows", "cols")
    operands = [Operand(name, table.shape, str(table.dtype)) for name, table in zip(names, given, strict=True)]
    work = (4 if is_bilinear else 2) * blocks(channels) * high * wide * LANES

    def body(writer: Writer, a: Any, *rest: Any) -> None:
        *read, d = rest
        with writer.each(batch, high, blocks(channels), work=work) as (i, y, c):
            pixel = (_mixed_row if is_bilinear else _nearest_row)(writer, a, read, (i, c, y))
            if out_of_blocks:
                turn_out(writer, d, (i, c, y), pixel)
                return
            with writer.loop(wide) as x:
                writer.store(d, pixel(x), i, c, y, x)

    result = Operand("D", (batch, channels, high, wide)) if out_of_blocks else blocked("D", batch, channels, high, wide)
    return prim_func([blocked("A", batch, channels, rows, cols), *operands, result], body)


def _nearest_row(writer: Writer, a: Any, read: Sequence[Any], at: tuple[Any, Any, Any]) -> Callable[[Any], Any]:
    """What makes the pixel at a column of a row of the result."""
    (row_at, col_at), (i, c, y) = read, at
    row = _place(writer, row_at, y)
    return lambda x: writer.load(a, i, c, row, _place(writer, col_at, x))


def _mixed_row(writer: Writer, a: Any, read: Sequence[Any], at: tuple[Any, Any, Any]) -> Callable[[Any], Any]:
    """As `_nearest_row`. Two rows are mixed before their columns, and where columns are read more than once, once for all."""
    (row_at, row_shares, col_at, col_shares), (i, c, y) = read, at
    rows, cols, wide = int(a.shape[2]), int(a.shape[3]), int(col_at.shape[0])
    (top, below), down = _pair(writer, row_at, y, rows), writer.keep(writer.spread(row_shares[y]))

    def column(col: Any) -> Any:
        return writer.settle(_mixed(writer.load(a, i, c, top, col), writer.load(a, i, c, below, col), down, writer))

    line = writer.to.alloc_buffer((cols, LANES), scope="global") if cols < 2 * wide else None
    if line is not None:
        with writer.loop(cols) as col:
            writer.store(line, column(col), col)

    def pixel(x: Any) -> Any:
        across = writer.keep(writer.spread(col_shares[x]))
        pair = _pair(writer, col_at, x, cols)
        left, right = (column(col) if line is None else writer.load(line, col) for col in pair)
        return _mixed(left, right, across, writer)

    return pixel


def _place(writer: Writer, table: Any, at: Any) -> Any:
    return writer.keep(writer.tirx.Cast("int64", table[at]))


def _pair(writer: Writer, table: Any, at: Any, size: int) -> tuple[Any, Any]:
    place = _place(writer, table, at)
    return place, writer.keep(writer.tirx.min(place + 1, writer.long(size - 1)))


def _mixed(a: Any, b: Any, share: Any, writer: Writer) -> Any:
    """As the op's meaning has it, so that infinities go the same ways."""
    return a * (writer.spread(1.0) - share) + b * share
