"""Convolution by float32 multiply-adds: of few channels, and so few products that a launch takes longer. A thread has a chunk of filters of
a pixel, or several share its taps, as many as give each multiprocessor a block, and add up what they have by shuffles.

Of a tap a thread loads the channels once, and of each filter as many weights; neighbouring threads have neighbouring pixels of the same
filters, whose weights a warp reads once. Channels beyond the last are not multiplied where one chunk has all, nor filters where one has.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any

from ...cpu.kernels.epilogue import Steps
from ...gpus.architectures import Architecture
from .epilogue import read_tensors, stepped
from .kernel import GpuKernel, gpu_kind
from .layout import CHUNK, ELEMENTS, ElementKind
from .sizes import ConvSizes
from .writer import THREADS, WARP, DeviceFunc, GpuWriter, Tensor

__all__ = ["direct", "direct_kernel", "direct_macs", "sharers_of"]


@dataclass(frozen=True, slots=True)
class _Items:
    """What a result is summed over: `number` chunks, `chunks` of each tap, of which `channels` count; and `filters` of a chunk."""

    number: int
    chunks: int
    channels: int
    filters: int


def _items(sizes: ConvSizes) -> _Items:
    chunks, taps = sizes.group_in // CHUNK, sizes.kernel[0] * sizes.kernel[1]
    channels = sizes.c_in // sizes.products if chunks == 1 else CHUNK
    return _Items(taps * chunks, chunks, channels, sizes.c_out if sizes.stored_out == CHUNK else CHUNK)


def direct_macs(sizes: ConvSizes) -> int:
    """Multiply-adds of all images, what fills chunks and lies outside the image included; of a named batch that is a ValueError."""
    if sizes.batch is None:
        raise ValueError("multiply-adds are counted for a number of images, and this batch has a name")
    items = _items(sizes)
    return sizes.batch * sizes.pixels * (sizes.stored_out // CHUNK) * items.filters * items.number * items.channels


def sharers_of(sizes: ConvSizes, arch: Architecture) -> int:
    """Threads that share the taps of a chunk: no more than there are, or than a warp has."""
    units, sharers = (sizes.batch or 1) * sizes.pixels * sizes.stored_out // CHUNK, 1
    while 2 * sharers <= min(WARP, _items(sizes).number) and sharers * units < arch.multiprocessors * THREADS:
        sharers *= 2
    return sharers


def direct_kernel(sizes: ConvSizes, element: ElementKind, steps: Steps, arch: Architecture) -> GpuKernel:
    """(X[n,H,W,C], W, bias[O], R[n,H',W',O]..., Y[n,H',W',O])."""
    sharers = sharers_of(sizes, arch)
    arranged = "x".join(map(str, sizes.kernel)) + (f", {sharers} threads a sum" if sharers > 1 else "")
    return replace(direct.of(sizes, element.name, steps, sharers), arranged=arranged)


@gpu_kind("direct")
def direct(sizes: ConvSizes, of: str, steps: Steps = (), sharers: int = 1) -> DeviceFunc:
    """(X, W[O,depth], bias, R..., Y). The filters are packed as for tensor cores."""
    element, result = ELEMENTS[of], (sizes.batch, *sizes.out, sizes.stored_out)
    given = [
        Tensor("X", (sizes.batch, sizes.rows, sizes.cols, sizes.stored_in), element.dtype),
        Tensor("W", (sizes.stored_out, sizes.depth), element.dtype),
        Tensor("bias", result[-1:], "float32"),
    ]

    def body(writer: GpuWriter, x: Any, w: Any, bias: Any, *rest: Any) -> None:
        *read, y = rest
        pixels = writer.images(sizes.batch) * sizes.pixels
        units = pixels * (sizes.stored_out // CHUNK)
        block = writer.to.cta_id([(units * sharers + THREADS - 1) // THREADS])
        place = writer.keep(block * THREADS + writer.to.thread_id([THREADS]))
        unit = writer.keep(writer.to.min(place // sharers, units - 1))  # every lane of a warp has something to tell
        pixel, chunk = writer.keep(unit % pixels), writer.keep(unit // pixels)
        sums = writer.registers(CHUNK)
        writer.fill(sums, 0.0)
        _add_taps(writer, sizes, (x, w), (pixel, chunk, place % sharers), sums, sharers)
        writer.over_lanes(sums, range(_items(sizes).filters), sharers)
        with writer.when(writer.tirx.And(place % sharers == 0, place < units * sharers)):
            at = writer.keep(writer.place(pixel) * sizes.stored_out + chunk * CHUNK)
            writer.change(sums, operator.add, writer.take_chunk(bias, chunk * CHUNK))
            stepped(writer, steps, sums, read, at)
            writer.put_chunk(y, at, sums)

    return DeviceFunc([*given, *read_tensors(steps, result, element.dtype), Tensor("Y", result, element.dtype)], body)


def _add_taps(writer: GpuWriter, sizes: ConvSizes, given: tuple[Any, Any], mine: tuple[Any, Any, Any], sums: Any, sharers: int) -> None:
    """Every so manieth chunk of the window of a pixel, by a chunk of filters."""
    (x, w), (pixel, chunk, share) = given, mine
    items, (out_rows, out_cols) = _items(sizes), sizes.out
    row = writer.keep(pixel // out_cols % out_rows * sizes.strides[0] - sizes.pads[0])
    col = writer.keep(pixel % out_cols * sizes.strides[1] - sizes.pads[1])
    image = writer.place(pixel // sizes.pixels)
    first = chunk * CHUNK // sizes.group_out * sizes.group_in if sizes.products > 1 else 0
    values, count = writer.registers(CHUNK, str(x.dtype)), min(sizes.per_tap, CHUNK)
    factors = writer.registers(CHUNK * CHUNK, str(w.dtype))
    with writer.loop(0, -(-items.number // sharers)) as step:
        item = writer.keep(step * sharers + share)
        tap, part = item // items.chunks, item % items.chunks * CHUNK
        y = writer.keep(row + tap // sizes.kernel[1] * sizes.dilations[0])
        across = writer.keep(col + tap % sizes.kernel[1] * sizes.dilations[1])
        inside = writer.inside((y, sizes.rows), (across, sizes.cols))
        with writer.when(writer.tirx.And(item < items.number, inside) if items.number % sharers else inside):
            writer.take(values, 0, x, ((image * sizes.rows + y) * sizes.cols + across) * sizes.stored_in + first + part, count)
            for filter_ in range(items.filters):
                start = writer.place(chunk * CHUNK + filter_) * sizes.depth + tap * sizes.per_tap + part
                writer.take(factors, filter_ * CHUNK, w, start, count)
            for channel in range(items.channels):
                value = writer.keep(writer.to.cast(values[channel], "float32"))
                for filter_ in range(items.filters):
                    factor = writer.to.cast(factors[filter_ * CHUNK + channel], "float32")
                    writer.set(sums, filter_, sums[filter_] + value * factor)
