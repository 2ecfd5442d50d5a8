"""Gradients of convolutions by their weights, and computed parameters as kernels read them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.arrange import arrange
from convc.backends.tvm.cpu.kernels.weight_gradient import WeightGradient, weight_gradient
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.processor import AVX2, AVX512
from convc.ir.ops.conv_weight_gradient import CONV2D_WEIGHT_GRADIENT, Conv2dWeightGradient
from convc.tests.support.cpu_kernels import call, draw, into_blocks, same_bits_by_threads

LONG_ROW = (1, 5, 5, 3, 20, (3, 31), (1, 1), (1, 15, 1, 15))  # of more taps than there are registers
CASES = [  # images, channels, filters, rows, columns, then the window
    (3, 20, 40, 9, 10, (3, 3), (1, 1), (1, 1, 1, 1)),  # lanes of padding, an odd number of blocks
    (2, 3, 17, 11, 12, (5, 4), (2, 3), (0, 1, 2, 3), (1, 2)),  # few channels, uneven
    (5, 33, 32, 7, 7, (3, 3), (2, 2), (1, 1, 1, 1)),  # pairs of blocks, and more images than parts
    LONG_ROW,
    (1, 16, 32, 40, 90, (3, 3), (1, 1), (1, 1, 1, 1)),  # an image that no cache keeps
    (9, 1, 6, 8, 8, (5, 5)),  # half a vector of filters, and few sums
    (3, 6, 16, 9, 11, (5, 5), (1, 1), (2, 1, 0, 2)),  # three channels at a time
    (2, 2, 5, 5, 9, (2, 1), (1, 2)),
    (2, 4, 16, 3, 3, (3, 3), (2, 2), (2, 2, 2, 2), (3, 3)),  # taps that no pixel meets
    (2, 17, 3, 5, 5, (1, 1), (2, 2)),
]


def turns():
    """LLVM takes 6 s for 93 taps in 16 registers; for 31 of them the batch with a name is as any other's."""
    for case, named in itertools.product(CASES, (False, True)):
        yield pytest.param(case, named, marks=[pytest.mark.slow] if named and case is LONG_ROW else [])


@pytest.mark.parametrize(("case", "named"), list(turns()))
def test_weight_gradients(case: tuple, named: bool) -> None:
    n, c_in, c_out, rows, cols, *rest = case
    window = Window(rows, cols, *rest)
    x, g = draw(n, c_in, rows, cols), draw(n, c_out, *window.out)
    wanted = _meaning(window, x, g)
    for is_image in (False, True) if c_in < 8 else (False,):
        size = WeightGradient(None if named else n, c_in, c_out, window, is_image, AVX2 if named else AVX512)
        got = call(weight_gradient(size), [x if is_image else into_blocks(x), into_blocks(g)], wanted.shape)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-6 * abs(wanted).max())  # of sums of 3,600 products


@pytest.mark.parametrize(("c_in", "c_out", "groups"), [(48, 96, 3), (64, 32, 2), (64, 64, 2)])
def test_groups_of_whole_blocks(c_in: int, c_out: int, groups: int) -> None:
    window = Window(7, 8, (3, 2), (2, 1), (1, 0, 1, 1))
    x, g = draw(3, c_in, 7, 8), draw(3, c_out, *window.out)
    wanted = _meaning(window, x, g, groups)
    got = call(weight_gradient(WeightGradient(3, c_in, c_out, window, groups=groups)), [into_blocks(x), into_blocks(g)], wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-6 * abs(wanted).max())


def test_no_filter_beyond_half_a_vector_is_left_out() -> None:
    """And rows of a length that neighbours apart do not divide."""
    window = Window(3, 5, (1, 1))
    x, g = draw(1, 1, 3, 5), draw(1, 9, 3, 5)
    size = WeightGradient(1, 1, 9, window)
    assert size.width == 16
    assert replace(size, c_out=8).width == 8
    assert 5 % size.apart
    for count in (8, 9):
        got = call(weight_gradient(replace(size, c_out=count)), [into_blocks(x), into_blocks(g[:, :count])], (count, 1, 1, 1))
        np.testing.assert_allclose(got, _meaning(window, x, g[:, :count]), rtol=1e-5, atol=1e-6)


def _meaning(window: Window, x: np.ndarray, g: np.ndarray, groups: int = 1) -> np.ndarray:
    op = Conv2dWeightGradient(window.kernel, window.strides, window.pads, window.dilations, groups)
    return CONV2D_WEIGHT_GRADIENT.meaning(op, x.astype(np.float64), g.astype(np.float64))


def test_what_is_not_finite_stays_with_its_own_taps():
    """A pixel that is a corner's, and a result whose window lies in the image."""
    window = Window(6, 6, (3, 3), (1, 1), (1, 1, 1, 1))
    x, g = draw(2, 18, 6, 6), draw(2, 20, 6, 6)
    x[1, 17, 0, 0], g[0, 19, 3, 2] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        wanted = _meaning(window, x, g)
    got = call(weight_gradient(WeightGradient(2, 18, 20, window)), [into_blocks(x), into_blocks(g)], wanted.shape)
    assert np.isnan(wanted[19]).all()
    assert np.isinf(wanted[:19, 17]).any()
    assert np.isfinite(wanted[:19, :17]).all()
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_a_sum_of_many_pixels_rounds_as_one_of_few():
    """One after the other, 131,072 sums of about 1 would be 30 to 60 times as far off."""
    window, rng = Window(32, 32, (1, 1)), np.random.default_rng(3)
    x, g = (rng.uniform(0.5, 1.5, (128, c, 32, 32)).astype(np.float32) for c in (16, 16))
    wanted = _meaning(window, x, g)
    got = call(weight_gradient(WeightGradient(128, 16, 16, window)), [into_blocks(x), into_blocks(g)], wanted.shape)
    assert abs(got / wanted - 1).max() < 2e-6


@pytest.mark.parametrize(
    "size",
    [
        WeightGradient(None, 16, 16, Window(14, 14, (3, 3), (1, 1), (1, 1, 1, 1))),
        WeightGradient(None, 1, 6, Window(14, 14, (5, 5))),  # halves of vectors, and neighbours apart
    ],
    ids=["16", "6"],
)
def test_threads_change_no_bit(size: WeightGradient):
    operands = [into_blocks(draw(5, size.c_in, 14, 14)), into_blocks(draw(5, size.c_out, *size.window.out))]
    assert same_bits_by_threads(weight_gradient(size), operands, (size.c_out, size.c_in, *size.window.kernel))


def test_parameters_are_arranged_by_places():
    w, places = draw(7, 150), np.arange(3 * 5 * 16 * 10, dtype=np.int32).reshape(3, 5, 10, 16) % 1051 - 1
    w[0, 0] = np.nan  # a zero reads no element
    got = call(arrange(w.shape, places.shape), [w, places], places.shape)
    wanted = np.where(places < 0, 0, w.ravel()[np.maximum(places, 0)])
    assert np.array_equal(got, wanted, equal_nan=True)
    assert (got == 0).any()
