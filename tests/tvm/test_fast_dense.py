"""Dense layers and softmax."""

from __future__ import annotations

import numpy as np
import pytest
from fast_kernels import call, draw

from convc.backends.tvm.fast.dense import dense, pack_dense, softmax
from convc.backends.tvm.fast.epilogue import Step
from convc.backends.tvm.fast.kernel import block_channels
from convc.ir.ops.activation import RELU, SOFTMAX
from convc.ir.ops.elementwise import ADD


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("n", "c_in", "c_out"), [(1, 512, 1000), (8, 300, 100), (3, 37, 21), (1, 5, 3), (2, 64, 32), (19, 100, 50), (15, 33, 17)]
)
def test_dense(n: int, c_in: int, c_out: int, named: bool) -> None:
    x, w, bias, other = draw(n, c_in), draw(c_out, c_in), draw(c_out), draw(n, c_out)
    wanted = np.maximum(x.astype(np.float64) @ w.T.astype(np.float64) + bias, 0) + other
    steps = (Step(RELU, RELU.Attrs()), Step(ADD, ADD.Attrs(), 1))
    got = call(dense(None if named else n, c_in, c_out, steps), [x, pack_dense(w), block_channels(bias), other], (n, c_out))
    bound = 2 * c_in * 2**-24 * (abs(x) @ abs(w).T + abs(bias) + abs(other))
    assert (abs(got - wanted) <= bound).all()


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
