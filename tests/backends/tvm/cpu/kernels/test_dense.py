"""Dense layers."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.dense import dense, dense_weights
from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.ir.ops.activation import RELU
from convc.ir.ops.elementwise import ADD
from convc.tests.support.cpu_kernels import call, draw


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("n", "c_in", "c_out"), [(1, 512, 1000), (8, 300, 100), (3, 37, 21), (1, 5, 3), (2, 64, 32), (19, 100, 50), (15, 33, 17)]
)
def test_dense(n: int, c_in: int, c_out: int, named: bool) -> None:
    x, w, bias, other = draw(n, c_in), draw(c_out, c_in), draw(c_out), draw(n, c_out)
    wanted = np.maximum(x.astype(np.float64) @ w.T.astype(np.float64) + bias, 0) + other
    steps = (EpilogueStep(RELU, RELU.Attrs()), EpilogueStep(ADD, ADD.Attrs(), 1))
    got = call(
        dense(None if named else n, (c_in,), c_out, steps), [x, dense_weights(c_in, c_out).pack(w), block_channels(bias), other], (n, c_out)
    )
    bound = 2 * c_in * 2**-24 * (abs(x) @ abs(w).T + abs(bias) + abs(other))
    assert (abs(got - wanted) <= bound).all()
