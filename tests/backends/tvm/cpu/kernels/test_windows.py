"""Kernels with windows: pools and depthwise convolution of blocked tensors."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.depthwise import depthwise, depthwise_filters
from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.planes import can_slide, depthwise_planes
from convc.backends.tvm.cpu.kernels.pools import avg_pool, global_avg_pool, global_max_pool, max_pool
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.ir.ops import pool
from convc.ir.ops.activation import RELU, SIGMOID
from convc.ir.ops.activation_variants import HARD_SWISH
from convc.ir.ops.conv import CONV2D
from convc.ir.ops.elementwise import ADD
from convc.tests.support.cpu_kernels import blocked_shape, call, compiled, draw, from_blocks, into_blocks

CASES = [
    (
        1,
        20,
        3,
        90,
        (2, 40),
        (1, 3),
        (0, 30, 1, 25),
        (1, 2),
    ),  # a loop over taps  # images, channels, rows, columns, then the window's kernel, strides, pads, dilations, ceil_mode
    (1, 64, 56, 56, (3, 3), (2, 2), (1, 1, 1, 1)),
    (1, 48, 28, 28, (3, 3), (1, 1), (1, 1, 1, 1)),
    (2, 20, 13, 11, (3, 2), (2, 3), (1, 0, 2, 1), (1, 1), True),
    (1, 16, 9, 9, (3, 3), (2, 2), (0, 0, 0, 0), (1, 1), True),
    (3, 5, 15, 33, (3, 3), (1, 1), (2, 2, 2, 2), (2, 3)),
    (1, 16, 7, 7, (7, 7), (1, 1), (3, 3, 3, 3)),
    (1, 33, 30, 46, (2, 2), (2, 2)),
    (1, 3, 6, 6, (2, 2), (3, 3), (1, 1, 0, 0), (1, 1), True),
    (2, 7, 1, 40, (1, 5), (1, 2), (0, 4, 0, 1)),
    (1, 4, 3, 3, (2, 2), (1, 1), (1, 1, 1, 1), (3, 3)),
    (1, 17, 1, 1, (1, 1)),
]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_pools(case: tuple, named: bool) -> None:
    n, channels, rows, cols, *rest = case
    x, window = draw(n, channels, rows, cols), Window(rows, cols, *rest)
    batch, shape = None if named else n, blocked_shape(n, channels, *window.out)
    wanted = pool.max_pool(pool.MaxPool(*rest), x)
    assert wanted.shape[2:] == window.out
    got = call(max_pool(batch, channels, window), [into_blocks(x)], shape)
    assert np.array_equal(from_blocks(got, channels), wanted)
    for counts_pads in (False, True):
        op = pool.AvgPool(*window_fields(window), count_include_pad=counts_pads)
        got = call(avg_pool(batch, channels, window, counts_pads), [into_blocks(x)], shape)
        np.testing.assert_allclose(from_blocks(got, channels), pool.avg_pool(op, x.astype(np.float64)), rtol=1e-5, atol=1e-6)


def window_fields(window: Window):
    return window.kernel, window.strides, window.pads, window.dilations, window.ceil_mode


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("case", [case for case in CASES if len(case) < 9])
def test_depthwise(case: tuple, named: bool) -> None:
    n, channels, rows, cols, *rest = case
    window = Window(rows, cols, *rest)
    x, w, bias, other = draw(n, channels, rows, cols), draw(channels, 1, *window.kernel), draw(channels), draw(n, channels, *window.out)
    steps = (EpilogueStep(RELU, RELU.Attrs()), EpilogueStep(ADD, ADD.Attrs(), 1))
    op = CONV2D.Attrs(window.strides, window.pads, window.dilations, channels)
    wanted = np.maximum(CONV2D.meaning(op, *(v.astype(np.float64) for v in (x, w, bias))), 0) + other
    operands = [into_blocks(x), depthwise_filters(channels, window.kernel).pack(w), block_channels(bias), into_blocks(other)]
    got = call(depthwise(None if named else n, channels, window, steps), operands, blocked_shape(n, channels, *window.out))
    np.testing.assert_allclose(from_blocks(got, channels), wanted, rtol=1e-5, atol=1e-5)


PLANES = [  # the same; rows of several vectors, of one, of a part more, and windows wider than a vector
    (1, 3, 30, 451, (3, 3), (1, 1), (1, 1, 1, 1)),
    (2, 5, 9, 16, (3, 3), (1, 1), (1, 1, 1, 1)),
    (3, 2, 8, 17, (5, 4), (2, 1), (2, 1, 2, 2)),
    (1, 1, 5, 99, (1, 7), (1, 1), (0, 6, 0, 6)),
    (2, 4, 12, 130, (3, 5), (1, 1), (0, 0, 0, 0), (2, 9)),
    (1, 2, 7, 64, (3, 3), (3, 1), (0, 20, 4, 18), (1, 19)),
    (1, 7, 1, 32, (1, 1), (1, 1)),
]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("case", PLANES)
def test_depthwise_on_planes(case: tuple, named: bool) -> None:
    n, channels, rows, cols, *rest = case
    window = Window(rows, cols, *rest)
    assert can_slide(window)
    x, w, bias = draw(n, channels, rows, cols), draw(channels, 1, *window.kernel), draw(channels)
    op = CONV2D.Attrs(window.strides, window.pads, window.dilations, channels)
    wanted = np.maximum(CONV2D.meaning(op, *(v.astype(np.float64) for v in (x, w, bias))), 0)
    kernel = depthwise_planes(None if named else n, channels, window, (EpilogueStep(RELU, RELU.Attrs()),))
    got = call(kernel, [x, w[:, 0], bias], (n, channels, *window.out))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("n", "channels", "rows", "cols"), [(1, 256, 7, 7), (3, 20, 13, 13), (2, 64, 28, 29), (1, 5, 1, 1), (1, 16, 31, 1)]
)
def test_global_pools(n: int, channels: int, rows: int, cols: int) -> None:
    x, shape = draw(n, channels, rows, cols), blocked_shape(n, channels, 1, 1)
    got = from_blocks(call(global_avg_pool(None, channels, rows, cols), [into_blocks(x)], shape), channels)
    np.testing.assert_allclose(got, x.astype(np.float64).mean((2, 3), keepdims=True), rtol=1e-5, atol=1e-6)
    got = from_blocks(call(global_max_pool(n, channels, rows, cols), [into_blocks(x)], shape), channels)
    assert np.array_equal(got, x.max((2, 3), keepdims=True))


def test_a_nan_wins() -> None:
    x = draw(1, 20, 8, 8)
    x[0, 3, 4, 5] = x[0, 19, 0, 0] = np.nan
    x[0, 7] = -np.inf
    window = Window(8, 8, (3, 3), (1, 1), (1, 1, 1, 1))
    got = from_blocks(call(max_pool(1, 20, window), [into_blocks(x)], blocked_shape(1, 20, 8, 8)), 20)
    assert np.array_equal(got, pool.max_pool(pool.MaxPool((3, 3), (1, 1), (1, 1, 1, 1)), x), equal_nan=True)
    got = from_blocks(call(global_max_pool(1, 20, 8, 8), [into_blocks(x)], blocked_shape(1, 20, 1, 1)), 20)
    assert np.array_equal(got, x.max((2, 3), keepdims=True), equal_nan=True)


@pytest.mark.parametrize(
    "step", [EpilogueStep(RELU, RELU.Attrs()), EpilogueStep(HARD_SWISH, HARD_SWISH.Attrs()), EpilogueStep(SIGMOID, SIGMOID.Attrs())]
)
def test_what_a_tile_needs_is_on_the_stack(step: EpilogueStep) -> None:
    """TVM took it from the heap once, by a call for each vector, and nothing but the time told."""
    kernel = depthwise(1, 32, Window(14, 14, (3, 3), (1, 1), (1, 1, 1, 1)), (step,))
    assert "AllocWorkspace" not in compiled(kernel).mod.inspect_source("ll")
