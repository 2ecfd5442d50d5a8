"""What a batch norm does while a network trains, on blocked tensors: sums of channels over the whole batch, and the norm by them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .epilogue import Steps, apply, read_names
from .kernel import kind
from .layout import LANES, Batch, blocks
from .writer import Operand, Register, Writer, blocked, prim_func

__all__ = ["batch_norm", "channel_sums"]

SUMS = 8  # at once, so that none waits for itself
PARTS = 8  # of the images, whose sums are kept apart: by these threads divide a block, and so they never change a bit


@kind("channel sums")
def channel_sums(batch: Batch, channels: int, rows: int, cols: int, shape: tuple[int, ...], is_mean: bool = False) -> Any:
    """(A, D[shape]) with as many elements as channels: sums over images and pixels, each image's by itself, or their means."""
    count, pixels = blocks(channels), rows * cols
    width = max(w for w in range(1, SUMS + 1) if pixels % w == 0)
    parts = PARTS if batch is None else max(1, min(PARTS, batch))
    work = count * LANES * pixels * (batch or 1)

    def body(writer: Writer, a: Any, d: Any) -> None:
        lines, images = writer.alias(a, (count, pixels, LANES)), writer.batch if batch is None else writer.long(batch)
        made = writer.to.decl_buffer([writer.long(channels)], "float32", data=d.data)
        sums = writer.to.alloc_buffer((parts, count, LANES), scope="global")
        with writer.each(1, parts, count, work=work) as (_, part, c):
            total, partial = Register(writer), writer.registers(width)
            total.set(writer.spread(0.0))
            first, end = writer.keep(part * images // parts), writer.keep((part + 1) * images // parts)
            with writer.loop(end, first) as i:
                for j in range(width):
                    writer.store(partial, writer.spread(0.0), j)
                with writer.loop(pixels // width) as group:
                    for j in range(width):
                        writer.store(partial, partial[(j, writer.lanes())] + writer.load(lines, i, c, group * width + j), j)
                total.set(total.get() + writer.pairwise([writer.load(partial, j) for j in range(width)], lambda x, y: x + y))
            writer.store(sums, total.get(), part, c)
        with writer.loop(count) as c:
            total = writer.pairwise([writer.load(sums, k, c) for k in range(parts)], lambda x, y: x + y)
            _store(writer, channels, c, total / writer.spread(writer.tirx.Cast("float32", images * pixels)) if is_mean else total, made)

    return prim_func([blocked("A", batch, channels, rows, cols), Operand("D", shape)], body)


def _store(writer: Writer, channels: int, block: Any, value: Any, made: Any) -> None:
    """The channels that a block has, end to end with those of others."""
    full, left = divmod(channels, LANES)
    kept = Register(writer)
    kept.set(value)

    def whole() -> None:
        writer.to.buffer_store(made, kept.get(), [writer.lanes(block * LANES)])

    def some() -> None:
        for lane in range(left):
            writer.to.buffer_store(made, kept.lane(lane), [block * LANES + lane])

    if left and full:
        writer.branch(block < full, whole, some)
    else:
        (some if left else whole)()


@kind("batch norm")
def batch_norm(batch: Batch, channels: int, rows: int, cols: int, epsilon: float, steps: Steps = ()) -> Any:
    """(A, scale, shift, mean, var, R..., D), the four [CB,LANES]. The mean is taken off first: it may be far greater than what is left."""
    count = blocks(channels)
    others = [blocked(name, batch, channels, rows, cols) for name in read_names(steps)]
    constants = [Operand(name, (count, LANES)) for name in ("scale", "shift", "mean", "var")]
    work = math.prod((count, rows, cols, LANES, 2 + len(others)))

    def body(writer: Writer, a: Any, scale: Any, shift: Any, mean: Any, var: Any, *rest: Any) -> None:
        *read, d = rest
        with writer.each(batch, count, rows, work=work) as (i, c, y):
            gain = writer.settle(writer.load(scale, c) / writer.tirx.sqrt(writer.load(var, c) + writer.spread(epsilon)))
            off, term = writer.load(mean, c), writer.load(shift, c)
            with writer.loop(cols) as x:
                values: Sequence[Any] = [writer.load(other, i, c, y, x) for other in read]
                value = (writer.load(a, i, c, y, x) - off) * gain + term
                writer.store(d, apply(writer.vectors, steps, value, values), i, c, y, x)

    given = blocked("A", batch, channels, rows, cols)
    return prim_func([given, *constants, *others, blocked("D", batch, channels, rows, cols)], body)
