"""Convolutions for kernels of GPUs: arrays as they lie there, and what is right in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cuda.emulator.machine import USUAL, Order
from convc.backends.tvm.cuda.kernels.implicit_gemm import convolution
from convc.backends.tvm.cuda.kernels.layout import ELEMENTS, grown, padded, per_channel
from convc.backends.tvm.cuda.kernels.parts import add_parts
from convc.backends.tvm.cuda.kernels.sizes import ConvSizes, filters
from convc.backends.tvm.cuda.kernels.tiles import GpuTile, Tiling
from convc.ir.ops.activation import RELU
from convc.ir.ops.conv import CONV2D, Conv2d
from convc.ir.ops.elementwise import ADD
from convc.ir.types import DTYPES, Array
from convc.tests.support.own_kernels import Emitted, emitted

RESIDUAL = (EpilogueStep(ADD, None, 1), EpilogueStep(RELU, None))


@dataclass(frozen=True)
class Trial:
    """`arrays` are the kernel's arguments by name, its results NaN; `right` is [N,C,H,W]."""

    sizes: ConvSizes
    of: str
    arrays: dict[str, Array]
    right: Array

    @staticmethod
    def drawn(sizes: ConvSizes, of: str = "f16", seed: int = 0) -> Trial:
        """Normal numbers, to which a residual is added before a relu."""
        draws, dtype, images = np.random.default_rng(seed), DTYPES[of], sizes.batch or 1
        x = draws.standard_normal((images, sizes.c_in, sizes.rows, sizes.cols)).astype(dtype)
        per_group = sizes.c_in // sizes.groups
        w = (draws.standard_normal((sizes.c_out, per_group, *sizes.kernel)) / np.sqrt(per_group * np.prod(sizes.kernel))).astype(dtype)
        bias = draws.standard_normal(sizes.c_out).astype(np.float32)
        residual = draws.standard_normal((images, sizes.c_out, *sizes.out)).astype(dtype)
        op = Conv2d(sizes.strides, sizes.pads, sizes.dilations, sizes.groups)
        doubles = (each.astype(np.float64) for each in (x, w, bias))
        right = np.maximum(CONV2D.meaning(op, *doubles) + residual.astype(np.float64), 0)
        arrays = {
            "X": innermost(x, of),
            "W": filters(sizes, ELEMENTS[of]).pack(w),
            "bias": per_channel(sizes.c_out).pack(bias),
            "R0": innermost(residual, of),
            "Y": np.full((images, *sizes.out, padded(sizes.c_out)), np.nan, dtype),
        }
        return Trial(sizes, of, arrays, right)

    def error(self, tiled: Tiling, order: Order = USUAL, source: str | None = None) -> float:
        """The greatest, of the greatest value; NaN where something was not written."""
        if tiled.splits == 1:
            return self.off(self.kernel(tiled).run(self.arrays, order, source)["Y"])
        shape = self.arrays["Y"].shape
        given = {**self.arrays, "parts": np.full((tiled.splits, *shape), np.nan, np.float32)}
        finish = emitted(add_parts(tiled.splits, self.sizes.batch, shape[1:], self.of, RESIDUAL))
        made = {**given, **self.kernel(tiled).run(given, order, source)}
        return self.off(finish.run(made, order)["Y"])

    def kernel(self, tiled: Tiling) -> Emitted:
        return emitted(convolution(self.sizes, self.of, RESIDUAL, tiled))

    def off(self, y: Array) -> float:
        got = np.moveaxis(y.astype(np.float64), -1, 1)[:, : self.sizes.c_out]
        return float(np.abs(got - self.right).max() / np.abs(self.right).max())


def innermost(x: Array, of: str) -> Array:
    """[N,C,H,W] with channels innermost, padded by zeros."""
    n, channels, rows, cols = x.shape
    return grown(np.moveaxis(x, 1, -1), (n, rows, cols, padded(channels)), of)


def tile_id(tile: GpuTile) -> str:
    """A tile in the name of a test."""
    return f"{tile.rows}x{tile.cols}x{tile.depth}{'-groups' if tile.by_groups else ''}"
