"""Values on their way into the kernels' layout and out of it."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cuda.kernels.borders import enter, leave
from convc.tests.support.gpu_convolutions import innermost
from convc.tests.support.own_kernels import emitted

SIZES = [(2, 3, 5, 7), *(pytest.param(sizes, marks=pytest.mark.slow) for sizes in ((1, 16, 3, 3), (3, 11, 1, 1)))]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_enter_and_leave(sizes: tuple[int, int, int, int]) -> None:
    """Rounded once on the way in; what is beyond the last channel is 0 there, and nowhere on the way out."""
    n, channels, rows, cols = sizes
    x = np.random.default_rng(0).standard_normal(sizes).astype(np.float32)
    inside = np.full((n, rows, cols, -(-channels // 8) * 8), np.nan, np.float16)
    made = emitted(enter(*sizes, "float32", "float16")).run({"A": x, "D": inside})["D"]
    np.testing.assert_array_equal(made, innermost(x.astype(np.float16), "f16"))
    made[..., channels:] = np.inf
    back = emitted(leave(*sizes, "float16", "float32")).run({"A": made, "D": np.full_like(x, np.nan)})["D"]
    np.testing.assert_array_equal(back, x.astype(np.float16).astype(np.float32))
