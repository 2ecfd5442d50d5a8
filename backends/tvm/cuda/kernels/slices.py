"""Pieces of images, every so manieth row and column of them, and images with a margin: chunks are found in the image, or filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .....ir.ops.window import Pair
from ...cpu.kernels.epilogue import Steps
from ...cpu.kernels.layout import Batch
from .epilogue import read_tensors, stepped
from .kernel import gpu_kind
from .layout import CHUNK, Image, padded
from .writer import DeviceFunc, GpuWriter, Tensor

__all__ = ["Piece", "gpu_pad", "gpu_slice"]


@dataclass(frozen=True, slots=True)
class Piece:
    """`result` is what of `image` begins at `first` and takes every so manieth row and column, by `strides`. Where it begins before the
    image, or ends behind it, there is `value`, or by `mode`, of rows and columns, what is at the `edge`, or as far on its other side
    (`reflect`).
    """

    image: Image
    result: Image
    first: tuple[int, int, int]
    strides: Pair = (1, 1)
    value: float = 0.0
    mode: str = "constant"

    @property
    def lies_inside(self) -> bool:
        """Whether it has nothing but the image."""
        extents = zip(self.first, self.result, (1, *self.strides), self.image, strict=True)
        return all(first >= 0 and first + (result - 1) * stride < extent for first, result, stride, extent in extents)

    def found(self, writer: GpuWriter, at: Any, extent: int) -> Any:
        """The row or column that is at a place, which is in the image but for a margin of a constant."""
        if self.mode == "constant":
            return at
        last, to = extent - 1, writer.to
        if self.mode == "reflect":
            at = last - writer.tirx.abs(last - writer.tirx.abs(at))
        return writer.keep(to.max(to.min(at, last), 0))


@gpu_kind("slice")
def gpu_slice(batch: Batch, piece: Piece, dtype: str, steps: Steps = ()) -> DeviceFunc:
    """(A, R..., D)."""
    return _moved(batch, piece, dtype, steps)


@gpu_kind("pad")
def gpu_pad(batch: Batch, piece: Piece, dtype: str, steps: Steps = ()) -> DeviceFunc:
    """(A, R..., D)."""
    return _moved(batch, piece, dtype, steps)


def _moved(batch: Batch, piece: Piece, dtype: str, steps: Steps) -> DeviceFunc:
    (channels, rows, cols), (made, out_rows, out_cols) = piece.image, piece.result
    shift, lines = piece.first[0], padded(channels)
    shape = (batch, out_rows, out_cols, padded(made))

    def body(writer: GpuWriter, a: Any, *rest: Any) -> None:
        *read, d = rest
        with writer.each(writer.images(batch) * out_rows, out_cols, padded(made) // CHUNK) as (line, col, chunk):
            image = writer.place(line // out_rows)
            y = piece.found(writer, writer.keep(line % out_rows * piece.strides[0] + piece.first[1]), rows)
            x = piece.found(writer, writer.keep(col * piece.strides[1] + piece.first[2]), cols)
            at = writer.keep((writer.place(line) * out_cols + col) * padded(made) + chunk * CHUNK)
            start = ((image * rows + y) * cols + x) * lines
            values = writer.registers(CHUNK)
            writer.fill(values, piece.value)
            tests = [] if piece.lies_inside or piece.mode != "constant" else [(y, rows), (x, cols)]
            writer.take_shifted(values, a, start, chunk, shift, channels, *tests)
            stepped(writer, steps, values, read, at)
            writer.keep_finite(values, chunk, made)
            writer.put_chunk(d, at, values)

    return DeviceFunc([Tensor("A", (batch, rows, cols, lines), dtype), *read_tensors(steps, shape, dtype), Tensor("D", shape, dtype)], body)
