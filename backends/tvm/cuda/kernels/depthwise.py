"""Depthwise convolution, transposed too: a thread has a chunk of a pixel, or of a few beside each other, and multiplies in float32.

Memory bounds it, not products, once threads have several pixels: of a 3x3 window four share 18 loads, and 9 of filters; alone each
has as many. That takes a multiprocessor's cache as long as memory takes for the pixel, and widening to float32 as long again.
"""

from __future__ import annotations

import math
import operator
from dataclasses import replace
from typing import Any

import numpy as np

from .....ir.ops.window import Pair
from .....ir.types import Array
from ...cpu.kernels.epilogue import Steps
from ...cpu.kernels.layout import Batch
from ...cpu.kernels.windows import Window
from ...gpus.architectures import Architecture
from .epilogue import read_tensors, stepped
from .kernel import GpuKernel, gpu_kind
from .layout import CHUNK, ELEMENTS, ElementKind, GpuPacking, grown, padded
from .transposed import TransposedSizes
from .windows import Take, WindowSum, window_tensors, windowed
from .writer import THREADS, DeviceFunc, GpuWriter, Tensor

__all__ = ["depthwise_kernel", "gpu_depthwise", "gpu_depthwise_filters", "gpu_transposed_depthwise", "gpu_wide_depthwise", "pixels_of"]

SEVERAL = (4, 2)  # pixels of a thread
WIDEST = 7  # taps of a row, whose filters are registers
FARTHEST = 16  # pixels of a row that a thread reads


def gpu_depthwise_filters(channels: int, kernel: Pair, element: ElementKind) -> GpuPacking:
    """[C,1,KH,KW] as [KH,KW,C]."""
    shape = (*kernel, padded(channels))

    def pack(w: Array) -> Array:
        return grown(np.moveaxis(w.reshape(channels, *kernel), 0, -1), shape, element.name)

    return GpuPacking(shape, element.name, pack)


def pixels_of(batch: Batch, channels: int, window: Window, arch: Architecture) -> int:
    """Of a thread: the most of which two blocks for each multiprocessor are there. A named batch is taken for a few images."""
    rows, cols = window.out
    lines = (8 if batch is None else batch) * rows * padded(channels) // CHUNK
    if not 1 < window.kernel[1] <= WIDEST:
        return 1
    for pixels in SEVERAL:
        threads = lines * math.ceil(cols / pixels)
        if cols >= pixels and _reach(window, pixels) <= FARTHEST and threads >= 2 * arch.multiprocessors * THREADS:
            return pixels
    return 1


def _reach(window: Window, pixels: int) -> int:
    """Pixels of a row between the first and the last that so many results read."""
    return (pixels - 1) * window.strides[1] + (window.kernel[1] - 1) * window.dilations[1] + 1


def depthwise_kernel(batch: Batch, channels: int, window: Window, of: str, steps: Steps, arch: Architecture) -> GpuKernel:
    """(A, W[KH,KW,C], bias[C] by halves, R..., D)."""
    pixels = pixels_of(batch, channels, window, arch)
    if pixels == 1:
        return gpu_depthwise.of(batch, channels, window, of, steps)
    return replace(gpu_wide_depthwise.of(batch, channels, window, of, steps, pixels), arranged=f"{pixels} pixels a thread")


@gpu_kind("depthwise")
def gpu_depthwise(batch: Batch, channels: int, window: Window, of: str, steps: Steps = ()) -> DeviceFunc:
    """(A, W[KH,KW,C], bias[C] by halves, R..., D)."""
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
            writer.change(made.values, operator.add, writer.take_numbers(bias, made.channel // CHUNK))
            stepped(writer, steps, made.values, read, made.at)
            writer.put_chunk(d, made.at, made.values)

    return DeviceFunc([image, *weights, *read_tensors(steps, result.shape, element.dtype), result], body)


@gpu_kind("depthwise")
def gpu_wide_depthwise(batch: Batch, channels: int, window: Window, of: str, steps: Steps, pixels: int) -> DeviceFunc:
    """(A, W[KH,KW,C], bias[C] by halves, R..., D), of so many neighbours of a row a thread. A row's filters are read once for all."""
    element = ELEMENTS[of]
    image, result = window_tensors(batch, channels, window, element.dtype)
    weights = [Tensor("W", (*window.kernel, padded(channels)), element.dtype), Tensor("bias", (padded(channels),), "float32")]
    (down, across), (out_rows, out_cols), lines = window.kernel, window.out, padded(channels)

    def body(writer: GpuWriter, a: Any, w: Any, bias: Any, *rest: Any) -> None:
        *read, d = rest
        tiles = math.ceil(out_cols / pixels)
        with writer.each(writer.images(batch) * out_rows, tiles, lines // CHUNK) as (line, tile, chunk):
            row, image, col = writer.keep(line % out_rows), writer.place(line // out_rows), writer.keep(tile * pixels)
            sums = [writer.registers(CHUNK) for _ in range(pixels)]
            for each in sums:
                writer.fill(each, 0.0)
            with writer.loop(0, down) as i:
                y = writer.keep(row * window.strides[0] - window.pads[0] + i * window.dilations[0])
                with writer.when(writer.inside((y, window.rows))):
                    filters = [writer.take_floats(w, (i * across + j) * lines + chunk * CHUNK) for j in range(across)]
                    for at in range(_reach(window, pixels)):
                        taps = [(each, at - p * window.strides[1]) for p, each in enumerate(sums)]
                        read_by = [(each, filters[of]) for each, tap in taps for of in range(across) if of * window.dilations[1] == tap]
                        if not read_by:
                            continue
                        x = writer.keep(col * window.strides[1] - window.pads[1] + at)
                        with writer.when(writer.inside((x, window.cols))):
                            values = writer.take_floats(a, ((image * window.rows + y) * window.cols + x) * lines + chunk * CHUNK)
                            for each, factors in read_by:
                                writer.change(each, lambda total, value, factor: total + value * factor, values, factors)
            for p, each in enumerate(sums):
                with writer.when(col + p < out_cols):
                    at = writer.keep(((writer.place(line) * out_cols) + col + p) * lines + chunk * CHUNK)
                    writer.change(each, operator.add, writer.take_numbers(bias, chunk))
                    stepped(writer, steps, each, read, at)
                    writer.put_chunk(d, at, each)

    return DeviceFunc([image, *weights, *read_tensors(steps, result.shape, element.dtype), result], body)


@gpu_kind("depthwise, transposed")
def gpu_transposed_depthwise(sizes: TransposedSizes, of: str, steps: Steps = ()) -> DeviceFunc:
    """(A, W[KH,KW,C], bias[C] by halves, R..., D). Of the taps a result has those that a pixel is written through to it: one in
    stride by stride.
    """
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
            values = writer.take_numbers(bias, chunk)
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
