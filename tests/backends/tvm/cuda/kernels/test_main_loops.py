"""What nvcc makes of the loops over steps: whether tensor cores have to wait for the instructions around them.

One of the four schedulers of a multiprocessor issues an instruction a cycle, and has a tensor core to itself: so what else it issues in a
cycle of that is the part of its time that products do not hide. NVIDIA's whitepapers have 512 multiply-adds of 16 bits a cycle for a
tensor core of an H100 (256 for an A100), and half as many in tf32: so a wgmma m64nNk16, of which it has 16 lines, takes N / 2 cycles.
mma.sync reaches three fifths of that (Luo et al. 2024): an m16n8k16, or an m16n8k8 in tf32, takes 6.7 cycles, 8 on an A100.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from convc.backends.tvm.cuda.kernels.implicit_gemm import convolution
from convc.backends.tvm.cuda.kernels.layout import ELEMENTS
from convc.backends.tvm.cuda.kernels.sizes import ConvSizes
from convc.backends.tvm.cuda.kernels.tiles import GROUP_TILES, NARROW, WARP_TILES, GpuTile, Tiling
from convc.tests.support.gpu_convolutions import RESIDUAL, tile_id
from convc.tests.support.machine_code import compiled, needs_nvcc
from convc.tests.support.own_kernels import emitted

CYCLES = 4 / 0.6  # of a product by mma.sync
SQUARE = (1, 1, 1, 1)


def _layers(filters: int) -> tuple[ConvSizes, ...]:
    """In whole tiles: a tap that fills steps, one that does not, a layer of no windows, and a stem."""
    return (
        ConvSizes(32, 64, filters, 56, 56, (3, 3), pads=SQUARE),
        ConvSizes(32, 20, filters, 56, 56, (3, 3), pads=SQUARE),
        ConvSizes(32, 256, filters, 28, 28, (1, 1)),
        ConvSizes(32, 3, filters, 224, 224, (7, 7), (2, 2), (3, 3, 3, 3)),
    )


# Instructions other than products for a cycle of tensor cores, at most, of each layer: a twentieth more than nvcc 13.0 has.
MOST = {
    WARP_TILES.large[0]: (0.19, 0.19, 0.18, 0.25),
    WARP_TILES.large[1]: (0.33, 0.32, 0.32, 0.45),
    WARP_TILES.large[2]: (0.38, 0.38, 0.36, 0.54),
    WARP_TILES.small: (0.44, None, 0.43, None),
    WARP_TILES.uneven: (0.61, 0.60, 0.58, 0.83),
    WARP_TILES.short: (0.51, None, 0.50, None),
    WARP_TILES.uneven_short: (0.72, 0.72, 0.67, 0.95),
    WARP_TILES.scores: (1.24, 1.34, 1.26, 1.65),
    NARROW[0]: (1.33, 1.31, 1.22, 1.98),
    NARROW[1]: (0.71, 0.71, 0.67, 1.02),
    GROUP_TILES.large[0]: (0.24, 0.24, 0.23, 0.30),
    GROUP_TILES.large[1]: (0.41, 0.41, 0.39, 0.54),
    GROUP_TILES.large[2]: (0.76, 0.76, 0.73, 1.03),
    GROUP_TILES.small: (0.68, None, 0.65, None),
    GROUP_TILES.uneven: (1.09, 1.05, 1.03, 1.41),
    GROUP_TILES.short: (0.81, None, 0.78, None),
    GROUP_TILES.uneven_short: (1.36, 1.32, 1.17, 1.73),
    GROUP_TILES.scores: (2.23, 2.34, 2.27, 2.99),
}


def _others(sizes: ConvSizes, tile: GpuTile, of: str, folder: Path) -> float:
    """Instructions of a step for a cycle of tensor cores, other than products, of which it has as many as arithmetic says."""
    source = emitted(convolution(sizes, of, RESIDUAL, Tiling(tile))).source
    (code,) = compiled(source, folder, "sm_90a" if tile.by_groups else "sm_90").values()
    lines, columns = (tile.cols, tile.rows) if tile.turned else (tile.rows, tile.cols)
    pairs, warps = tile.depth // 32, tile.threads // 32
    products = pairs if tile.by_groups else lines * columns * pairs // (16 * 8 * warps)
    assert code.loop["HGMMA" if tile.by_groups else "HMMA"] == products
    halves = 2 if sizes.per_tap * ELEMENTS[of].bytes < 16 else 1
    assert code.loop["LDGSTS"] == sum(
        math.ceil(rows * tile.depth / 16 / tile.threads) * count for rows, count in ((tile.rows, halves), (tile.cols, 1))
    )
    return (code.loop.total() - products) / (products * (columns / 2 if tile.by_groups else CYCLES))


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("tile", MOST, ids=tile_id)
def test_tensor_cores_do_not_wait_for_other_instructions(tile: GpuTile, tmp_path: Path) -> None:
    layers = zip(_layers(tile.cols), MOST[tile], strict=True)
    found = [(_others(sizes, tile, "f16", tmp_path), most) for sizes, most in layers if most is not None]
    assert all(others <= most for others, most in found), found
    assert all(others > most * 0.85 for others, most in found), found  # or the table, and that of docs/cuda_kernels.md, say too much


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize(("of", "most"), [("bf16", 0.33), ("f32", 0.64)])
def test_other_types_are_alike(of: str, most: float, tmp_path: Path) -> None:
    """In tf32 registers of the image are rounded too."""
    sizes, *_ = _layers(128)
    assert _others(sizes, WARP_TILES.large[1], of, tmp_path) <= most
