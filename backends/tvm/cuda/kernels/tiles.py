"""How a product of matrices is divided among blocks, warps and steps: a table, by shape. No TVM is needed.

A block computes `rows` by `cols` of the result, in steps of `depth` bytes of a row of either factor, of which `stages` are under way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .layout import ElementKind
from .sizes import ProductSizes

__all__ = ["MULTIPROCESSORS", "TILES", "UNEVEN", "GpuTile", "Tiling", "tiling", "tiling_of"]

MULTIPROCESSORS = 132  # of an H100 and of an H200
LARGEST_SPLIT = 16
FEWEST_STEPS = 4  # of a part of a split sum: fewer do not fill the stages


@dataclass(frozen=True, slots=True)
class GpuTile:
    """Units: `rows` and `cols` of results of a block, which `down` by `across` warps share; `depth` bytes of a row of either factor."""

    rows: int
    cols: int
    down: int
    across: int
    depth: int
    stages: int

    @property
    def threads(self) -> int:
        return 32 * self.down * self.across

    @property
    def stage(self) -> int:
        """Bytes of a step."""
        return (self.rows + self.cols) * self.depth

    def shared(self) -> int:
        """Bytes: the stages, and afterwards the sums in float32 with room between rows, so that no two threads meet in a bank."""
        return max(self.stages * self.stage, 4 * self.rows * (self.cols + 8))


# The largest that still fills the GPU; the last for what is small. A block of 8 warps has at most 224 registers a thread.
TILES = (
    GpuTile(128, 256, 2, 4, 64, 4),
    GpuTile(128, 128, 2, 4, 64, 4),
    GpuTile(128, 64, 2, 2, 64, 4),
    GpuTile(64, 64, 2, 2, 128, 3),
)
UNEVEN = GpuTile(64, 64, 2, 2, 64, 4)  # for the last, where a step would reach over taps: with twice the rows to look after it spills


@dataclass(frozen=True, slots=True)
class Tiling:
    """A tile, and into how many parts sums are split."""

    tile: GpuTile
    splits: int = 1


def tiling_of(sizes: ProductSizes, element: ElementKind, shared: int) -> Tiling:
    """For a convolution; `shared` as for `tiling`. A named batch is taken for a few images."""
    images = 8 if sizes.batch is None else sizes.batch
    tap = sizes.group_in * element.bytes
    return tiling(images * sizes.pixels, sizes.group_out, math.prod(sizes.kernel), tap, sizes.products, shared)


def tiling(rows: int, cols: int, taps: int, tap: int, products: int, shared: int) -> Tiling:
    """For a product of `rows` by `cols`, of sums over so many `taps` of `tap` bytes; one of `products` that run together, on a GPU whose
    blocks may have `shared` bytes of shared memory.
    """

    def blocks(tile: GpuTile) -> int:
        return products * math.ceil(rows / tile.rows) * math.ceil(cols / tile.cols)

    *large, small = TILES
    for tile in (tile for tile in large if tile.shared() <= shared):
        if blocks(tile) >= 2 * MULTIPROCESSORS and cols % tile.cols in (0, *range(tile.cols * 3 // 4, tile.cols)):
            return Tiling(tile)
    tile = UNEVEN if tap % small.depth else small
    steps = math.ceil(taps * tap / tile.depth)
    if blocks(tile) > MULTIPROCESSORS // 2:
        return Tiling(tile)
    most = min(MULTIPROCESSORS // blocks(tile), steps // FEWEST_STEPS, LARGEST_SPLIT)
    each = math.ceil(steps / max(1, most))
    return Tiling(tile, math.ceil(steps / each))  # no part is empty
