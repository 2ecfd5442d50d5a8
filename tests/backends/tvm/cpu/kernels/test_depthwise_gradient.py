"""Gradients of depthwise convolutions by their weights."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.depthwise_gradient import depthwise_weight_gradient
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.processor import AVX2, AVX512
from convc.ir.ops.conv_weight_gradient import CONV2D_WEIGHT_GRADIENT, Conv2dWeightGradient
from convc.ir.types import Array
from convc.tests.support.cpu_kernels import call, draw, into_blocks, same_bits_by_threads
from convc.tests.support.cpu_plans import kernels
from convc.tests.support.graphs import typed_graph

CASES = [  # images, channels, rows, columns, then the window
    (3, 20, 9, 10, (3, 3), (1, 1), (1, 1, 1, 1)),  # lanes of padding
    (2, 33, 11, 12, (5, 4), (2, 3), (0, 1, 2, 3), (1, 2)),  # uneven
    (9, 16, 30, 40, (7, 7), (1, 1), (3, 3, 3, 3)),  # more taps than registers, more images than parts, several chunks of rows
    (1, 5, 3, 3, (3, 3), (2, 2), (2, 2, 2, 2), (3, 3)),  # taps that no pixel meets
]


def meaning(window: Window, x: Array, g: Array) -> Array:
    op = Conv2dWeightGradient(window.kernel, window.strides, window.pads, window.dilations, x.shape[1])
    return CONV2D_WEIGHT_GRADIENT.meaning(op, x.astype(np.float64), g.astype(np.float64))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_depthwise_weight_gradients(case: tuple, named: bool):
    n, channels, rows, cols, *rest = case
    window = Window(rows, cols, *rest)
    x, g = draw(n, channels, rows, cols), draw(n, channels, *window.out)
    wanted = meaning(window, x, g)
    kernel = depthwise_weight_gradient(None if named else n, channels, window, AVX2 if named else AVX512)
    got = call(kernel, [into_blocks(x), into_blocks(g)], wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-6 * abs(wanted).max())


@pytest.mark.parametrize(("channels", "group"), [(20, 2), (24, 8), (36, 4)])
def test_groups_within_a_block(channels: int, group: int):
    """Uneven windows, lanes of padding."""
    n, window = 3, Window(9, 10, (3, 2), (2, 1), (1, 0, 2, 1))
    x, g = draw(n, channels, 9, 10), draw(n, channels, *window.out)
    op = Conv2dWeightGradient(window.kernel, window.strides, window.pads, window.dilations, channels // group)
    wanted = CONV2D_WEIGHT_GRADIENT.meaning(op, x.astype(np.float64), g.astype(np.float64))
    got = call(depthwise_weight_gradient(n, channels, window, group=group), [into_blocks(x), into_blocks(g)], wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-6 * abs(wanted).max())


def test_threads_change_no_bit():
    window, shape = Window(40, 40, (3, 3), (1, 1), (1, 1, 1, 1)), (16, 1, 3, 3)
    operands = [into_blocks(draw(11, 16, 40, 40)), into_blocks(draw(11, 16, 40, 40))]
    assert same_bits_by_threads(depthwise_weight_gradient(None, 16, window), operands, shape)


def test_a_sum_of_many_pixels_rounds_as_one_of_few():
    """One after the other, 200,000 sums of about 1 would be some 60 times as far off."""
    window, rng = Window(56, 56, (1, 1)), np.random.default_rng(3)
    x, g = (rng.uniform(0.5, 1.5, (64, 16, 56, 56)).astype(np.float32) for _ in range(2))
    got = call(depthwise_weight_gradient(64, 16, window), [into_blocks(x), into_blocks(g)], (16, 1, 1, 1))
    assert abs(got / meaning(window, x, g) - 1).max() < 2e-6


def test_what_is_not_finite_stays_with_its_own_taps():
    window = Window(6, 6, (3, 3), (1, 1), (1, 1, 1, 1))
    x, g = draw(2, 18, 6, 6), draw(2, 18, 6, 6)
    x[1, 17, 0, 0], g[0, 3, 3, 2] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        wanted = meaning(window, x, g)
    got = call(depthwise_weight_gradient(2, 18, window), [into_blocks(x), into_blocks(g)], wanted.shape)
    assert np.isnan(wanted[3]).all()
    assert np.isinf(wanted[17]).any()
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("groups", "wanted"), [(24, {"y": "depthwise weight gradient"}), (8, {})])
def test_the_plan_takes_it_where_every_channel_is_a_group(groups: int, wanted: dict):
    text = f"""graph @g(%x: f32[N,24,9,9], %g: f32[N,24,9,9]) {{
      %y = conv2d_weight_gradient(%x, %g) {{kernel=[3,3], pads=[1,1,1,1], groups={groups}}}
      return %y
    }}"""
    assert kernels(typed_graph(text)) == wanted
