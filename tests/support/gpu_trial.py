"""A kernel of ours with arguments that are drawn, and what it should make of them.

Channels beyond the last hold a great number, which no kernel may let count; a place that a kernel must not write stays NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convc.backends.tvm.cuda.emulator.machine import USUAL, Order
from convc.backends.tvm.cuda.kernels.kernel import GpuKernel
from convc.backends.tvm.cuda.kernels.layout import Image, padded
from convc.ir.types import Array
from convc.tests.support.own_kernels import Emitted, emitted

BEYOND = 900.0  # what lies beyond the last channel
IMAGE: Image = (11, 5, 6)  # of a chunk that is not full


@dataclass(frozen=True)
class KernelTrial:
    """`arrays` are the kernel's arguments by name, its result NaN but for what lies there before; `right` is the result as it lies, without
    channels beyond the last.
    """

    kernel: GpuKernel
    arrays: Mapping[str, Array]
    right: Array
    result: str = "D"

    @cached_property
    def emitted(self) -> Emitted:
        return emitted(self.kernel.written())

    def off(self, arrays: Mapping[str, Array]) -> float:
        """The greatest error, of the greatest value; infinite where something was not written that should be, or was that should not."""
        got = arrays[self.result].astype(np.float64)[..., : self.right.shape[-1]]
        if (np.isnan(got) != np.isnan(self.right)).any():
            return np.inf
        return float(np.nanmax(np.abs(got - self.right)) / np.nanmax(np.abs(self.right)))

    def error(self, order: Order = USUAL, source: str | None = None) -> float:
        return self.off(self.emitted.run(self.arrays, order, source))


def normal(*shape: int, seed: int = 0, of: str = "float16") -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(of)


def laid(x: Array, fill: float = BEYOND) -> Array:
    """[N,C,H,W] as kernels have it."""
    n, c, rows, cols = x.shape
    made = np.full((n, rows, cols, padded(c)), fill, x.dtype)
    made[..., :c] = np.moveaxis(x, 1, -1)
    return made


def unwritten(*shape: int, of: str = "float16") -> Array:
    """A result before the kernel."""
    return np.full(shape, np.nan, of)


def trial_on_image(kernel: GpuKernel, x: Array, right: Array, of: str = "float16", **more: Array) -> KernelTrial:
    """Of what reads the image A and leaves D; `right` is [N,C,H,W]."""
    n, c, rows, cols = right.shape
    given = {"A": laid(x), **more, "D": unwritten(n, rows, cols, padded(c), of=of)}
    return KernelTrial(kernel, given, np.moveaxis(right.astype(np.float64), 1, -1))
