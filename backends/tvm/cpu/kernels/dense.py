"""Dense layers on plain tensors. For one image a dense layer is as fast as its weights can be read, once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...processor import AVX512, Processor
from .epilogue import Steps, apply, read_names
from .kernel import kind
from .layout import LANES, Batch, Packing, block_channels, blocks
from .writer import Operand, Register, Writer, prim_func

__all__ = ["dense", "dense_weights", "finish_row"]

SUMS = 8  # of an image or several that share what is read of the weights, at most: enough for none to wait for itself


def dense_weights(c_in: int, c_out: int) -> Packing:
    """[O,I] as [OB,I,LANES]."""
    return Packing((blocks(c_out), c_in, LANES), block_channels)


@kind("dense")
def dense(
    batch: Batch, image: tuple[int, ...], c_out: int, steps: Steps = (), processor: Processor = AVX512, dtype: str = "float32"
) -> Any:
    """(A[n,image], W[OB,I,LANES], bias[OB,LANES], R[n,O]..., D[n,O]), A and D of a type; an image of any shape has I elements."""
    c_in, count = math.prod(image), blocks(c_out)
    others = [Operand(name, (batch, c_out)) for name in read_names(steps)]
    most = min(SUMS, processor.sums(LANES))

    def body(writer: Writer, a: Any, w: Any, bias: Any, *rest: Any) -> None:
        *read, d = rest
        rows = writer.alias(a, (c_in,))
        images = writer.batch if batch is None else writer.long(batch)

        def images_from(first: Any, o: Any, number: int) -> None:
            for j, value in enumerate(_products(writer, rows, w, first, o, number, c_in, max(1, most // number))):
                finish_row(writer, steps, read, d, c_out, first + j, o, value + writer.load(bias, o))

        def in_groups(sizes: Sequence[int]) -> None:
            with writer.each(1, count, work=count * c_in * LANES * (batch or 1)) as (_, o):
                done: Any = writer.long(0)
                for number in sizes:
                    stop = writer.keep(images - (images - done) % number)
                    with writer.loop((stop - done) // number) as group:
                        images_from(done + group * number, o, number)
                    done = stop

        if batch is None:  # a single image has code to itself: it took a third longer amid the other loops
            writer.branch(images == 1, lambda: in_groups([1]), lambda: in_groups([most >> k for k in range(most.bit_length())]))
        else:
            in_groups([number for number in (min(batch, most), batch % most if batch > most else 0) if number])

    weights = [Operand("W", (count, c_in, LANES)), Operand("bias", (count, LANES))]
    return prim_func([Operand("A", (batch, *image), dtype), *weights, *others, Operand("D", (batch, c_out), dtype)], body)


def finish_row(writer: Writer, steps: Steps, read: Sequence[Any], d: Any, c_out: int, i: Any, o: Any, value: Any) -> None:
    """Store block `o` of image `i` after the steps; of the last block, lane by lane, what there is of it."""
    full, left = divmod(c_out, LANES)

    def whole() -> None:
        lanes = writer.lanes(o * LANES)
        values = [writer.keep(other[i, lanes]) for other in read]
        writer.to.buffer_store(d, writer.typed_as(d, apply(writer.vectors, steps, value, values), LANES), [i, lanes])

    def part() -> None:
        values = [Register(writer) for _ in read]
        for register, other in zip(values, read, strict=True):
            register.set(writer.spread(0.0))
            for lane in range(left):
                register.set_lane(lane, other[i, full * LANES + lane])
        result = Register(writer)
        result.set(apply(writer.vectors, steps, value, [register.get() for register in values]))
        for lane in range(left):
            writer.to.buffer_store(d, writer.typed_as(d, result.lane(lane)), [i, full * LANES + lane])

    if not left:
        whole()
    elif not full:
        part()
    else:
        writer.branch(o < full, whole, part)


def _products(writer: Writer, a: Any, w: Any, first: Any, o: Any, number: int, c_in: int, width: int) -> list[Any]:
    """Sums of products over all inputs, one for each image; those of few images have `width` parts, so that none waits for itself."""
    sums = writer.registers(number * width)
    for j in range(number * width):
        writer.store(sums, writer.spread(0.0), j)

    def wide(value: Any) -> Any:
        return value if str(a.dtype) == "float32" else writer.tirx.Cast("float32", value)

    def add(k: Any, part: int) -> None:
        weights = writer.load(w, o, k)
        for j in range(number):
            at = j * width + part
            writer.store(sums, sums[(at, writer.lanes())] + writer.spread(wide(a[first + j, k])) * weights, at)

    with writer.loop(c_in // width) as k:
        for part in range(width):
            add(k * width + part, part)
    for part in range(c_in % width):
        add(writer.long(c_in // width * width + part), part)
    parts = [[writer.load(sums, j * width + part) for part in range(width)] for j in range(number)]
    return [writer.pairwise(part, lambda x, y: x + y) for part in parts]
