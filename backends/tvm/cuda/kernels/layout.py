"""How values lie for kernels of our own: [N,H,W,C], the channels padded to whole chunks. No TVM is needed.

Rows of scores [N,F] lie as images of one pixel. Channels beyond the last hold anything finite: what they are multiplied with is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .....ir.types import DTYPES, Array

__all__ = ["CHUNK", "ELEMENTS", "ElementKind", "GpuPacking", "Image", "Stored", "as_factor", "by_halves", "grown", "padded", "per_channel"]

CHUNK = 8  # channels that are moved together: 16 bytes of float16, which a thread loads and stores at once

Image = tuple[int, int, int]  # channels, rows and columns of a value


@dataclass(frozen=True, slots=True)
class ElementKind:
    """A type of values: the IR's name and TVM's, its bytes, and the instruction that takes 32 bytes of each of 16 rows and 8 columns, or
    16 as `half_product`; where there is one, also that by which a group of 4 warps takes 32 bytes of 64 rows and `{}` columns.
    """

    name: str
    dtype: str
    bytes: int
    product: str
    half_product: str
    group_product: str | None = None

    @property
    def each_16_bytes(self) -> int:
        return 16 // self.bytes


WGMMA = "wgmma.mma_async.sync.aligned.m64n{}k16.f32"
MMA = "mma.sync.aligned.m16n8k{}.row.col.f32.{}.{}.f32"
ELEMENTS = {
    "f16": ElementKind("f16", "float16", 2, MMA.format(16, "f16", "f16"), MMA.format(8, "f16", "f16"), f"{WGMMA}.f16.f16"),
    "bf16": ElementKind("bf16", "bfloat16", 2, MMA.format(16, "bf16", "bf16"), MMA.format(8, "bf16", "bf16"), f"{WGMMA}.bf16.bf16"),
    "f32": ElementKind("f32", "float32", 4, MMA.format(8, "tf32", "tf32"), MMA.format(4, "tf32", "tf32")),  # wgmma cuts digits off
}
TF32 = 13  # bits of float32 that a factor has not


@dataclass(frozen=True, slots=True)
class Stored:
    """How a kernel stores its result, where that is not as it would by itself: as numbers of `dtype`, TVM's name of it, and as some of the
    `channels` that a larger value has, as they lie, from `first` on.
    """

    dtype: str | None = None
    channels: int | None = None
    first: int = 0

    def then(self, more: Stored) -> Stored:
        """As both say: by another type, where `more` has one, and in a value that is itself some channels of a larger one."""
        return Stored(more.dtype or self.dtype, more.channels or self.channels, self.first + more.first)


@dataclass(frozen=True, slots=True)
class GpuPacking:
    """How a kernel reads one parameter of a layer: of this shape and type, which `pack` makes of the parameter as it is."""

    shape: tuple[int, ...]
    dtype: str
    pack: Callable[[Array], Array]


def as_factor(x: Array) -> Array:
    """Weights as tensor cores multiply them: float32 is rounded to 10 bits after the point, halves away from 0; 16 bits stay."""
    if x.dtype != np.float32:
        return x
    half, kept = np.uint32(1 << (TF32 - 1)), np.uint32(~((1 << TF32) - 1) & 0xFFFFFFFF)
    rounded = ((np.ascontiguousarray(x).view(np.uint32) + half) & kept).view(np.float32)
    return np.where(np.isfinite(x), rounded, x)


def padded(channels: int) -> int:
    """Channels with those that fill the last chunk."""
    return -(-channels // CHUNK) * CHUNK


def per_channel(channels: int) -> GpuPacking:
    """A number a channel, such as a bias, [C] or [C,1,1], in float32; 0 for those beyond the last."""

    def pack(x: Array) -> Array:
        made = np.zeros(padded(channels), np.float32)
        made[:channels] = x.ravel().astype(np.float32)
        return made

    return GpuPacking((padded(channels),), "f32", pack)


def by_halves(channels: int) -> GpuPacking:
    """As `per_channel`, the first halves of all chunks before the second: so neighbours read neighbours, 16 bytes each."""
    whole = per_channel(channels)

    def pack(x: Array) -> Array:
        return whole.pack(x).reshape(-1, 2, CHUNK // 2).swapaxes(0, 1).ravel()

    return GpuPacking(whole.shape, whole.dtype, pack)


def grown(x: Array, shape: tuple[int, ...], dtype: str) -> Array:
    """The array in the corner of a larger one, of zeros."""
    made = np.zeros(shape, DTYPES[dtype])
    made[tuple(map(slice, x.shape))] = x
    return made
