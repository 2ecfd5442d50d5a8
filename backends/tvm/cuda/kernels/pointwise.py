"""What works element by element and that no kernel before it could take in; gates and constants a channel."""

from __future__ import annotations

import math
from typing import Any

from ...cpu.kernels.epilogue import EpilogueStep, Steps
from ...cpu.kernels.layout import Batch
from .epilogue import GPU_STEPS, UNBOUNDED, Scalars, read_tensors, stepped
from .kernel import gpu_kind
from .layout import CHUNK, Image, padded
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["gpu_by_channel", "gpu_pointwise"]


@gpu_kind("pointwise")
def gpu_pointwise(batch: Batch, image: Image, dtype: str, steps: Steps) -> DeviceFunc:
    """(A, R..., D), all alike. What the first step leaves in channels beyond the last is cleared."""
    shape = (batch, *image[1:], padded(image[0]))
    first, chunks = steps[:1], shape[-1] // CHUNK
    others = read_tensors(steps, shape, dtype)

    def body(writer: GpuWriter, a: Any, *rest: Any) -> None:
        *read, d = rest
        with writer.each(writer.images(batch) * (math.prod(shape[1:]) // CHUNK)) as (chunk,):
            at = writer.keep(writer.place(chunk) * CHUNK)
            values = writer.take_floats(a, at)
            count = sum(step.reads for step in first)
            stepped(writer, first, values, read[:count], at)
            if first and first[0].kind in UNBOUNDED:
                writer.keep_finite(values, chunk % chunks, image[0])
            stepped(writer, steps[1:], values, read[count:], at)
            writer.put_chunk(d, at, values)

    return DeviceFunc([Tensor("A", shape, dtype), *others, Tensor("D", shape, dtype)], body)


@gpu_kind("by channel")
def gpu_by_channel(batch: Batch, image: Image, dtype: str, first: EpilogueStep, steps: Steps, is_gate: bool) -> DeviceFunc:
    """(A, B, R..., D): the first step reads a number a channel, a gate B[n,1,1,C] of the images, or constants B[C] by halves."""
    channels = padded(image[0])
    shape = (batch, *image[1:], channels)
    numbers = Tensor("B", (batch, 1, 1, channels), dtype) if is_gate else Tensor("B", (channels,), "float32")

    def body(writer: GpuWriter, a: Any, b: Any, *rest: Any) -> None:
        *read, d = rest
        pixels = image[1] * image[2]
        with writer.each(writer.images(batch) * pixels, channels // CHUNK) as (pixel, chunk):
            at = writer.keep(writer.place(pixel) * channels + chunk * CHUNK)
            values = writer.take_floats(a, at)
            gate = (writer.place(pixel // pixels) * channels + chunk * CHUNK) if is_gate else None
            others = writer.take_numbers(b, chunk) if gate is None else writer.take_floats(b, gate)

            def formula(value: Any, other: Any) -> Any:
                x, y = (other, value) if first.first else (value, other)
                return GPU_STEPS[first.kind](Scalars(writer), first.op, x, y)

            writer.change(values, formula, others)
            if first.kind in UNBOUNDED:
                writer.keep_finite(values, chunk, image[0])
            stepped(writer, steps, values, read, at)
            writer.put_chunk(d, at, values)

    return DeviceFunc([Tensor("A", shape, dtype), numbers, *read_tensors(steps, shape, dtype), Tensor("D", shape, dtype)], body)
