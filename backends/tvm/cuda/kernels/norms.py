"""Normalization: local response, over the channels beside each other of one pixel, and a batch norm as a gain and a shift a channel."""

from __future__ import annotations

import itertools
import math
from typing import Any

from .....ir.ops.norm import LocalResponseNorm
from ...cpu.kernels.epilogue import Steps
from ...cpu.kernels.layout import Batch
from .epilogue import read_tensors, stepped
from .kernel import gpu_kind
from .layout import CHUNK, padded
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["gpu_batch_norm", "gpu_local_response_norm"]


@gpu_kind("local response norm")
def gpu_local_response_norm(op: LocalResponseNorm, batch: Batch, channels: int, rows: int, cols: int, dtype: str) -> DeviceFunc:
    """(A, D). Neighbours come in whole chunks, from a cache; those beyond the last channel count for nothing, whatever lies there."""
    lines, before, after = padded(channels), (op.size - 1) // 2, op.size // 2

    def body(writer: GpuWriter, a: Any, d: Any) -> None:
        const, tirx = writer.to.float32, writer.tirx
        with writer.each(writer.images(batch) * rows * cols, lines // CHUNK) as (pixel, chunk):
            first = writer.place(pixel) * lines
            values, total = writer.take_floats(a, first + chunk * CHUNK), writer.registers(CHUNK)
            writer.fill(total, 0.0)
            for near in range(-math.ceil(before / CHUNK), math.ceil(after / CHUNK) + 1):
                other = writer.keep(chunk + near)
                with writer.when(writer.inside((other, lines // CHUNK))):
                    taken = writer.take_floats(a, first + other * CHUNK) if near else values
                    writer.keep_finite(taken, other, channels)
                    for lane, at in itertools.product(range(CHUNK), repeat=2):
                        if -before <= near * CHUNK + at - lane <= after:
                            writer.set(total, lane, total[lane] + taken[at] * taken[at])
            with writer.unrolled(CHUNK) as lane:
                base = total[lane] * const(op.alpha / op.size) + const(op.bias)
                normal = values[lane] / tirx.pow(base, const(op.beta))
                writer.set(values, lane, writer.either(chunk * CHUNK + lane < channels, normal, const(0)))
            writer.put_chunk(d, first + chunk * CHUNK, values)

    shape = (batch, rows, cols, lines)
    return DeviceFunc([Tensor("A", shape, dtype), Tensor("D", shape, dtype)], body)


@gpu_kind("batch norm")
def gpu_batch_norm(batch: Batch, channels: int, rows: int, cols: int, dtype: str, steps: Steps = ()) -> DeviceFunc:
    """(A, gain[C] and shift[C] by halves, R..., D)."""
    lines = padded(channels)
    shape = (batch, rows, cols, lines)
    numbers = [Tensor("gain", (lines,), "float32"), Tensor("shift", (lines,), "float32")]

    def body(writer: GpuWriter, a: Any, gain: Any, shift: Any, *rest: Any) -> None:
        *read, d = rest
        with writer.each(writer.images(batch) * rows * cols, lines // CHUNK) as (pixel, chunk):
            at = writer.keep(writer.place(pixel) * lines + chunk * CHUNK)
            values, factors, added = writer.take_floats(a, at), *(writer.take_numbers(each, chunk) for each in (gain, shift))
            writer.change(values, lambda value, factor, more: value * factor + more, factors, added)
            stepped(writer, steps, values, read, at)
            writer.put_chunk(d, at, values)

    return DeviceFunc([Tensor("A", shape, dtype), *numbers, *read_tensors(steps, shape, dtype), Tensor("D", shape, dtype)], body)
