"""Layer norms of plain rows."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.layer_norm import layer_norm
from convc.ir.ops.group import LAYER_NORM, LayerNorm
from convc.tests.support.cpu_kernels import call, draw


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
