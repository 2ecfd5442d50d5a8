"""Pools over windows, and of whole images. Sums are in float32; a NaN wins every maximum."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from .....ir.ops.window import Pair
from ...cpu.kernels.epilogue import Steps
from ...cpu.kernels.layout import Batch
from ...cpu.kernels.windows import Window
from ...cpu.kernels.writer import greatest
from .epilogue import read_tensors, stepped
from .kernel import gpu_kind
from .layout import CHUNK, padded
from .windows import Take, WindowSum, window_tensors, windowed
from .writer import THREADS, DeviceFunc, GpuWriter, Tensor

__all__ = ["gpu_avg_pool", "gpu_global_avg_pool", "gpu_global_max_pool", "gpu_max_pool"]

ACROSS = 8  # chunks that a block of a global pool takes: 128 bytes of float16, a line of memory


@gpu_kind("max pool")
def gpu_max_pool(batch: Batch, channels: int, window: Window, dtype: str, steps: Steps = ()) -> DeviceFunc:
    """(A, R..., D). Padding never wins."""

    def body(writer: GpuWriter, a: Any, *rest: Any) -> None:
        *read, d = rest

        def take(result: WindowSum) -> Take:
            return lambda values, i, j: writer.change(result.values, greatest(writer.tirx), values)

        with windowed(writer, batch, channels, window, a, -math.inf, take) as result:
            stepped(writer, steps, result.values, read, result.at)
            writer.put_chunk(d, result.at, result.values)

    return _pool(batch, channels, window, dtype, steps, body)


@gpu_kind("avg pool")
def gpu_avg_pool(batch: Batch, channels: int, window: Window, count_include_pad: bool, dtype: str, steps: Steps = ()) -> DeviceFunc:
    """(A, R..., D). Positions that only ceil_mode adds are never counted."""

    def body(writer: GpuWriter, a: Any, *rest: Any) -> None:
        *read, d = rest
        counted = writer.registers(1)

        def take(result: WindowSum) -> Take:
            writer.fill(counted, 0.0, 1)

            def add(values: Any, i: Any, j: Any) -> None:
                writer.change(result.values, operator.add, values)
                writer.set(counted, 0, counted[0] + writer.to.float32(1))

            return add

        with windowed(writer, batch, channels, window, a, 0.0, take) as result:
            count = counted[0] if not count_include_pad else writer.to.cast(_padded_taps(writer, window, result), "float32")
            writer.change(result.values, lambda total: total / count)
            stepped(writer, steps, result.values, read, result.at)
            writer.put_chunk(d, result.at, result.values)

    return _pool(batch, channels, window, dtype, steps, body)


def _padded_taps(writer: GpuWriter, window: Window, result: WindowSum) -> Any:
    """Of a window, those in the image or its pads."""
    counts = list[Any]()
    for axis, (at, extent) in enumerate(((result.row, window.rows), (result.col, window.cols))):
        rest = extent + window.pads[axis] + window.pads[axis + 2] - 1 - at * window.strides[axis]
        counts.append(writer.tirx.min(writer.tirx.floordiv(rest, window.dilations[axis]) + 1, window.kernel[axis]))
    return counts[0] * counts[1]


def _pool(batch: Batch, channels: int, window: Window, dtype: str, steps: Steps, body: Callable[..., None]) -> DeviceFunc:
    image, result = window_tensors(batch, channels, window, dtype)
    return DeviceFunc([image, *read_tensors(steps, result.shape, dtype), result], body)


@gpu_kind("global avg pool")
def gpu_global_avg_pool(batch: Batch, channels: int, rows: int, cols: int, dtype: str) -> DeviceFunc:
    """(A[n,H,W,C], D[n,1,1,C])."""
    return _global_pool(batch, channels, (rows, cols), dtype, 0.0, lambda tirx: operator.add, 1.0 / (rows * cols))


@gpu_kind("global max pool")
def gpu_global_max_pool(batch: Batch, channels: int, rows: int, cols: int, dtype: str) -> DeviceFunc:
    """(A[n,H,W,C], D[n,1,1,C])."""
    return _global_pool(batch, channels, (rows, cols), dtype, -math.inf, greatest, 1.0)


def _global_pool(
    batch: Batch, channels: int, image: Pair, dtype: str, start: float, combine: Callable[[Any], Callable[..., Any]], factor: float
) -> DeviceFunc:
    """A block has ACROSS chunks of an image: its threads go through the pixels side by side, and one for each chunk combines them."""
    chunks, down = padded(channels) // CHUNK, THREADS // ACROSS
    columns, pixels = math.ceil(chunks / ACROSS), math.prod(image)

    def body(writer: GpuWriter, a: Any, d: Any) -> None:
        block, thread = writer.to.cta_id([writer.images(batch) * columns]), writer.to.thread_id([THREADS])
        shared = writer.to.alloc_buffer((down * ACROSS * CHUNK,), "float32", scope="shared")
        of, side, first = writer.place(block // columns), thread % ACROSS, thread // ACROSS
        chunk = writer.keep(block % columns * ACROSS + side)
        values, take = writer.registers(CHUNK), combine(writer.tirx)
        writer.fill(values, start)
        with writer.when(chunk < chunks), writer.loop(0, math.ceil(pixels / down)) as step:
            pixel = step * down + first
            with writer.when(pixel < pixels):
                writer.change(values, take, writer.take_floats(a, (of * pixels + pixel) * padded(channels) + chunk * CHUNK))
        with writer.unrolled(CHUNK) as lane:
            writer.set(shared, lane * THREADS + thread, values[lane])  # neighbours in banks that are neighbours
        writer.barrier()
        with writer.when(writer.tirx.And(first == 0, chunk < chunks)):
            with writer.loop(1, down) as other, writer.unrolled(CHUNK) as lane:
                writer.set(values, lane, take(values[lane], shared[lane * THREADS + other * ACROSS + side]))
            writer.change(values, lambda value: value * writer.to.float32(factor))
            writer.put_chunk(d, of * padded(channels) + chunk * CHUNK, values)

    return DeviceFunc(
        [Tensor("A", (batch, *image, padded(channels)), dtype), Tensor("D", (batch, 1, 1, padded(channels)), dtype)],
        body,
    )
