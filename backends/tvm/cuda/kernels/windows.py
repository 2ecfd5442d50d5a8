"""What goes over an image by windows, a channel by itself: a thread has a chunk of channels of one result, and goes through its taps."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...cpu.kernels.layout import Batch
from ...cpu.kernels.windows import Window
from .layout import CHUNK, padded
from .writer import GpuWriter, Tensor

__all__ = ["WindowSum", "window_tensors", "windowed"]

Take = Callable[[Any, Any, Any], None]  # (values of a tap in float32, its row, its column)


@dataclass(frozen=True, slots=True)
class WindowSum:
    """One result: `values` are a chunk of registers, `at` is its place in the result's tensor, `channel` the first of the chunk."""

    values: Any
    at: Any
    row: Any
    col: Any
    channel: Any


def window_tensors(batch: Batch, channels: int, window: Window, dtype: str) -> tuple[Tensor, Tensor]:
    """The image and the result."""
    lines = padded(channels)
    return Tensor("A", (batch, window.rows, window.cols, lines), dtype), Tensor("D", (batch, *window.out, lines), dtype)


@contextmanager
def windowed(
    writer: GpuWriter, batch: Batch, channels: int, window: Window, a: Any, start: float, take: Callable[[WindowSum], Take]
) -> Generator[WindowSum]:
    """`with windowed(...) as result:` after all taps that lie in the image, for each of which `take(result)` was called."""
    chunks, (out_rows, out_cols) = padded(channels) // CHUNK, window.out
    with writer.each(writer.images(batch) * out_rows, out_cols, chunks) as (line, col, chunk):
        row, image = writer.keep(line % out_rows), line // out_rows
        at = writer.keep(((writer.place(image) * out_rows + row) * out_cols + col) * padded(channels) + chunk * CHUNK)
        result = WindowSum(writer.registers(CHUNK), at, row, col, chunk * CHUNK)
        writer.fill(result.values, start)
        taken = take(result)
        with writer.loop(0, window.kernel[0]) as i, writer.loop(0, window.kernel[1]) as j:
            y = writer.keep(row * window.strides[0] - window.pads[0] + i * window.dilations[0])
            x = writer.keep(col * window.strides[1] - window.pads[1] + j * window.dilations[1])
            with writer.when(writer.inside((y, window.rows), (x, window.cols))):
                place = ((writer.place(image) * window.rows + y) * window.cols + x) * padded(channels) + chunk * CHUNK
                taken(writer.take_floats(a, place), i, j)
        yield result
