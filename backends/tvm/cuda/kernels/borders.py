"""Where the layout changes: values as they are given become images with channels innermost, padded and in the kernels' type, and back.

A thread moves a chunk of one pixel. Beside it is one with the next chunk, and beside these are neighbours of the plain tensor, so that
both sides take whole sectors of memory: 32 bytes of a pixel, and 16 values of a channel. Of one pixel, as scores have, both sides are rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any

from ...cpu.kernels.layout import Batch
from .kernel import gpu_kind
from .layout import CHUNK, padded
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["enter", "leave"]

BESIDE = 2  # chunks of a pixel


@gpu_kind("enter")
def enter(batch: Batch, channels: int, rows: int, cols: int, given: str, made: str) -> DeviceFunc:
    """(A[n,C,H,W] of the type `given`, D[n,H,W,C] of the type `made`): rounded once; channels beyond the last are 0."""
    pixels, lines = rows * cols, padded(channels)

    def body(writer: GpuWriter, a: Any, d: Any) -> None:
        def found(channel: Any, read: Callable[[], Any]) -> Any:
            return read() if channels % CHUNK == 0 else writer.either(channel < channels, read(), writer.tirx.const(0.0, given))

        if pixels == 1:
            with writer.each(writer.images(batch), lines) as (image, channel):
                value = found(channel, lambda: a[writer.place(image) * channels + channel])
                writer.set(d, writer.place(image) * lines + channel, writer.to.cast(value, made))
            return
        with _chunks(writer, batch, lines, pixels) as (image, chunk, pixel):
            values = writer.registers(CHUNK, given)
            with writer.unrolled(CHUNK) as lane:
                channel = chunk * CHUNK + lane
                writer.set(values, lane, found(channel, lambda: a[(writer.place(image) * channels + channel) * pixels + pixel]))
            writer.put_chunk(d, (writer.place(image) * pixels + pixel) * lines + chunk * CHUNK, values)

    return DeviceFunc(
        [Tensor("A", (batch, channels, rows, cols), given), Tensor("D", (batch, rows, cols, padded(channels)), made)],
        body,
    )


@gpu_kind("leave")
def leave(batch: Batch, channels: int, rows: int, cols: int, given: str, made: str) -> DeviceFunc:
    """(A[n,H,W,C] of the type `given`, D[n,C,H,W] of the type `made`)."""
    pixels, lines = rows * cols, padded(channels)

    def body(writer: GpuWriter, a: Any, d: Any) -> None:
        if pixels == 1:
            with writer.each(writer.images(batch), channels) as (image, channel):
                value = a[writer.place(image) * lines + channel]
                writer.set(d, writer.place(image) * channels + channel, writer.to.cast(value, made))
            return
        with _chunks(writer, batch, lines, pixels) as (image, chunk, pixel):
            values = writer.take_chunk(a, (writer.place(image) * pixels + pixel) * lines + chunk * CHUNK)
            with writer.unrolled(CHUNK) as lane:
                channel = chunk * CHUNK + lane
                with nullcontext() if channels % CHUNK == 0 else writer.when(channel < channels):
                    writer.set(d, (writer.place(image) * channels + channel) * pixels + pixel, writer.to.cast(values[lane], made))

    return DeviceFunc(
        [Tensor("A", (batch, rows, cols, padded(channels)), given), Tensor("D", (batch, channels, rows, cols), made)],
        body,
    )


@contextmanager
def _chunks(writer: GpuWriter, batch: Batch, lines: int, pixels: int) -> Generator[tuple[Any, Any, Any]]:
    """A thread for each chunk of a pixel: image, chunk, pixel."""
    chunks = lines // CHUNK
    beside = min(BESIDE, chunks)
    across = math.ceil(chunks / beside)
    with writer.each(writer.images(batch) * across, pixels, beside) as (of, pixel, side):
        chunk = writer.keep(of % across * beside + side)
        with nullcontext() if chunks % beside == 0 else writer.when(chunk < chunks):
            yield of // across, chunk, pixel
