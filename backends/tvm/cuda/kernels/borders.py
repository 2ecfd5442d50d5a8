"""Where the layout changes: values as they are given become images with channels innermost, padded and in the kernels' type, and back.

A thread moves a chunk of one pixel. Around are neighbours of the plain tensor, so that this is read, or written, in whole lines; the
other side takes 16 bytes at a time.
"""

from __future__ import annotations

from typing import Any

from ...cpu.kernels.layout import Batch
from .kernel import gpu_kind
from .layout import CHUNK, padded
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["enter", "leave"]


@gpu_kind("enter")
def enter(batch: Batch, channels: int, rows: int, cols: int, given: str, made: str) -> DeviceFunc:
    """(A[n,C,H,W] of the type `given`, D[n,H,W,C] of the type `made`): rounded once; channels beyond the last are 0."""
    pixels, chunks = rows * cols, padded(channels) // CHUNK

    def body(writer: GpuWriter, a: Any, d: Any) -> None:
        with writer.each(writer.images(batch) * chunks, pixels) as (of, pixel):
            image, chunk = of // chunks, of % chunks
            values = writer.registers(CHUNK, given)
            with writer.unrolled(CHUNK) as lane:
                channel = chunk * CHUNK + lane
                value = a[(writer.place(image) * channels + channel) * pixels + pixel]
                is_there = channel < channels
                whole = channels % CHUNK == 0
                writer.set(values, lane, value if whole else writer.either(is_there, value, writer.tirx.const(0.0, given)))
            writer.put_chunk(d, (writer.place(image) * pixels + pixel) * padded(channels) + chunk * CHUNK, values)

    return DeviceFunc(
        [Tensor("A", (batch, channels, rows, cols), given), Tensor("D", (batch, rows, cols, padded(channels)), made)],
        body,
    )


@gpu_kind("leave")
def leave(batch: Batch, channels: int, rows: int, cols: int, given: str, made: str) -> DeviceFunc:
    """(A[n,H,W,C] of the type `given`, D[n,C,H,W] of the type `made`)."""
    pixels, chunks = rows * cols, padded(channels) // CHUNK

    def body(writer: GpuWriter, a: Any, d: Any) -> None:
        with writer.each(writer.images(batch) * chunks, pixels) as (of, pixel):
            image, chunk = of // chunks, of % chunks
            values = writer.take_chunk(a, (writer.place(image) * pixels + pixel) * padded(channels) + chunk * CHUNK)
            with writer.unrolled(CHUNK) as lane:
                channel = chunk * CHUNK + lane

                def store() -> None:
                    writer.set(d, (writer.place(image) * channels + channel) * pixels + pixel, writer.to.cast(values[lane], made))

                if channels % CHUNK == 0:
                    store()
                else:
                    with writer.when(channel < channels):
                        store()

    return DeviceFunc(
        [Tensor("A", (batch, rows, cols, padded(channels)), given), Tensor("D", (batch, channels, rows, cols), made)],
        body,
    )
