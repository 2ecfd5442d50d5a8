"""Convolutions in groups of few channels, of which a vector holds several."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.narrow import can_turn, narrow, narrow_filters
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.processor import AVX2, AVX512, SSE, Processor
from convc.ir.ops.activation import RELU
from convc.ir.ops.conv import CONV2D
from convc.ir.ops.elementwise import ADD
from convc.ir.types import Array
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks

CASES = [  # images, channels, of a group, rows, columns, then the window's kernel, strides, pads, dilations
    (1, 104, 8, 17, 16, (3, 3), (2, 2), (1, 1, 1, 1)),
    (2, 20, 4, 13, 11, (3, 2), (2, 3), (1, 0, 2, 1)),
    (3, 10, 2, 9, 12, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    (1, 24, 8, 1, 20, (1, 5), (1, 1), (0, 4, 0, 0)),
]


@pytest.mark.parametrize("processor", [AVX512, AVX2, SSE], ids=["all turns at once", "half of them", "one"])
@pytest.mark.parametrize("case", CASES)
def test_narrow_groups(case: tuple, processor: Processor) -> None:
    n, channels, group, rows, cols, *rest = case
    window, steps = Window(rows, cols, *rest), (EpilogueStep(RELU, RELU.Attrs()), EpilogueStep(ADD, ADD.Attrs(), 1))
    x, w, bias, other = draw(n, channels, rows, cols), draw(channels, group, *window.kernel), draw(channels), draw(n, channels, *window.out)
    wanted = np.maximum(meant(window, channels // group, *(v.astype(np.float64) for v in (x, w, bias))), 0) + other
    operands = [into_blocks(x), narrow_filters(channels, group, window.kernel).pack(w), block_channels(bias), into_blocks(other)]
    kernel = narrow(n if processor is AVX512 else None, channels, group, window, steps, processor)
    got = call(kernel, operands, blocked_shape(n, channels, *window.out))
    np.testing.assert_allclose(from_blocks(got, channels), wanted, rtol=1e-5, atol=2e-5)


def meant(window: Window, groups: int, *operands: Array) -> Array:
    return CONV2D.meaning(CONV2D.Attrs(window.strides, window.pads, window.dilations, groups), *operands)


def test_an_infinity_stays_in_its_group() -> None:
    """Widened by zeros, the group beside it would be NaN."""
    window, x, w = Window(5, 6, (3, 3), (1, 1), (1, 1, 1, 1)), draw(1, 16, 5, 6), draw(16, 4, 3, 3)
    x[0, 5, 2, 2], x[0, 9, 0, 0] = np.inf, np.nan
    operands = [into_blocks(x), narrow_filters(16, 4, (3, 3)).pack(w), np.zeros((1, 16), np.float32)]
    got = from_blocks(call(narrow(1, 16, 4, window), operands, blocked_shape(1, 16, 5, 6)), 16)
    np.testing.assert_allclose(got, meant(window, 4, x, w), rtol=1e-4, atol=1e-5)
    assert np.isfinite(got[0, [0, 1, 2, 3, 12, 13, 14, 15]]).all()


@pytest.mark.parametrize(
    ("groups", "c_in", "c_out", "kernel", "turns"),
    [
        (13, 104, 104, (3, 3), True),
        (5, 80, 80, (3, 3), False),  # a block each
        (5, 15, 15, (3, 3), False),  # no whole lanes of a vector
        (4, 16, 32, (3, 3), False),
        (4, 16, 16, (1, 200), False),
    ],
)
def test_which_groups_turn(groups: int, c_in: int, c_out: int, kernel: tuple[int, int], turns: bool) -> None:
    assert can_turn(groups, c_in, c_out, kernel) == turns
