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
    lines = padded(channels)

    def body(writer: GpuWriter, a: Any, d: Any) -> None:
        tirx, lanes = writer.tirx, _Lanes(writer, batch, image, a, plain)
        found = writer.registers(2)  # the greatest, and the sum of what is left of all
        writer.set(found, 0, writer.to.float32(-math.inf))
        writer.set(found, 1, writer.to.float32(0))
        lanes.gather(found, 0, greatest(tirx), lambda value: value)
        lanes.gather(found, 1, operator.add, lambda value: tirx.exp(value - found[0]))
        if is_log:
            writer.set(found, 1, tirx.log(found[1]))

        def share(value: Any) -> Any:
            return value - found[0] - found[1] if is_log else tirx.exp(value - found[0]) / found[1]

        with writer.when(lanes.is_there):
            lanes.put(d, share)

    result = Tensor("D", (batch, rows, cols, lines), dtype) if plain is None else Tensor("D", (batch, *image), plain)
    return DeviceFunc([Tensor("A", (batch, rows, cols, lines), dtype), result], body)


class _Lanes:
    """The lanes of a warp that have a `pixel` together, each every so manieth of its chunks."""

    def __init__(self, writer: GpuWriter, batch: Batch, image: Image, a: Any, plain: str | None) -> None:
        self.writer, self.a, self.plain = writer, a, plain
        self.channels, rows, cols = image
        self.lines, self.pixels = padded(self.channels), rows * cols
        self.chunks, count = self.lines // CHUNK, writer.images(batch) * self.pixels
        most = WARP if plain is None or self.pixels == 1 else WARP * writer.bytes_of(plain) // SECTOR
        self.size = min(most, 1 << (self.chunks - 1).bit_length())
        each = THREADS // self.size  # pixels of a block
        block, thread = writer.to.cta_id([(count + each - 1) // each]), writer.to.thread_id([THREADS])
        mine = writer.keep(block * each + thread // self.size)
        self.lane, self.is_there = thread % self.size, mine < count
        self.pixel = writer.keep(writer.to.min(mine, count - 1))  # every lane of a warp has something to tell

    def over(self, take: Callable[[Any, Any], None]) -> None:
        """`take(chunk, values)` of each chunk that this lane has: what is beyond the last channel is minus infinity."""
        writer = self.writer
        with writer.loop(0, math.ceil(self.chunks / self.size)) as step:
            chunk = step * self.size + self.lane
            with writer.when(chunk < self.chunks):
                values = writer.take_floats(self.a, self.place(chunk * CHUNK))
                if self.channels % CHUNK:
                    with writer.unrolled(CHUNK) as i:
                        beyond = writer.to.float32(-math.inf)
                        writer.set(values, i, writer.either(chunk * CHUNK + i < self.channels, values[i], beyond))
                take(chunk, values)

    def place(self, channel: Any) -> Any:
        """Of a channel of the pixel where channels are neighbours."""
        return self.writer.place(self.pixel) * self.lines + channel

    def gather(self, found: Any, into: int, combine: Callable[[Any, Any], Any], term: Callable[[Any], Any]) -> None:
        """All terms of the pixel by `combine`, in one of the registers of each of its lanes."""
        writer = self.writer

        def take(chunk: Any, values: Any) -> None:
            with writer.unrolled(CHUNK) as i:
                writer.set(found, into, combine(found[into], term(values[i])))

        self.over(take)
        writer.over_lanes(found, (into,), self.size, combine)

    def put(self, d: Any, share: Callable[[Any], Any]) -> None:
        if self.plain is None:
            self._put_chunks(d, share)
        elif self.pixels == 1:
            self._put_row(d, share, self.plain)
        else:
            self._put_planes(d, share, self.plain)

    def _put_chunks(self, d: Any, share: Callable[[Any], Any]) -> None:
        """As the value lies."""

        def store(chunk: Any, values: Any) -> None:
            self.writer.change(values, share)
            self.writer.keep_finite(values, chunk, self.channels)
            self.writer.put_chunk(d, self.place(chunk * CHUNK), values)

        self.over(store)

    def _put_row(self, d: Any, share: Callable[[Any], Any], plain: str) -> None:
        """Scores as they are told: neighbours by neighbours."""
        writer = self.writer
        with writer.loop(0, math.ceil(self.channels / self.size)) as step:
            channel = writer.keep(step * self.size + self.lane)
            with writer.when(channel < self.channels):
                value = writer.to.cast(self.a[self.place(channel)], "float32")
                writer.set(d, writer.place(self.pixel) * self.channels + channel, writer.to.cast(share(value), plain))

    def _put_planes(self, d: Any, share: Callable[[Any], Any], plain: str) -> None:
        """A map, channel by channel."""
        writer = self.writer

        def store(chunk: Any, values: Any) -> None:
            writer.change(values, share)
            with writer.unrolled(CHUNK) as i:
                channel = chunk * CHUNK + i
                with writer.when(channel < self.channels):
                    at = (writer.place(self.pixel // self.pixels) * self.channels + channel) * self.pixels + self.pixel % self.pixels
                    writer.set(d, at, writer.to.cast(values[i], plain))

        self.over(store)
