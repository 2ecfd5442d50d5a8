"""Softmax on plain tensors, of rows of scores or of the channels of images. The greatest score is taken from all: nothing overflows."""

from __future__ import annotations

import math
from typing import Any

from .kernel import kind
from .layout import LANES, Batch
from .writer import Operand, Register, Writer, greatest, prim_func

__all__ = ["softmax", "softmax_channels"]

WORK = 4  # as if so many elements were moved for each


@kind("softmax")
def softmax(batch: Batch, classes: int) -> Any:
    """(A[n,classes], D): along the last axis."""
    full, left = divmod(classes, LANES)

    def body(writer: Writer, a: Any, d: Any) -> None:
        greater = greatest(writer.tirx)
        with writer.each(batch, work=WORK * classes) as (i,):
            best, total, last = (Register(writer) for _ in range(3))
            last.set(writer.spread(-math.inf))  # lanes that the row does not fill are the power of nothing, 0
            for lane in range(left):
                last.set_lane(lane, a[i, full * LANES + lane])
            best.set(last.get())
            with writer.loop(full) as k:
                best.set(greater(best.get(), writer.keep(a[i, writer.lanes(k * LANES)])))
            best.set(writer.across(best.get(), greater))
            last.set(writer.vectors.exp(last.get() - best.get()))
            total.set(last.get())
            with writer.loop(full) as k:
                grown = writer.vectors.exp(writer.keep(a[i, writer.lanes(k * LANES)]) - best.get())
                writer.to.buffer_store(d, grown, [i, writer.lanes(k * LANES)])
                total.set(total.get() + grown)
            total.set(writer.across(total.get(), lambda x, y: x + y))
            with writer.loop(full) as k:
                writer.to.buffer_store(d, writer.keep(d[i, writer.lanes(k * LANES)]) / total.get(), [i, writer.lanes(k * LANES)])
            last.set(last.get() / total.get())
            for lane in range(left):
                writer.to.buffer_store(d, last.lane(lane), [i, full * LANES + lane])

    return prim_func([Operand("A", (batch, classes)), Operand("D", (batch, classes))], body)


@kind("softmax channels")
def softmax_channels(shape: tuple[int | None, ...], axis: int) -> Any:
    """(A[n,...], D): along an axis that is neither the first nor the last, of `shape` with None for a batch that has a name. Lanes are
    neighbours among at least LANES elements behind it.

    The last ones, where they fill no vector, are computed with some of those before them again, on the same thread.
    """
    sizes = [extent or 1 for extent in shape]
    images, channels, pixels = math.prod(sizes[1:axis]), sizes[axis], math.prod(sizes[axis + 1 :])
    full, left = divmod(pixels, LANES)

    def body(writer: Writer, a: Any, d: Any) -> None:
        scores, shares = (writer.alias(buffer, (images * channels, pixels)) for buffer in (a, d))

        def vector(i: Any, base: Any, first: Any) -> None:
            best, total = Register(writer), Register(writer)
            lanes = writer.lanes(first)
            best.set(scores[i, base, lanes])
            total.set(writer.spread(0.0))
            with writer.loop(channels, 1) as c:
                best.set(greatest(writer.tirx)(best.get(), writer.keep(scores[i, base + c, lanes])))
            with writer.loop(channels) as c:
                grown = writer.vectors.exp(writer.keep(scores[i, base + c, lanes]) - best.get())
                writer.to.buffer_store(shares, grown, [i, base + c, lanes])
                total.set(total.get() + grown)
            with writer.loop(channels) as c:
                writer.to.buffer_store(shares, writer.keep(shares[i, base + c, lanes]) / total.get(), [i, base + c, lanes])

        with writer.each(shape[0], images, full, work=WORK * images * channels * pixels) as (i, image, at):
            base = image * channels
            vector(i, base, at * LANES)
            if left:
                writer.branch(at == full - 1, lambda: vector(i, base, writer.long(pixels - LANES)))

    return prim_func([Operand("A", shape), Operand("D", shape)], body)
