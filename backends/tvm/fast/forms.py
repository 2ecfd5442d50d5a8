"""The forms of a kernel: orders of its loops in which it computes the same from the same packed weights. A rule picks one, or a tuner.

Every sum keeps its order, so a form changes no digit of a result. No TVM is needed to list them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..processor import Processor
from .direct import Direct, Form, direct
from .epilogue import Step
from .kernel import LANES, blocks
from .winograd import winograd_kernel
from .winograd_arrangement import Arrangement, Tiled, round_up

__all__ = ["Tunable", "form_of", "tunable_direct", "tunable_winograd"]

FEWEST_SUMS, MOST_SUMS = 4, 28  # of LANES floats in a register tile, where as many fit the registers
MOST_BLOCKS = 6  # of output channels in a register tile
MOST_PADDING = 1.3  # tiles computed over tiles needed
STRIPS = 4  # most parts that rows of tiles are computed in


@dataclass(frozen=True)
class Tunable:
    """A kernel as a tuner sees it: `key` says what it computes, `build` makes the PrimFunc of a form, None for the rule's.

    Units: `macs` multiply-adds that it executes, `bytes` that it must move; `weights` is the place of the weights among its arguments.
    """

    key: str
    macs: int
    bytes: int
    weights: int
    forms: Callable[[], Sequence[Any]]
    build: Callable[[Any], Any]


def form_of(kernel: Tunable, tuned: Mapping[str, Any]) -> Any:
    """The form that tuning chose, as its fields; None where it chose none, or one that this kernel does not have."""
    fields = tuned.get(kernel.key)
    return next((form for form in kernel.forms() if asdict(form) == fields), None) if fields else None


def tunable_direct(size: Direct) -> Tunable:
    window, images, (_, per_out) = size.window, size.batch or 1, size.per_group
    key = (
        f"direct {size.batch or 'N'}x{size.blocks_in}x{size.lanes_in}x{window.rows}x{window.cols} to {size.blocks_out}, "
        f"kernel {_by(window.kernel)}, strides {_by(window.strides)}, pads {_by(window.pads)}, dilations {_by(window.dilations)}, "
        f"groups {size.groups}{'' if size.before is None else ', after batch_norm' + _then(size.before)}{_then(size.steps)}"
    )
    rows, cols = size.out
    moved = images * (size.blocks_in * size.lanes_in * window.rows * window.cols + size.blocks_out * LANES * rows * cols)

    def forms() -> list[Form]:
        widths = sorted({-(-cols // tiles) for tiles in range(1, cols + 1)})  # of tiles about as wide as one another
        return [
            Form(width, deep, is_rowwise)
            for deep in range(1, min(per_out, MOST_BLOCKS) + 1)
            for width in widths
            for is_rowwise in (False, True)
            if _fits(deep * width, per_out * cols, size.processor)
        ]

    def build(form: Form | None) -> Any:
        return direct(replace(size, form=form))

    weights = 1 if size.before is None else 3
    return Tunable(key, images * size.macs, 4 * (math.prod(size.weights) + moved), weights, forms, build)


def tunable_winograd(size: Tiled) -> Tunable:
    m, r, images, (high, wide) = size.m, size.r, size.batch or 1, size.grid
    weights, group = math.prod(size.weights), size.weights[-2]
    key = (
        f"winograd F({m}x{m},{r}x{r}) {size.batch or 'N'}x{size.c_in}x{size.rows}x{size.cols} to {size.c_out}, pads {_by(size.pads)}"
        f"{_then(size.steps)}{', max_pool' if size.pools else ''}"
    )
    moved = images * LANES * (blocks(size.c_in) * size.rows * size.cols + blocks(size.c_out) * math.prod(size.stored))

    def forms() -> list[Arrangement]:
        images_at_once = size.rule.images
        tiles = [
            (tile_rows, tile_cols)
            for tile_rows in range(1, high + 1)
            for tile_cols in range(1, wide + 1)
            if _fits(group * tile_rows * tile_cols, group * high * wide, size.processor)
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
        return winograd_kernel(replace(size, form=form))

    return Tunable(key, images * weights * high * wide, 4 * (weights + moved), 1, forms, build)


def _fits(sums: int, all_sums: int, processor: Processor) -> bool:
    """Whether a register tile is neither too large nor, unless the result is, so small that it waits for itself."""
    most = min(MOST_SUMS, (processor.floats - processor.lanes) // LANES)
    return min(FEWEST_SUMS, all_sums, most // 2) <= sums <= most


def _by(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _then(steps: tuple[Step, ...]) -> str:
    return "".join(f", {step.kind.name}" for step in steps)
