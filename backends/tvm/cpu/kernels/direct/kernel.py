"""Direct convolution on blocked tensors: a register tile of output columns by vectors of 16 channels, no tuner.

A[CIB,n,H,W,16] B[COB,CIG,KH,KW,16,16] bias[COB,16] R...[COB,n,OH,OW,16] -> D[COB,n,OH,OW,16], where CIG are the input blocks
of a group. A first layer reads an image of few channels as it is, [n,C,H,W], and its weights are [COB,1,KH,KW,C,16].
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..epilogue import read_names
from ..kernel import CpuKernel, Tunable, TunedForms, by, fits_registers, form_of, kind, then
from ..layout import LANES
from ..writer import Operand, Writer, blocked, prim_func
from .body import Body
from .size import Direct, Form

__all__ = ["direct", "direct_kernel", "tunable_direct"]

MOST_BLOCKS = 6  # of output channels in a register tile


def direct_kernel(size: Direct, tuned: TunedForms) -> CpuKernel:
    """In the form that tuning chose, if it chose one."""
    tunable = tunable_direct(size)
    form = form_of(tunable, tuned)
    return replace(direct.of(replace(size, form=form)), tunable=tunable, form=form)


@kind("direct")
def direct(size: Direct) -> Any:
    """(A, [gain[CIB,16], shift[CIB,16],] B, bias, R..., D), the two where there is something before."""
    window = size.window
    image = Operand("A", (size.batch, size.lanes_in, window.rows, window.cols))
    given = image if size.is_image else blocked("A", size.batch, size.blocks_in * LANES, window.rows, window.cols)
    results = [blocked(name, size.batch, size.blocks_out * LANES, *size.out) for name in (*read_names(size.steps), "D")]
    norm = [] if size.before is None else [Operand(name, (size.blocks_in, LANES)) for name in ("gain", "shift")]
    weights = [Operand("B", size.weights), Operand("bias", (size.blocks_out, LANES))]

    def body(writer: Writer, a: Any, *rest: Any) -> None:
        before, (b, bias, *read, d) = rest[: len(norm)], rest[len(norm) :]
        Body(writer, size, a, before, b, bias, read, d).write()

    return prim_func([given, *norm, *weights, *results], body)


def tunable_direct(size: Direct) -> Tunable:
    window, images, (_, per_out) = size.window, size.batch or 1, size.per_group
    last = f", the last block {size.last}" if size.last < LANES else ""
    ending = f", the last in {size.ending}" if size.ending < LANES else ""
    key = (
        f"direct {size.batch or 'N'}x{size.blocks_in}x{size.lanes_in}x{window.rows}x{window.cols}{last} to {size.blocks_out}{ending}, "
        f"kernel {by(window.kernel)}, strides {by(window.strides)}, pads {by(window.pads)}, dilations {by(window.dilations)}, "
        f"groups {size.groups}{'' if size.before is None else ', after batch_norm' + then(size.before)}{then(size.steps)}"
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
            if fits_registers(deep * width, per_out * cols, size.processor)
        ]

    def build(form: Form | None) -> Any:
        return direct(replace(size, form=form))

    weights = 1 if size.before is None else 3
    return Tunable(key, images * size.macs, 4 * (math.prod(size.weights) + moved), weights, forms, build)
