"""Softmax over the channels of each pixel, or of each row of scores, in float32. The greatest is taken from all: nothing overflows.

As many lanes of a warp as there are chunks, 32 at most, have a pixel together, go over its chunks side by side, and tell each other what
they found. A pixel is read three times, from a cache but for the first. Of maps that are stored channel by channel so many pixels lie
beside each other in a warp as fill a sector of memory.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from ...cpu.kernels.layout import Batch
from ...cpu.kernels.writer import greatest
from .kernel import gpu_kind
from .layout import CHUNK, Image, padded
from .writer import THREADS, WARP, DeviceFunc, GpuWriter, Tensor

__all__ = ["gpu_softmax"]

SECTOR = 32  # bytes of memory that are moved at once


@gpu_kind("softmax")
def gpu_softmax(batch: Batch, image: Image, dtype: str, is_log: bool, plain: str | None = None) -> DeviceFunc:
    """(A[n,H,W,C], D) of an `image` of channels, rows and columns; D lies as A does, or is D[n,C,H,W] of the type `plain`."""
    channels, rows, cols = image
    lines, pixels = padded(channels), rows * cols
    chunks = lines // CHUNK

    def body(writer: GpuWriter, a: Any, d: Any) -> None:
        most = WARP if plain is None or pixels == 1 else WARP * writer.bytes_of(plain) // SECTOR
        together = min(most, 1 << (chunks - 1).bit_length())  # lanes that have a pixel
        each = THREADS // together  # pixels of a block
        tirx, count = writer.tirx, writer.images(batch) * pixels
        block, thread = writer.to.cta_id([(count + each - 1) // each]), writer.to.thread_id([THREADS])
        lane, mine = thread % together, writer.keep(block * each + thread // together)
        pixel = writer.keep(writer.to.min(mine, count - 1))  # every lane of a warp has something to tell
        found, greater = writer.registers(2), greatest(tirx)

        def over(formula: Callable[[Any], None]) -> None:
            """With a chunk of registers for each that this lane has: what is beyond the last channel is minus infinity."""
            with writer.loop(0, math.ceil(chunks / together)) as step:
                chunk = step * together + lane
                with writer.when(chunk < chunks):
                    values = writer.take_floats(a, writer.place(pixel) * lines + chunk * CHUNK)
                    if channels % CHUNK:
                        with writer.unrolled(CHUNK) as i:
                            beyond = writer.to.float32(-math.inf)
                            writer.set(values, i, writer.either(chunk * CHUNK + i < channels, values[i], beyond))
                    formula((chunk, values))

        def gather(into: int, combine: Callable[[Any, Any], Any], term: Callable[[Any], Any]) -> None:
            def take(given: Any) -> None:
                with writer.unrolled(CHUNK) as i:
                    writer.set(found, into, combine(found[into], term(given[1][i])))

            over(take)
            distance = together // 2
            while distance:
                other = writer.keep(writer.from_lane(found[into], distance))
                writer.set(found, into, combine(found[into], other))
                distance //= 2

        writer.set(found, 0, writer.to.float32(-math.inf))
        writer.set(found, 1, writer.to.float32(0))
        gather(0, greater, lambda value: value)
        gather(1, operator.add, lambda value: tirx.exp(value - found[0]))
        if is_log:
            writer.set(found, 1, tirx.log(found[1]))

        def share(value: Any) -> Any:
            return value - found[0] - found[1] if is_log else tirx.exp(value - found[0]) / found[1]

        def put_row() -> None:
            """Scores as they are told: neighbours by neighbours."""
            with writer.loop(0, math.ceil(channels / together)) as step:
                channel = writer.keep(step * together + lane)
                with writer.when(channel < channels):
                    value = writer.to.cast(a[writer.place(pixel) * lines + channel], "float32")
                    writer.set(d, writer.place(pixel) * channels + channel, writer.to.cast(share(value), plain))

        def put(given: Any) -> None:
            chunk, values = given
            writer.change(values, share)
            if plain is None:
                writer.keep_finite(values, chunk, channels)
                writer.put_chunk(d, writer.place(pixel) * lines + chunk * CHUNK, values)
                return
            with writer.unrolled(CHUNK) as i:
                channel = chunk * CHUNK + i
                with writer.when(channel < channels):
                    at = (writer.place(pixel // pixels) * channels + channel) * pixels + pixel % pixels
                    writer.set(d, at, writer.to.cast(values[i], plain))

        with writer.when(mine < count):
            if plain is not None and pixels == 1:
                put_row()
            else:
                over(put)

    result = Tensor("D", (batch, rows, cols, lines), dtype) if plain is None else Tensor("D", (batch, *image), plain)
    return DeviceFunc([Tensor("A", (batch, rows, cols, lines), dtype), result], body)
