"""Depthwise convolution, transposed too: a thread has a chunk of one pixel, and multiplies in float32. Memory bounds it, not products."""

from __future__ import annotations

from typing import Any

import numpy as np

from .....ir.ops.window import Pair
from .....ir.types import Array
from ...cpu.kernels.epilogue import Steps
from ...cpu.kernels.layout import Batch
from ...cpu.kernels.windows import Window
from .epilogue import read_tensors, stepped
from .kernel import gpu_kind
from .layout import CHUNK, ELEMENTS, ElementKind, GpuPacking, grown, padded
from .transposed import TransposedSizes
from .windows import Take, WindowSum, window_tensors, windowed
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["gpu_depthwise", "gpu_depthwise_filters", "gpu_transposed_depthwise"]


def gpu_depthwise_filters(channels: int, kernel: Pair, element: ElementKind) -> GpuPacking:
    """[C,1,KH,KW] as [KH,KW,C]."""
    shape = (*kernel, padded(channels))

    def pack(w: Array) -> Array:
        return grown(np.moveaxis(w.reshape(channels, *kernel), 0, -1), shape, element.name)

    return GpuPacking(shape, element.name, pack)


@gpu_kind("depthwise")
def gpu_depthwise(batch: Batch, channels: int, window: Window, of: str, steps: Steps = ()) -> DeviceFunc:
    """(A, W[KH,KW,C], bias[C], R..., D)."""
    element = ELEMENTS[of]
    image, result = window_tensors(batch, channels, window, element.dtype)
    weights = [Tensor("W", (*window.kernel, padded(channels)), element.dtype), Tensor("bias", (padded(channels),), "float32")]

    def body(writer: GpuWriter, a: Any, w: Any, bias: Any, *rest: Any) -> None:
        *read, d = rest

        def take(result: WindowSum) -> Take:
            def add(values: Any, i: Any, j: Any) -> None:
                factors = writer.take_floats(w, (i * window.kernel[1] + j) * padded(channels) + result.channel)
                writer.change(result.values, lambda total, x, y: total + x * y, values, factors)

            return add

        with windowed(writer, batch, channels, window, a, 0.0, take) as made:
            writer.change(made.values, lambda total, added: total + added, writer.take_floats(bias, made.channel))
            stepped(writer, steps, made.values, read, made.at)
            writer.put_chunk(d, made.at, made.values)

    return DeviceFunc([image, *weights, *read_tensors(steps, result.shape, element.dtype), result], body)


@gpu_kind("depthwise, transposed")
def gpu_transposed_depthwise(sizes: TransposedSizes, of: str, steps: Steps = ()) -> DeviceFunc:
    """(A, W[KH,KW,C], bias[C], R..., D). Of the taps a result has those that a pixel is written through to it: one in stride by stride."""
    element, lines = ELEMENTS[of], padded(sizes.c_in)
    (rows, cols), result = sizes.whole, (sizes.batch, *sizes.whole, lines)
    given = [
        Tensor("A", (sizes.batch, sizes.rows, sizes.cols, lines), element.dtype),
        Tensor("W", (*sizes.taps, lines), element.dtype),
        Tensor("bias", (lines,), "float32"),
    ]

    def body(writer: GpuWriter, a: Any, w: Any, bias: Any, *rest: Any) -> None:
        *read, d = rest
        with writer.each(writer.images(sizes.batch) * rows, cols, lines // CHUNK) as (line, col, chunk):
            image, row = writer.place(line // rows), writer.keep(line % rows)
            values = writer.take_floats(bias, chunk * CHUNK)
            with writer.loop(0, sizes.taps[0]) as i, writer.loop(0, sizes.taps[1]) as j:
                down, across = (
                    writer.keep(at + before - tap * spread)
                    for at, before, tap, spread in zip((row, col), sizes.before, (i, j), sizes.spread, strict=True)
                )
                is_read = writer.tirx.And(*(at % stride == 0 for at, stride in zip((down, across), sizes.phases, strict=True)))
                y, x = (writer.keep(at // stride) for at, stride in zip((down, across), sizes.phases, strict=True))
                with writer.when(writer.tirx.And(is_read, writer.inside((y, sizes.rows), (x, sizes.cols)))):
                    pixels = writer.take_floats(a, ((image * sizes.rows + y) * sizes.cols + x) * lines + chunk * CHUNK)
                    factors = writer.take_floats(w, (i * sizes.taps[1] + j) * lines + chunk * CHUNK)
                    writer.change(values, lambda total, pixel, factor: total + pixel * factor, pixels, factors)
            at = writer.keep((writer.place(line) * cols + col) * lines + chunk * CHUNK)
            stepped(writer, steps, values, read, at)
            writer.put_chunk(d, at, values)

    return DeviceFunc([*given, *read_tensors(steps, result, element.dtype), Tensor("D", result, element.dtype)], body)
