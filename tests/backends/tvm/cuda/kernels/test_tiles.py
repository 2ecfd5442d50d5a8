"""The table of tiles: what it takes for which shape."""

from __future__ import annotations

import math

import pytest

from convc.backends.tvm.cuda.kernels.tiles import FEWEST_STEPS, MULTIPROCESSORS, TILES, UNEVEN, tiling
from convc.backends.tvm.gpus.architectures import ARCHITECTURES, Architecture

H100 = ARCHITECTURES["sm_90"].shared


@pytest.mark.parametrize(
    ("rows", "cols", "taps", "channels", "tile", "splits"),
    [
        (256 * 28 * 28, 512, 1, 128, (128, 256), 1),
        (256 * 28 * 28, 128, 9, 128, (128, 128), 1),
        (256 * 56 * 56, 64, 9, 64, (128, 64), 1),
        (56 * 56, 64, 1, 64, (64, 64), 1),
        (14 * 14, 256, 9, 256, (64, 64), 8),
        (7 * 7, 512, 9, 512, (64, 64), 15),
        (1, 1000, 1, 2048, (64, 64), 8),
        (1, 10, 1, 64, (64, 64), 1),
    ],
)
def test_large_products_take_large_tiles_and_small_ones_split_their_sums(
    rows: int, cols: int, taps: int, channels: int, tile: tuple[int, int], splits: int
) -> None:
    chosen = tiling(rows, cols, taps, 2 * channels, 1, H100)
    assert ((chosen.tile.rows, chosen.tile.cols), chosen.splits) == (tile, splits)


def test_a_tap_that_fills_no_step_takes_shorter_steps() -> None:
    assert tiling(100, 64, 9, 40, 1, H100).tile == UNEVEN
    assert tiling(100, 64, 9, 128, 1, H100).tile == TILES[-1]


def test_parts_are_neither_empty_nor_short() -> None:
    for channels in range(8, 3000, 8):
        chosen = tiling(49, 512, 9, 2 * channels, 1, H100)
        steps = math.ceil(9 * 2 * channels / chosen.tile.depth)
        each = math.ceil(steps / chosen.splits)
        assert (chosen.splits - 1) * each < steps
        assert chosen.splits == 1 or each >= FEWEST_STEPS
        assert chosen.splits * 8 <= MULTIPROCESSORS


@pytest.mark.parametrize("tile", [*TILES, UNEVEN], ids=str)
def test_tiles_are_divided_without_remainder(tile) -> None:
    assert tile.shared() <= H100
    assert tile.rows % (tile.down * 16) == 0
    assert tile.cols % (tile.across * 16) == 0
    each_pass = tile.threads // (tile.depth // 16)
    assert tile.rows % each_pass == tile.cols % each_pass == 0


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)
def test_no_tile_has_more_shared_memory_than_a_block_may(arch: Architecture) -> None:
    found = [tiling(256 * 28 * 28, cols, 9, 256, 1, arch.shared).tile for cols in (256, 192, 128, 64, 8)]
    assert max(tile.shared() for tile in found) <= arch.shared
    assert (found[0].rows, found[0].cols) == ((128, 128) if arch.name in ("sm_86", "sm_89") else (128, 256))
