"""Layer norms of plain rows."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.layer_norm import channel_norm, layer_norm
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.ir.ops.group import LAYER_NORM, LayerNorm
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 5, 768), (2, 3, 37), (3, 4, 7), (2, 16), (2, 2, 3, 40), (5, 1)])
def test_layer_norm(shape: tuple[int, ...], has_bias: bool) -> None:
    x, constants = draw(*shape) * 3 + 50, [draw(shape[-1]) for _ in range(1 + has_bias)]
    op = LayerNorm(epsilon=1e-5)
    wide = [each.astype(np.float64) for each in (x, *constants)]
    bound = 8 * 2**-24 * LAYER_NORM.magnitude(op, *wide) if LAYER_NORM.magnitude else None
    for axis in (None, shape[0]):
        got = call(layer_norm((axis, *shape[1:]), shape[-1], 1e-5, has_bias), [x, *constants], shape)
        assert (abs(got - LAYER_NORM.meaning(op, *wide)) <= bound).all()


def test_a_row_with_what_is_no_number_is_none() -> None:
    x = draw(1, 4, 21)
    x[0, 1, 20], x[0, 3, 2] = np.nan, np.inf
    got = call(layer_norm((1, 4, 21), 21, 1e-5), [x, draw(21), draw(21)], x.shape)
    assert np.isnan(got[0, [1, 3]]).all()
    assert np.isfinite(got[0, [0, 2]]).all()


@pytest.mark.parametrize("shape", [(1, 96, 4, 5), (2, 37, 3, 3), (3, 7, 1, 2), (1, 112, 2, 2)])
def test_channel_norm(shape: tuple[int, int, int, int]) -> None:
    n, c, h, w = shape
    x, scale, shift = draw(*shape) * 3 + 50, draw(c), draw(c)
    wide = x.astype(np.float64).transpose(0, 2, 3, 1)
    assert LAYER_NORM.magnitude is not None
    wanted, bound = (f(LayerNorm(), wide, scale, shift).transpose(0, 3, 1, 2) for f in (LAYER_NORM.meaning, LAYER_NORM.magnitude))
    for batch in (n, None):
        constants = [block_channels(each) for each in (scale, shift)]
        got = call(channel_norm(batch, c, h, w, 1e-5), [into_blocks(x), *constants], blocked_shape(n, c, h, w))
        assert np.isfinite(got).all()
        assert (abs(from_blocks(got, c) - wanted) <= 8 * 2**-24 * bound).all()


def test_a_pixel_with_what_is_no_number_is_none_and_leaves_the_lanes_beyond() -> None:
    x = draw(1, 21, 2, 2)
    x[0, 20, 0, 1], x[0, 3, 1, 1] = np.nan, np.inf
    got = call(channel_norm(1, 21, 2, 2, 1e-5), [into_blocks(x), *(block_channels(draw(21)) for _ in range(2))], blocked_shape(1, 21, 2, 2))
    found = from_blocks(got, 21)
    assert np.isnan(found[0, :, [0, 1], [1, 1]]).all()
    assert np.isfinite(found[0, :, [0, 1], [0, 0]]).all()
    assert np.isfinite(got[1, 0, :, :, 5:]).all()
