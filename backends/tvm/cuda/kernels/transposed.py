"""Transposed convolution on tensor cores, phase by phase: results that are a stride apart have windows alike, and make a convolution.

Along an axis with stride s and dilation d, s' = s/gcd(s,d) phases read taps, every s'-th each, of pixels d/gcd(s,d) apart (Dumoulin & Visin
2016, sec. 4; Shi et al. 2016). Phases run side by side, as groups do; where one has fewer taps than another, its filters have zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .....ir.ops.window import Pair
from .....ir.types import Array
from ...cpu.kernels.epilogue import Steps
from ...cpu.kernels.layout import Batch
from ...gpus.architectures import Architecture
from .epilogue import read_tensors
from .implicit_gemm import Product
from .kernel import GpuKernel, gpu_kind
from .layout import ELEMENTS, ElementKind, GpuPacking, as_factor, grown, padded
from .sizes import merged_groups
from .tiles import Tiling, tiling_of
from .writer import DeviceFunc, Tensor

__all__ = ["TransposedSizes", "gpu_transposed", "phase_filters_for_gpu", "transposed_kernel"]


@dataclass(frozen=True, slots=True)
class TransposedSizes:
    """Of a layer whose result has `whole` rows and columns; `strides`, `spread` (dilations) and `before` (pads) are the layer's own.

    Its phases, as a kernel takes them: convolutions of stride 1 over the image, of `out` results each.
    """

    batch: Batch
    c_in: int
    c_out: int
    rows: int
    cols: int
    taps: Pair
    phases: Pair
    spread: Pair
    before: Pair
    whole: Pair
    groups: int = 1

    strides = (1, 1)
    pads = (0, 0, 0, 0)  # a phase says itself where it begins
    has_all_columns = False

    @property
    def out(self) -> Pair:
        rows, cols = (math.ceil(extent / phases) for extent, phases in zip(self.whole, self.phases, strict=True))
        return rows, cols

    @property
    def kernel(self) -> Pair:
        rows, cols = (len(self.reads(axis, 0)) for axis in range(2))
        return rows, cols

    @property
    def dilations(self) -> Pair:
        rows, cols = (self.spread[axis] // math.gcd(self.phases[axis], self.spread[axis]) for axis in range(2))
        return rows, cols

    def reads(self, axis: int, phase: int) -> tuple[int, ...]:
        """The taps of a phase from its first pixel on; -1 where it has fewer than others."""
        every = self.phases[axis] // math.gcd(self.phases[axis], self.spread[axis])
        most = math.ceil(self.taps[axis] / every)
        at = phase + self.before[axis]
        found = [tap for tap in range(self.taps[axis]) if (at - tap * self.spread[axis]) % self.phases[axis] == 0]
        return (*reversed(found), *(-1 for _ in range(most - len(found))))

    def first(self, axis: int, phase: int) -> int:
        """The pixel that the first result of a phase reads first, where it reads any."""
        tap, *_ = self.reads(axis, phase)
        return 0 if tap < 0 else (phase + self.before[axis] - tap * self.spread[axis]) // self.phases[axis]

    @property
    def sides(self) -> int:
        """Groups that are left after merging."""
        return self.groups // merged_groups(self.groups, self.c_in, self.c_out)

    @property
    def products(self) -> int:
        """Phases by groups: the groups of a phase are neighbours."""
        return self.phases[0] * self.phases[1] * self.sides

    @property
    def group_in(self) -> int:
        return padded(self.c_in // self.sides)

    @property
    def per_tap(self) -> int:
        return self.group_in

    @property
    def group_out(self) -> int:
        return padded(self.c_out // self.sides)

    @property
    def stored_in(self) -> int:
        return self.sides * self.group_in

    @property
    def stored_out(self) -> int:
        return self.sides * self.group_out

    @property
    def depth(self) -> int:
        return self.kernel[0] * self.kernel[1] * self.group_in

    @property
    def pixels(self) -> int:
        return self.out[0] * self.out[1]


def phase_filters_for_gpu(sizes: TransposedSizes, element: ElementKind) -> GpuPacking:
    """[C,O/groups,KH,KW], or [C,O/groups,K] of a sequence, as [phases*O, taps of a phase * C], C being those of a merged group."""
    (rows, cols), sides, merged = sizes.phases, sizes.sides, sizes.groups // sizes.sides
    c_in, c_out = sizes.c_in // sizes.groups, sizes.c_out // sizes.groups
    shape = (sizes.products * sizes.group_out, sizes.depth)

    def pack(w: Array) -> Array:
        taps = w.reshape(sides, merged, c_in, c_out, *sizes.taps)
        found = np.zeros((rows, cols, sides, merged, c_out, *sizes.kernel, merged, c_in), w.dtype)
        reads = [(row, col, *at) for row in range(rows) for col in range(cols) for at in _reads(sizes, row, col)]
        for row, col, i, j, down, across in reads:
            for group in range(merged):
                found[row, col, :, group, :, i, j, group] = taps[:, group, :, :, down, across].swapaxes(1, 2)
        flat = found.reshape(rows, cols, sides, merged * c_out, *sizes.kernel, merged * c_in)
        return as_factor(grown(flat, (rows, cols, sides, sizes.group_out, *sizes.kernel, sizes.group_in), element.name)).reshape(shape)

    return GpuPacking(shape, element.name, pack)


def _reads(sizes: TransposedSizes, row: int, col: int) -> Iterator[tuple[int, int, int, int]]:
    """The taps of a phase: by their places in the phase, and in the layer."""
    for i, down in enumerate(sizes.reads(0, row)):
        for j, across in enumerate(sizes.reads(1, col)):
            if down >= 0 and across >= 0:
                yield i, j, down, across


def transposed_kernel(sizes: TransposedSizes, element: ElementKind, steps: Steps, arch: Architecture) -> GpuKernel:
    """(X[n,H,W,C], W, bias[O], R[n,H',W',O]..., Y[n,H',W',O]). Sums are not split: phases are many blocks."""
    tile = tiling_of(sizes, element, arch).tile
    made = gpu_transposed.of(sizes, element.name, steps, Tiling(tile))
    return GpuKernel(made.name, made.build, f"{sizes.products // sizes.sides} phases, {tile}")


@gpu_kind("transposed conv")
def gpu_transposed(sizes: TransposedSizes, of: str, steps: Steps, tiled: Tiling) -> DeviceFunc:
    element = ELEMENTS[of]
    result = (sizes.batch, *sizes.whole, sizes.stored_out)
    given = [
        Tensor("X", (sizes.batch, sizes.rows, sizes.cols, sizes.stored_in), element.dtype),
        Tensor("W", (sizes.products * sizes.group_out, sizes.depth), element.dtype),
        Tensor("bias", (sizes.stored_out,), "float32"),
    ]

    def body(writer: Any, x: Any, w: Any, bias: Any, *others: Any) -> None:
        *read, y = others
        product = _Phases(writer, sizes, element, tiled, x, w)
        product.sums()
        product.store(steps, bias, read, y)

    return DeviceFunc([*given, *read_tensors(steps, result, element.dtype), Tensor("Y", result, element.dtype)], body)


class _Phases(Product[TransposedSizes]):
    """Results of a phase lie a stride apart."""

    def window(self) -> tuple[Any, Any, Any]:
        row, col = self._phase()
        return self._first(0, row), self._first(1, col), self._side() * self.sizes.group_in

    def target(self, pixel: Any, channel: Any) -> tuple[Any, Any]:
        (rows, cols), (down, across), sizes = self.sizes.out, self.sizes.phases, self.sizes
        row, col = self._phase()
        y, x = pixel // cols % rows * down + row, pixel % cols * across + col
        image = self.writer.place(pixel // sizes.pixels)
        is_there = self.writer.tirx.And(pixel < self.pixels, self.writer.tirx.And(y < sizes.whole[0], x < sizes.whole[1]))
        return ((image * sizes.whole[0] + y) * sizes.whole[1] + x) * sizes.stored_out + self.added(channel), is_there

    def added(self, channel: Any) -> Any:
        return self._side() * self.sizes.group_out + channel

    def _side(self) -> Any:
        return self.group % self.sizes.sides if self.sizes.sides > 1 else 0

    def _phase(self) -> tuple[Any, Any]:
        (_, across), phase = self.sizes.phases, self.group // self.sizes.sides
        return phase // across, phase % across

    def _first(self, axis: int, phase: Any) -> Any:
        """A table as a choice among few numbers."""
        *others, last = (self.sizes.first(axis, number) for number in range(self.sizes.phases[axis]))
        found: Any = last
        for number, first in reversed(list(enumerate(others))):
            found = self.writer.either(phase == number, first, found)
        return found
