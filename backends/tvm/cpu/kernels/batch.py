"""What a batch norm does while a network trains, on blocked tensors: sums of channels over the whole batch, the norm by them, and its way
back. What is only an element's own, such as how far it is from the mean, is computed where it is read: memory is what these wait for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .epilogue import Steps, apply, read_names
from .kernel import kind
from .layout import LANES, Batch, blocks
from .writer import Operand, Register, Writer, blocked, prim_func

__all__ = ["batch_norm", "batch_norm_gradient", "channel_products", "channel_squares", "channel_sums"]

SUMS = 8  # at once, so that none waits for itself
PARTS = 8  # of the images, whose sums are kept apart: by these threads divide a block, and so they never change a bit
CHAIN = 64  # pixels that a sum adds in turn, then so many of those sums: one after another 65,536 of one sign lose three digits


@kind("channel sums")
def channel_sums(batch: Batch, channels: int, rows: int, cols: int, shape: tuple[int, ...], is_mean: bool = False) -> Any:
    """(A, D[shape]) with as many elements as channels: sums over images and pixels, each image's by itself, or their means."""
    size = _Totals(batch, channels, rows, cols, is_mean)

    def value(writer: Writer, pixel: Callable[[Any], Any], block: Any, a: Any) -> Any:
        return pixel(a)

    return _sums(size, shape, [blocked("A", batch, channels, rows, cols)], [], value)


@kind("channel squares")
def channel_squares(batch: Batch, channels: int, rows: int, cols: int, shape: tuple[int, ...], is_mean: bool = False) -> Any:
    """(A, mean[CB,LANES], D[shape]): as channel sums, of the squares of how far A is from the mean."""
    size = _Totals(batch, channels, rows, cols, is_mean)

    def value(writer: Writer, pixel: Callable[[Any], Any], block: Any, a: Any, mean: Any) -> Any:
        off = writer.settle(pixel(a) - writer.load(mean, block))
        return off * off

    return _sums(size, shape, [blocked("A", batch, channels, rows, cols)], ["mean"], value)


@kind("channel products")
def channel_products(batch: Batch, channels: int, rows: int, cols: int, shape: tuple[int, ...], is_mean: bool = False) -> Any:
    """(G, A, mean, factor, D[shape]), two of them [CB,LANES]: as channel sums, of G (A - mean) factor."""
    size = _Totals(batch, channels, rows, cols, is_mean)

    def value(writer: Writer, pixel: Callable[[Any], Any], block: Any, g: Any, a: Any, mean: Any, factor: Any) -> Any:
        return pixel(g) * ((pixel(a) - writer.load(mean, block)) * writer.load(factor, block))

    return _sums(size, shape, [blocked(name, batch, channels, rows, cols) for name in "GA"], ["mean", "factor"], value)


@dataclass(frozen=True, slots=True)
class _Totals:
    batch: Batch
    channels: int
    rows: int
    cols: int
    is_mean: bool


def _sums(size: _Totals, shape: tuple[int, ...], images: list[Operand], constants: list[str], value: Callable[..., Any]) -> Any:
    """Over images and pixels: `value(writer, pixel, block, *operands)` is one of them, `pixel(image)` what an image has there."""
    batch, channels = size.batch, size.channels
    count, pixels = blocks(channels), size.rows * size.cols
    width = max(w for w in range(1, SUMS + 1) if pixels % w == 0)
    groups = pixels // width
    parts = PARTS if batch is None else max(1, min(PARTS, batch))
    work = count * LANES * pixels * (batch or 1) * len(images)

    def body(writer: Writer, *operands: Any) -> None:
        *read, d = operands
        number = writer.batch if batch is None else writer.long(batch)
        shown = [writer.alias(image, (count, pixels, LANES)) for image in read[: len(images)]] + read[len(images) :]
        made = writer.to.decl_buffer([writer.long(channels)], "float32", data=d.data)

        def pixel_at(*at: Any) -> Callable[[Any], Any]:
            return lambda image: writer.load(image, *at)

        sums = writer.to.alloc_buffer((parts, count, LANES), scope="global")
        with writer.each(1, parts, count, work=work) as (_, part, c):
            total, image, partial = Register(writer), Register(writer), writer.registers(width)
            total.set(writer.spread(0.0))
            first, end = writer.keep(part * number // parts), writer.keep((part + 1) * number // parts)
            with writer.loop(end, first) as i:
                image.set(writer.spread(0.0))
                with writer.loop(-(-groups // CHAIN)) as chunk:
                    start = chunk * CHAIN
                    stop = writer.tirx.min(start + CHAIN, groups) if groups % CHAIN else start + CHAIN
                    for j in range(width):
                        writer.store(partial, writer.spread(0.0), j)
                    with writer.loop(stop, start) as group:
                        for j in range(width):
                            one = value(writer, pixel_at(i, c, group * width + j), c, *shown)
                            writer.store(partial, partial[(j, writer.lanes())] + one, j)
                    image.set(image.get() + writer.pairwise([writer.load(partial, j) for j in range(width)], lambda x, y: x + y))
                total.set(total.get() + image.get())
            writer.store(sums, total.get(), part, c)
        with writer.loop(count) as c:
            total = writer.pairwise([writer.load(sums, k, c) for k in range(parts)], lambda x, y: x + y)
            terms = writer.spread(writer.tirx.Cast("float32", number * pixels))
            _store(writer, channels, c, total / terms if size.is_mean else total, made)

    given = [*images, *(Operand(name, (count, LANES)) for name in constants)]
    return prim_func([*given, Operand("D", shape)], body)


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


@kind("batch norm gradient")
def batch_norm_gradient(batch: Batch, channels: int, rows: int, cols: int, steps: Steps = ()) -> Any:
    """(G, A, off, mean, factor, spread, gain, R..., D), the five [CB,LANES]: (G - off - (A - mean) factor spread) gain, then the steps."""
    count = blocks(channels)
    images = [blocked(name, batch, channels, rows, cols) for name in ("G", "A", *read_names(steps), "D")]
    constants = [Operand(name, (count, LANES)) for name in ("off", "mean", "factor", "spread", "gain")]
    work = math.prod((count, rows, cols, LANES, len(images)))

    def body(writer: Writer, g: Any, a: Any, *rest: Any) -> None:
        numbers, (*read, d) = rest[: len(constants)], rest[len(constants) :]
        with writer.each(batch, count, rows, work=work) as (i, c, y):
            off, mean, factor, spread, gain = (writer.load(number, c) for number in numbers)
            with writer.loop(cols) as x:
                at = (i, c, y, x)
                normalized = (writer.load(a, *at) - mean) * factor
                value = (writer.load(g, *at) - off - normalized * spread) * gain
                writer.store(d, apply(writer.vectors, steps, value, [writer.load(other, *at) for other in read]), *at)

    return prim_func([*images[:2], *constants, *images[2:]], body)
