"""The gradient of a max pool: ties, NaNs, windows that overlap, and elements that no window has."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.pool_gradient import max_pool_gradient
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.ir.ops.max_pool_gradient import MAX_POOL_GRADIENT, MaxPoolGradient
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks

CASES = [  # images, channels, rows, columns, then the window
    (2, 20, 9, 10, (2, 3)),
    (1, 16, 8, 8, (2, 2), (2, 2)),
    (3, 5, 9, 10, (3, 3), (2, 2), (1, 0, 1, 2)),
    (1, 17, 9, 10, (2, 3), (1, 2), (1, 1, 1, 2), (3, 2)),
    (2, 33, 9, 10, (3, 3), (2, 2), (0, 0, 0, 0), (1, 1), True),
    (2, 3, 9, 10, (2, 2), (3, 3), (0, 1, 1, 1), (1, 1), True),  # elements between windows
]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_pool_gradients(case: tuple, named: bool) -> None:
    n, channels, rows, cols, *rest = case
    window = Window(rows, cols, *rest)
    x, g = np.round(draw(n, channels, rows, cols)), draw(n, channels, *window.out)  # few values, so that many are equal
    x[0, 1, :3, :3], x[0, 2, 1, 1], x[-1, 0], g[0, 0, 0, 0] = np.nan, np.inf, -np.inf, -np.inf
    op = MaxPoolGradient(window.kernel, window.strides, window.pads, window.dilations, window.ceil_mode)
    wanted = MAX_POOL_GRADIENT.meaning(op, x, g)
    kernel = max_pool_gradient(None if named else n, channels, window)
    got = from_blocks(call(kernel, [into_blocks(x), into_blocks(g)], blocked_shape(n, channels, rows, cols)), channels)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
