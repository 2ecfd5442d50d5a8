"""The table of tiles: what it takes for which shape."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import convc
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cuda.kernels.depthwise import pixels_of
from convc.backends.tvm.cuda.kernels.layout import ELEMENTS
from convc.backends.tvm.cuda.kernels.sizes import merged_groups
from convc.backends.tvm.cuda.kernels.tiles import (
    FEWEST_STEPS,
    GROUP_TILES,
    REGISTERS,
    WARP_TILES,
    GpuTile,
    TileTable,
    tiles_for,
    tiling,
)
from convc.backends.tvm.gpus.architectures import ARCHITECTURES, Architecture
from convc.models import ZOO
from convc.tests.support.gpu_products import least_wasted, products_of, wasted
from convc.tests.support.tiers import slow_if

ROOT = Path(convc.__file__).parent
H100, HOPPER = ARCHITECTURES["sm_90"], ARCHITECTURES["sm_90a"]
SHAPES = ((56 * 56, 144), (7 * 7, 64), (1, 64))
EITHER = pytest.mark.parametrize("tiles", [WARP_TILES, GROUP_TILES], ids=["mma.sync", "wgmma"])


@pytest.mark.parametrize(
    ("rows", "cols", "taps", "channels", "by_warps", "by_groups"),
    [
        (256 * 28 * 28, 512, 1, 128, (128, 256, 1), (128, 256, 1)),
        (256 * 28 * 28, 128, 9, 128, (128, 128, 1), (128, 128, 1)),
        (256 * 56 * 56, 64, 9, 64, (128, 64, 1), (128, 64, 1)),
        (56 * 56, 64, 1, 64, (64, 64, 1), (64, 64, 1)),
        (14 * 14, 256, 9, 256, (56, 64, 8), (56, 64, 8)),
        (7 * 7, 512, 9, 512, (56, 64, 15), (56, 64, 15)),
        (1, 1000, 1, 2048, (16, 64, 8), (16, 64, 8)),
        (1, 10, 1, 64, (16, 64, 1), (16, 64, 1)),
        (256 * 28 * 28, 32, 9, 16, (64, 32, 1), (64, 32, 1)),
        (28 * 28, 16, 1, 768, (64, 16, 6), (64, 16, 6)),
        (56 * 56, 144, 1, 24, (56, 64, 1), (56, 64, 1)),
        (256 * 56 * 56, 96, 1, 64, (128, 128, 1), (128, 128, 1)),
    ],
)
def test_large_products_take_large_tiles_and_small_ones_split_their_sums(
    rows: int, cols: int, taps: int, channels: int, by_warps: tuple[int, int, int], by_groups: tuple[int, int, int]
) -> None:
    for tiles, right in ((WARP_TILES, by_warps), (GROUP_TILES, by_groups)):
        chosen = tiling(rows, cols, taps, 2 * channels, 1, tiles, H100)
        assert (chosen.tile.rows, chosen.tile.cols, chosen.splits) == right


def test_a_shorter_tile_that_spares_little_is_taken_where_each_block_is_alone() -> None:
    """Of 28x28 pixels it spares a 50th: 14 blocks of 56 for 13 of 64."""
    assert [tiling(28 * 28, filters, 1, 2 * 128, 1, WARP_TILES, H100).tile.rows for filters in (64, 128, 1024)] == [56, 56, 64]


def test_what_warps_multiply_of_columns_that_are_not_there_is_weighed_against_wgmma() -> None:
    """Of 144 filters on 24 channels a group of warps multiplies 192 on 32; of 96 in one block 96, as warps do."""
    assert not tiling(56 * 56, 144, 1, 2 * 24, 1, GROUP_TILES, H100).tile.by_groups
    assert tiling(256 * 56 * 56, 96, 1, 2 * 64, 1, GROUP_TILES, H100).tile.by_groups


def test_where_memory_is_the_bound_warps_multiply_what_they_spare_a_32nd_of() -> None:
    """ShuffleNet's 116 filters on as many channels, 9% of 128 by 128; of 232 by 3x3 windows so much is multiplied that wgmma is faster."""
    assert not tiling(8 * 14 * 14, 120, 1, 2 * 120, 1, GROUP_TILES, H100).tile.by_groups
    assert tiling(8 * 7 * 7, 232, 9, 2 * 232, 1, GROUP_TILES, H100).tile.by_groups
    assert tiling(8 * 14 * 14, 128, 1, 2 * 128, 1, GROUP_TILES, H100).tile.by_groups


def test_for_a_batch_with_a_name_no_tile_is_taken_that_few_images_alone_want() -> None:
    """What 8 images spare by warps, by short tiles or by those for scores, 256 would pay for."""
    few, any_ = ([tiling(rows, cols, 1, 48, 1, tiles, H100).tile for rows, cols in SHAPES] for tiles in (GROUP_TILES, GROUP_TILES.for_any))
    assert [(tile.rows, tile.by_groups) for tile in few] == [(56, False), (56, False), (16, False)]
    assert [(tile.rows, tile.by_groups) for tile in any_] == [(64, True)] * 3


@pytest.mark.parametrize("tile", [*WARP_TILES.all, *GROUP_TILES.all], ids=repr)
def test_blocks_at_once_leave_each_thread_128_registers_and_high_ones_all(tile: GpuTile) -> None:
    """More would spill sums, fewer leave a multiprocessor idle while a block waits for memory."""
    taken = tile.threads * 128
    assert tile.at_once * taken <= REGISTERS
    assert tile.at_once == 1 if tile.rows > 64 else (tile.at_once + 1) * taken > REGISTERS


# How many times what a network asks for is multiplied of it, for 1, 8 and 32 images: the table of docs/cuda_kernels.md.
BATCHES = (1, 8, 32)
TABLE = {
    cells[0]: [[float(number) for number in cell.split(",")] for cell in cells[1:4]]
    for cells in (line.strip("| ").split(" | ") for line in (ROOT / "docs" / "cuda_kernels.md").read_text(encoding="utf-8").splitlines())
    if len(cells) == 5 and cells[0] in ZOO
}
QUICK = ("lenet5", "mobilenet_v2", "regnet_y_400mf")


@pytest.mark.parametrize("name", slow_if(lambda name: name not in QUICK, dict.fromkeys((*QUICK, *TABLE))))
def test_little_is_multiplied_that_is_not_there(name: str) -> None:
    """What fills a last product, channels beyond the last, and what groups have between them; ordinary units are counted for what they do."""
    layers = products_of(ZOO[name].network())
    found = [[wasted(layers, batch, arch) for batch in BATCHES] for arch in (H100, HOPPER)]
    least = [least_wasted(layers, batch, H100) for batch in BATCHES]
    assert [*found, least] == [pytest.approx(numbers, abs=0.0051) for numbers in TABLE[name]]
    assert max(max(each) for each in found) < 1.15


@pytest.mark.parametrize(
    ("groups", "c_in", "c_out", "merged"),
    [(32, 128, 128, 2), (32, 256, 256, 1), (32, 1024, 1024, 1), (13, 104, 104, 1), (3, 12, 30, 3), (2, 48, 256, 1), (16, 128, 256, 1)],
)
def test_groups_are_merged_where_that_costs_no_products(groups: int, c_in: int, c_out: int, merged: int) -> None:
    """Of ResNeXt, with 4, 8 and 32 channels a group, of RegNet's prime number of groups, and what begins with no chunk."""
    assert merged_groups(groups, c_in, c_out) == merged


@EITHER
def test_a_tap_that_fills_no_step_takes_shorter_steps(tiles: TileTable) -> None:
    assert tiling(128, 64, 9, 40, 1, tiles, H100).tile == tiles.uneven
    assert tiling(128, 64, 9, 128, 1, tiles, H100).tile == tiles.small
    assert tiling(49, 64, 9, 40, 1, tiles, H100).tile == tiles.uneven_short


def test_groups_of_warps_multiply_16_bits_on_sm_90a_alone() -> None:
    taken = {
        (of, arch.name) for of, element in ELEMENTS.items() for arch in ARCHITECTURES.values() if tiles_for(element, arch) == GROUP_TILES
    }
    assert taken == {("f16", "sm_90a"), ("bf16", "sm_90a")}


@EITHER
def test_parts_are_neither_empty_nor_short(tiles: TileTable) -> None:
    for channels in range(8, 3000, 8):
        chosen = tiling(49, 512, 9, 2 * channels, 1, tiles, H100)
        steps = math.ceil(9 * 2 * channels / chosen.tile.depth)
        each = math.ceil(steps / chosen.splits)
        assert (chosen.splits - 1) * each < steps
        assert chosen.splits == 1 or each >= FEWEST_STEPS
        assert chosen.splits * 8 <= H100.multiprocessors


@pytest.mark.parametrize("tile", [*WARP_TILES.all, *GROUP_TILES.all], ids=repr)
def test_tiles_are_divided_without_remainder(tile: GpuTile) -> None:
    """But for the rows of turned ones, which are 8 columns of a product or more."""
    assert tile.shared() <= H100.shared
    assert tile.ahead >= 1
    each_pass = tile.threads // (tile.depth // 16)
    assert tile.cols % each_pass == 0
    assert tile.cols % (tile.across * 16) == 0
    if tile.turned:
        assert (tile.rows % 8, tile.cols, tile.down) == (0, 16 * tile.across, 1)
        return
    assert tile.rows % each_pass == tile.rows % (tile.down * 16) == 0
    assert not tile.by_groups or (tile.rows == 16 * tile.down and tile.down % 4 == 0 and tile.across == 1)


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)
def test_no_tile_has_more_shared_memory_than_a_block_may(arch: Architecture) -> None:
    tiles = tiles_for(ELEMENTS["f16"], arch)
    found = [tiling(256 * 28 * 28, cols, 9, 256, 1, tiles, arch).tile for cols in (256, 192, 128, 64, 8)]
    assert max(tile.shared() for tile in found) <= arch.shared
    assert (found[0].rows, found[0].cols) == ((128, 128) if arch.name in ("sm_86", "sm_89", "sm_120") else (128, 256))


@EITHER
def test_the_size_of_a_gpu_decides_about_tiles_and_parts(tiles: TileTable) -> None:
    """216 blocks of 128 rows fill an A100, not a B200; and the sums of 8 blocks are split into as many parts as find a place."""
    small, large = (ARCHITECTURES[name] for name in ("sm_80", "sm_100"))
    assert (small.multiprocessors, large.multiprocessors) == (108, 148)
    rows = 128 * 2 * small.multiprocessors
    assert [tiling(rows, 64, 1, 256, 1, tiles, arch).tile.rows for arch in (small, large)] == [128, 64]
    parts = [tiling(64, 64 * 8, 64, 2048, 1, tiles, arch).splits for arch in (small, large)]
    assert parts[0] == small.multiprocessors // 8 < parts[1]


def test_depthwise_layers_have_several_pixels_a_thread_where_threads_are_many() -> None:
    """By the image, the stride and the batch: two blocks for each of 132 multiprocessors are left; never of windows one column wide."""
    first, last = Window(112, 112, (3, 3), pads=(1, 1, 1, 1)), Window(7, 7, (3, 3), pads=(1, 1, 1, 1))
    assert [pixels_of(batch, 32, first, H100) for batch in (1, 4, 8, None)] == [1, 2, 4, 4]
    assert [pixels_of(batch, 960, last, H100) for batch in (1, 32, 64)] == [1, 2, 4]
    assert pixels_of(256, 96, Window(112, 112, (3, 3), (2, 2), (1, 1, 1, 1)), H100) == 4
    assert pixels_of(256, 96, Window(112, 112, (3, 1)), H100) == 1
    assert pixels_of(256, 96, Window(112, 112, (3, 3), dilations=(1, 12)), H100) == 1
