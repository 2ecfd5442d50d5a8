"""Depthwise convolution: a thread has a chunk of channels of one pixel, and multiplies in float32. Memory bounds it, not products."""

from __future__ import annotations

from typing import Any

import numpy as np

from .....ir.types import Array
from ...cpu.kernels.epilogue import Steps
from ...cpu.kernels.layout import Batch
from ...cpu.kernels.windows import Window
from .epilogue import read_tensors, stepped
from .kernel import gpu_kind
from .layout import ELEMENTS, ElementKind, GpuPacking, grown, padded
from .windows import Take, WindowSum, window_tensors, windowed
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["gpu_depthwise", "gpu_depthwise_filters"]


def gpu_depthwise_filters(channels: int, window: Window, element: ElementKind) -> GpuPacking:
    """[C,1,KH,KW] as [KH,KW,C]."""
    shape = (*window.kernel, padded(channels))

    def pack(w: Array) -> Array:
        return grown(np.moveaxis(w.reshape(channels, *window.kernel), 0, -1), shape, element.name)

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
