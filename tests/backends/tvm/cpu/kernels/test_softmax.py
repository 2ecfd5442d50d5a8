"""Softmax."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.softmax import softmax, softmax_channels
from convc.ir.ops.activation import SOFTMAX
from convc.tests.support.cpu_kernels import call, draw


@pytest.mark.parametrize(("n", "classes"), [(1, 1000), (3, 10), (9, 16), (2, 2), (1, 40000)])
def test_softmax(n: int, classes: int) -> None:
    x = draw(n, classes) * 10
    for batch in (n, None):
        got = call(softmax(batch, classes), [x], (n, classes))
        np.testing.assert_allclose(got, SOFTMAX.meaning(SOFTMAX.Attrs(axis=1), x.astype(np.float64)), rtol=1e-5, atol=1e-40)


def test_softmax_of_infinities() -> None:
    x = draw(4, 21)
    x[0, 3] = x[0, 20] = -np.inf
    x[1, 4] = np.nan
    x[2, 18] = 3e38
    x[3, 17] = np.inf
    with np.errstate(invalid="ignore"):
        wanted = SOFTMAX.meaning(SOFTMAX.Attrs(axis=1), x.astype(np.float64))
    got = call(softmax(4, 21), [x], (4, 21))
    assert np.isnan(got[1]).all()
    assert np.isnan(got[3, 17])  # the others of that row are 0 or not a number
    np.testing.assert_allclose(got[[0, 2]], wanted[[0, 2]], rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("shape", [(1, 21, 4, 4), (2, 1, 5, 7), (1, 100, 1, 16), (3, 33, 9, 13), (1, 21, 150, 150)])
def test_softmax_of_channels(shape: tuple[int, int, int, int]) -> None:
    x = draw(*shape) * 10
    for batch in (shape[0], None):
        got = call(softmax_channels((batch, *shape[1:]), 1), [x], shape)
        np.testing.assert_allclose(got, SOFTMAX.meaning(SOFTMAX.Attrs(axis=1), x.astype(np.float64)), rtol=1e-5, atol=1e-40)


@pytest.mark.parametrize(("shape", "axis"), [((2, 4, 16, 21), 2), ((3, 5, 16), 1), ((1, 2, 3, 1, 4, 5), 3)])
def test_softmax_along_an_axis_between(shape: tuple[int, ...], axis: int) -> None:
    x = draw(*shape) * 10
    for batch in (shape[0], None):
        got = call(softmax_channels((batch, *shape[1:]), axis), [x], shape)
        np.testing.assert_allclose(got, SOFTMAX.meaning(SOFTMAX.Attrs(axis=axis), x.astype(np.float64)), rtol=1e-5, atol=1e-40)


def test_a_score_that_is_no_number_spoils_its_pixel_alone() -> None:
    x = draw(1, 5, 3, 9)
    x[0, 2, 0, 4], x[0, 0, 2, 8] = np.nan, -np.inf
    got = call(softmax_channels((1, 5, 3, 9), 1), [x], x.shape)
    assert np.isnan(got).sum() == np.isnan(got[0, :, 0, 4]).sum() == 5
    assert got[0, 0, 2, 8] == 0
