"""Products by quarters: of the pixels of blocked images, as 1x1 convolutions are, and of plain rows.

Of two neighbouring rows, one that is no number or infinite spoils the other.
"""

from __future__ import annotations

from typing import Any

from ......ir.ops.window import Pair
from ..dense import finish_row
from ..epilogue import apply, read_names
from ..kernel import kind
from ..layout import LANES, blocks
from ..writer import Operand, Writer, blocked, prim_func
from .body import Quartered
from .quarters import Quarters

__all__ = ["quartered_pixels", "quartered_rows"]


@kind("strassen")
def quartered_pixels(size: Quarters, image: Pair) -> Any:
    """(A[CIB,n,H,W,LANES], W of `weights`, bias[COB,LANES], R[COB,n,H,W,LANES]..., D[COB,n,H,W,LANES]), where H x W are the rows."""

    def body(writer: Writer, a: Any, w: Any, bias: Any, *rest: Any) -> None:
        given = writer.alias(a, (blocks(size.c_in), size.rows, LANES))
        *read, d = [writer.alias(each, (blocks(size.c_out), size.rows, LANES)) for each in rest]

        def finish(i: Any, row: Any, o: Any, value: Any) -> None:
            place = (i, o, row)
            value = writer.keep(value + writer.load(bias, o))
            writer.store(d, apply(writer.vectors, size.steps, value, [writer.load(other, *place) for other in read]), *place)

        Quartered(writer, size, w, lambda i, row, c: given[(i, c, row, writer.lanes())], finish).write()

    results = [blocked(name, size.batch, size.c_out, *image) for name in (*read_names(size.steps), "D")]
    weights = [Operand("W", size.weights), Operand("bias", (blocks(size.c_out), LANES))]
    return prim_func([blocked("A", size.batch, size.c_in, *image), *weights, *results], body)


@kind("strassen")
def quartered_rows(
    size: Quarters, given: tuple[int | None, ...], made: tuple[int | None, ...], read: tuple[tuple[int | None, ...], ...] = ()
) -> Any:
    """(A[...,I], W of `weights`, bias[OB,LANES], R[...,O]..., D[...,O]); of each shape all but the last are images and rows."""
    results = [Operand(name, shape) for name, shape in zip((*read_names(size.steps), "D"), (*read, made), strict=True)]

    def body(writer: Writer, a: Any, w: Any, bias: Any, *rest: Any) -> None:
        images = writer.batch if size.batch is None else writer.long(size.batch)

        def lines(buffer: Any, width: int) -> Any:
            return writer.to.decl_buffer([images * size.rows, writer.long(width)], "float32", data=buffer.data)

        x, *others = lines(a, size.c_in), *(lines(each, size.c_out) for each in rest)

        def finish(i: Any, row: Any, o: Any, value: Any) -> None:
            finish_row(writer, size.steps, others[:-1], others[-1], size.c_out, i * size.rows + row, o, value + writer.load(bias, o))

        Quartered(writer, size, w, lambda i, row, c: x[i * size.rows + row, writer.lanes(c * LANES)], finish).write()

    weights = [Operand("W", size.weights), Operand("bias", (blocks(size.c_out), LANES))]
    return prim_func([Operand("A", given), *weights, *results], body)
