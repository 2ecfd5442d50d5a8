"""Sums that were split among blocks, added together, and what follows them."""

from __future__ import annotations

import math
import operator
from typing import Any

from ...cpu.kernels.epilogue import Steps
from ...cpu.kernels.layout import Batch
from .epilogue import read_tensors, stepped
from .kernel import gpu_kind
from .layout import CHUNK, ELEMENTS
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["add_parts"]


@gpu_kind("parts added")
def add_parts(splits: int, batch: Batch, pixel: tuple[int, int, int], of: str, steps: Steps) -> DeviceFunc:
    """(parts[splits,n,H,W,C], bias[C], R..., Y[n,H,W,C]): always in the same order."""
    shape, dtype = (batch, *pixel), ELEMENTS[of].dtype
    given = [Tensor("parts", (splits, *shape), "float32"), Tensor("bias", (pixel[-1],), "float32"), *read_tensors(steps, shape, dtype)]

    def body(writer: GpuWriter, parts: Any, bias: Any, *others: Any) -> None:
        *read, y = others
        chunks = pixel[-1] // CHUNK
        count = writer.images(batch) * math.prod(pixel) // CHUNK
        with writer.each(count // chunks, chunks) as (row, chunk):
            at = writer.keep(writer.place(row) * pixel[-1] + chunk * CHUNK)
            total = writer.take_floats(bias, chunk * CHUNK)
            for part in range(splits):
                more = writer.take_chunk(parts, writer.place(count) * (part * CHUNK) + at)
                writer.change(total, operator.add, more)
            stepped(writer, steps, total, read, at)
            writer.put_chunk(y, at, total)

    return DeviceFunc([*given, Tensor("Y", shape, dtype)], body)
