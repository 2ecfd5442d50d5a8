"""How a product of matrices is divided among blocks, warps and steps: a table, by shape. No TVM is needed.

A block computes `rows` by `cols` of the result, in steps of `depth` bytes of a row of either factor, of which `stages` are under way.
Where GPUs have wgmma, four warps multiply 64 rows by all columns together, straight from shared memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ...gpus.architectures import Architecture
from .layout import ElementKind
from .sizes import ProductSizes

__all__ = ["GROUP_TILES", "WARP_TILES", "GpuTile", "TileTable", "Tiling", "multiplied", "tiles_for", "tiling", "tiling_of"]

LARGEST_SPLIT = 16
REGISTERS = 1 << 16  # of a multiprocessor
FEWEST_STEPS = 4  # of a part of a split sum: fewer do not fill the stages
WORTH = 32  # a shorter tile is taken where it spares more than this part of all products: it reads the filters more often
WORTH_ALONE = 64  # or than this, where each block has a multiprocessor for itself: a shorter one is done sooner
WORTH_WARPS = 8  # and one by warps where wgmma is twice as fast, but multiplies by so much more
# FLOP for a byte: with fewer memory is the bound by warps too, of an H100 and of an H200. By wgmma they have 990 TFLOP/s, by mma.sync three
# fifths of that (Luo et al. 2024), and the H200 has 4.8 TB/s.
RIDGE = 128
COLUMNS, CHUNK, GROUP_CHUNKS = 8, 16, 32  # of a product, and bytes of a row that it takes at least: by a warp, and by a group of four


@dataclass(frozen=True, slots=True)
class GpuTile:
    """Units: `rows` and `cols` of results of a block, which `down` by `across` warps share; `depth` bytes of a row of either factor. Warps
    multiply by fours if `by_groups`.
    """

    rows: int
    cols: int
    down: int
    across: int
    depth: int
    stages: int
    by_groups: bool = False

    @property
    def turned(self) -> bool:
        """Whether warps lie across alone: filters then are the rows of their products, 16 a warp, and pixels the columns, of which any 8
        will do.
        """
        return self.down == 1

    def __str__(self) -> str:
        return f"tile {self.rows}x{self.cols} by {'wgmma' if self.by_groups else 'mma.sync'}"

    @property
    def ahead(self) -> int:
        """Steps that are fetched before they are multiplied. A group's product may still read what was under way before."""
        return self.stages - (2 if self.by_groups else 1)

    def filled(self, rows: int, cols: int, nbytes: int) -> int:
        """What is multiplied for `rows` by `cols` sums over `nbytes` of a row of either factor, in the same units: with what is not there
        and fills a last product. A warp leaves out what it has none of, columns that it has alone by eights. A group's product is cut where
        one block has all of its columns.
        """
        sides = (rows, self.rows, self.down), (cols, self.cols, self.across)
        (n, columns, beside), (m, lines, above) = sides if self.turned else sides[::-1]
        if self.by_groups:
            return _whole(m, lines) * _whole(n, COLUMNS if n <= columns else columns) * _whole(nbytes, GROUP_CHUNKS)
        return _whole(m, lines // above) * _whole(n, COLUMNS if beside == 1 else columns // beside) * _whole(nbytes, CHUNK)

    @property
    def threads(self) -> int:
        return 32 * self.down * self.across

    @property
    def at_once(self) -> int:
        """Blocks that a multiprocessor has registers for: 128 a thread, and all there are for tiles that are higher than 64."""
        return REGISTERS // (128 * self.threads) if self.rows <= 64 else 1

    @property
    def stage(self) -> int:
        """Bytes of a step."""
        return (self.rows + self.cols) * self.depth

    def shared(self) -> int:
        """Bytes: the stages, and afterwards the sums in float32 with room between rows, so that no two threads meet in a bank."""
        return max(self.stages * self.stage, 4 * self.rows * (self.cols + 8))


def _whole(extent: int, unit: int) -> int:
    return math.ceil(extent / unit) * unit


@dataclass(frozen=True, slots=True)
class TileTable:
    """The largest first, of which the first that fills the GPU is taken; `small` for what does not, and `uneven` in its place where a step
    would reach over taps: with twice the rows to look after that spills. `short` and `uneven_short` take the places of these two where they
    spare products of what is not there, and `scores` where all rows are few. `narrow` are for as few columns as they have: their
    warps multiply each by itself, and copy so little that a block has two. Tiles of `others` are taken where they spare an eighth, or
    a 32nd where memory is the bound.
    """

    large: tuple[GpuTile, ...]
    small: GpuTile
    uneven: GpuTile
    short: GpuTile
    uneven_short: GpuTile
    scores: GpuTile | None
    narrow: tuple[GpuTile, ...]
    others: TileTable | None = None

    @property
    def all(self) -> tuple[GpuTile, ...]:
        few = [self.scores] if self.scores else []
        return (*self.large, self.small, self.uneven, self.short, self.uneven_short, *few, *self.narrow)

    @property
    def for_any(self) -> TileTable:
        """For images that may be many or few."""
        return replace(self, short=self.small, uneven_short=self.uneven, scores=None, others=None)

    def for_few(self, rows: int, cols: int, tap: int, worth: int = WORTH) -> GpuTile:
        """For what has too few rows or columns for the large ones; `tap` as for `tiling`. A shorter tile spares more than this part."""
        is_uneven = tap % self.small.depth != 0
        tile, short = (self.uneven, self.uneven_short) if is_uneven else (self.small, self.short)
        if self.scores is not None and rows <= self.scores.rows:
            return self.scores
        if fitting := [tile for tile in self.narrow if cols <= tile.cols]:
            return fitting[0]
        return _sparing(tile, short, (rows, cols, tap), worth)


def _sparing(tile: GpuTile, other: GpuTile, product: tuple[int, int, int], worth: int) -> GpuTile:
    """The other where it spares more than this part."""
    filled = tile.filled(*product)
    return other if filled - other.filled(*product) > filled // worth else tile


NARROW = (GpuTile(64, 16, 2, 1, 64, 4), GpuTile(64, 32, 2, 1, 64, 4))
# A block of 8 warps has the registers of a multiprocessor to itself, of which 240 a thread are enough.
WARP_TILES = TileTable(
    (GpuTile(128, 256, 2, 4, 64, 4), GpuTile(128, 128, 2, 4, 64, 4), GpuTile(128, 64, 2, 2, 64, 4)),
    GpuTile(64, 64, 2, 2, 128, 3),
    GpuTile(64, 64, 2, 2, 64, 4),
    GpuTile(56, 64, 1, 4, 128, 3),
    GpuTile(56, 64, 1, 4, 64, 4),
    GpuTile(16, 64, 1, 4, 128, 3),
    NARROW,
)
GROUP_TILES = TileTable(
    (GpuTile(128, 256, 8, 1, 128, 4, True), GpuTile(128, 128, 8, 1, 128, 3, True), GpuTile(128, 64, 8, 1, 128, 4, True)),
    GpuTile(64, 64, 4, 1, 128, 4, True),
    GpuTile(64, 64, 4, 1, 64, 5, True),
    GpuTile(56, 64, 1, 4, 128, 4, True),
    GpuTile(56, 64, 1, 4, 64, 5, True),
    GpuTile(16, 64, 1, 4, 128, 4, True),
    NARROW,
    WARP_TILES,
)


def tiles_for(element: ElementKind, arch: Architecture) -> TileTable:
    """By groups where the GPUs can, and of a type that they take."""
    return GROUP_TILES if arch.wgmma and element.group_product else WARP_TILES


def multiplied(sizes: ProductSizes, tile: GpuTile, element: ElementKind) -> int:
    """Multiply-adds of tensor cores for a convolution; a named batch is taken for one image."""
    return sizes.products * tile.filled((sizes.batch or 1) * sizes.pixels, sizes.group_out, sizes.depth * element.bytes) // element.bytes


@dataclass(frozen=True, slots=True)
class Tiling:
    """A tile, and into how many parts sums are split."""

    tile: GpuTile
    splits: int = 1


def tiling_of(sizes: ProductSizes, element: ElementKind, arch: Architecture) -> Tiling:
    """For a convolution. A named batch is taken for a few images."""
    images = 8 if sizes.batch is None else sizes.batch
    tap = sizes.per_tap * element.bytes
    tiles = tiles_for(element, arch) if sizes.batch else tiles_for(element, arch).for_any
    return tiling(images * sizes.pixels, sizes.group_out, math.prod(sizes.kernel), tap, sizes.products, tiles, arch)


def tiling(rows: int, cols: int, taps: int, tap: int, products: int, tiles: TileTable, arch: Architecture) -> Tiling:
    """For a product of `rows` by `cols`, of sums over so many `taps` of `tap` bytes; one of `products` that run together. Two blocks for
    each multiprocessor fill a GPU.
    """
    processors = arch.multiprocessors
    tile = _tile(rows, cols, tap, products, tiles, arch)
    if tiles.others is not None:
        by_warps, worth = _tile(rows, cols, tap, products, tiles.others, arch), WORTH if _is_of_memory(cols, taps, tap) else WORTH_WARPS
        tile = _sparing(tile, by_warps, (rows, cols, taps * tap), worth)
    blocks, steps = _blocks(tile, rows, cols, products), math.ceil(taps * tap / tile.depth)
    if blocks > processors // 2:
        return Tiling(tile)
    most = min(processors // blocks, steps // FEWEST_STEPS, LARGEST_SPLIT)
    each = math.ceil(steps / max(1, most))
    return Tiling(tile, math.ceil(steps / each))  # no part is empty


def _tile(rows: int, cols: int, tap: int, products: int, tiles: TileTable, arch: Architecture) -> GpuTile:
    for tile in (tile for tile in tiles.large if tile.shared() <= arch.shared):
        fills = _blocks(tile, rows, cols, products) >= 2 * arch.multiprocessors
        if fills and cols % tile.cols in (0, *range(tile.cols * 3 // 4, tile.cols)):
            return tile
    is_alone = _blocks(tiles.small, rows, cols, products) <= arch.multiprocessors
    return tiles.for_few(rows, cols, tap, WORTH_ALONE if is_alone else WORTH)


def _is_of_memory(cols: int, taps: int, tap: int) -> bool:
    """Whether so little is multiplied with a pixel that to read it, and to store its result of 16 bits, takes longer, by warps or by groups
    of them. A pixel that several taps read comes from memory once.
    """
    return cols * taps * tap < RIDGE * (tap + 2 * cols)


def _blocks(tile: GpuTile, rows: int, cols: int, products: int) -> int:
    return products * math.ceil(rows / tile.rows) * math.ceil(cols / tile.cols)
