"""Convolution with stride 1 by Winograd's minimal filtering, of 3x3 and 5x5.

F(4x4,3x3) takes a quarter of the products, F(2x2,3x3) 1/2.25, F(2x2,5x5) 1/2.78. Lavin & Gray 2016, sec. 4, on blocked channels. A tile
is m x m outputs of r x r taps; it reads a = m + r - 1 rows and columns of the padded input. Two transforms surround a product for each of
the a x a positions of a tile:

    V[x,y,c,tile] = B^T d B    M[x,y,o,tile] = sum over c of U[x,y,o,c] V[x,y,c,tile]    Y[o,tile] = A^T M A
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

from ....host import tvm
from ..epilogue import read_names
from ..kernel import CpuKernel, Tunable, TunedForms, by, fits_registers, form_of, kind, then
from ..layout import LANES, blocks
from ..writer import OPAQUE
from .arrangement import Arrangement, Tiled, round_up
from .schedule import arrange_fused, arrange_three
from .stages import stages
from .stream import ask_pixels, ask_weights, asking

__all__ = ["tunable_winograd", "winograd", "winograd_kernel"]

MOST_PADDING = 1.3  # tiles computed over tiles needed
STRIPS = 4  # most parts that rows of tiles are computed in


def winograd_kernel(size: Tiled, tuned: TunedForms) -> CpuKernel:
    """In the form that tuning chose, if it chose one."""
    tunable = tunable_winograd(size)
    form, name = form_of(tunable, tuned), f"{winograd.name} F({size.m}x{size.m})"
    return replace(winograd.of(replace(size, form=form)), name=name, tunable=tunable, form=form, tile=size.m)


@kind("winograd")
def winograd(size: Tiled) -> Any:
    """(A[CIB,n,rows,cols,16], U of `weights`, bias[COB,16], what steps read besides, each as the result, D[COB,n,`stored`,16])."""
    package = tvm()
    form = size.form or size.rule
    schedule = package.s_tir.Schedule(package.te.create_prim_func(stages(size, form)))
    if form.fused:
        arrange_fused(schedule, size, form)
    else:
        arrange_three(schedule, size, form)
    if size.phases > 1:
        _lay_by_phase(schedule, size)
    # positions an odd number of LANES floats, a cache's line, apart: else many share one place in a cache, for up to 1.2 times the time
    for stage in ("V", "M"):
        schedule.storage_align(schedule.get_sblock(stage), buffer_index=0, axis=2, factor=2 * LANES, offset=LANES)
    kernel = schedule.mod["main"].without_attr("global_symbol")
    image, weights, *_, result = kernel.params
    ask = functools.partial(ask_pixels, size, form.tile_cols, image, result) if form.fused else functools.partial(ask_weights, weights)
    kernel = kernel.with_body(asking(kernel.body, ask))
    return kernel.with_attr("op_pattern", OPAQUE)


def _lay_by_phase(schedule: Any, size: Tiled) -> None:
    """The phases of an image, which stages see as images, lie row within row and column within column."""
    down, along = size.dilations

    def place(c: Any, b: Any, y: Any, x: Any, lane: Any) -> list[Any]:
        phase = b % size.phases
        return [c, b // size.phases, y * down + phase // along, x * along + phase % along, lane]

    for stage, names in (("pad", ["A"]), ("D", ["D", *read_names(size.steps)])):
        for name in names:
            schedule.transform_layout(schedule.get_sblock(stage), name, place)


def tunable_winograd(size: Tiled) -> Tunable:
    m, r, images, (high, wide) = size.m, size.r, (size.batch or 1) * size.phases, size.grid
    weights, group = math.prod(size.weights), size.weights[-2]
    key = (
        f"winograd F({m}x{m},{r}x{r}) {size.batch or 'N'}x{size.c_in}x{size.rows}x{size.cols} to {size.c_out}, pads {by(size.pads)}"
        f"{f', dilations {by(size.dilations)}' if size.phases > 1 else ''}{then(size.steps)}{', max_pool' if size.pools else ''}"
    )
    moved = images * LANES * (blocks(size.c_in) * size.rows * size.cols + blocks(size.c_out) * math.prod(size.stored))

    def forms() -> list[Arrangement]:
        images_at_once = size.rule.images
        tiles = [
            (tile_rows, tile_cols)
            for tile_rows in range(1, high + 1)
            for tile_cols in range(1, wide + 1)
            if fits_registers(group * tile_rows * tile_cols, group * high * wide, size.processor)
            and round_up(high, tile_rows) * round_up(wide, tile_cols) <= MOST_PADDING * high * wide
        ]
        fused = [Arrangement(True, 1, tile_cols) for tile_rows, tile_cols in tiles if tile_rows == 1]
        strips = {
            Arrangement(False, tile_rows, tile_cols, round_up(-(-high // parts), tile_rows), images_at_once if parts == 1 else 1): None
            for tile_rows, tile_cols in tiles
            for parts in range(1, STRIPS + 1)
        }
        return [*fused, *strips]

    def build(form: Arrangement | None) -> Any:
        return winograd(replace(size, form=form))

    return Tunable(key, images * weights * high * wide, 4 * (weights + moved), 1, forms, build)
