"""What a batch norm does while a network trains: sums and means of channels, the norm by them; and the gate of a relu's gradient."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.batch import batch_norm, channel_sums
from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.pointwise import gate
from convc.backends.tvm.host import tvm
from convc.ir.ops.activation import RELU
from convc.ir.ops.elementwise import ADD
from convc.ir.ops.norm import BATCH_NORM, BatchNorm
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks, runner

STEPS = (EpilogueStep(ADD, ADD.Attrs(), 1), EpilogueStep(RELU, RELU.Attrs()))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("shape", [(3, 20, 5, 7), (17, 32, 4, 4), (1, 5, 1, 1), (9, 16, 13, 11)])
def test_sums_and_means_of_channels(shape: tuple[int, int, int, int], named: bool):
    n, *image = shape
    x = draw(*shape)
    for is_mean in (False, True):
        wanted = (np.mean if is_mean else np.sum)(x.astype(np.float64), (0, 2, 3))
        got = call(channel_sums(None if named else n, *image, (image[0],), is_mean), [into_blocks(x)], (image[0],))
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_what_is_not_finite_stays_in_its_channel():
    x = draw(2, 18, 3, 3)
    x[0, 3, 1, 1], x[1, 17, 2, 2] = np.nan, np.inf
    got = call(channel_sums(2, 18, 3, 3, (1, 18, 1, 1)), [into_blocks(x)], (1, 18, 1, 1)).ravel()
    assert np.isnan(got[3])
    assert got[17] == np.inf
    assert np.isfinite(np.delete(got, [3, 17])).all()


def test_threads_change_no_bit_of_a_sum():
    x, threads = into_blocks(draw(11, 16, 40, 40)), tvm(2).get_global_func("runtime.config_threadpool")
    run = runner(channel_sums(None, 16, 40, 40, (16,)))
    two = run([x], (16,))
    threads(1, 1)
    one = run([x], (16,))
    threads(1, 2)
    assert np.array_equal(one, two)


@pytest.mark.parametrize("named", [False, True])
def test_norms_by_statistics_that_are_computed(named: bool):
    """Of a mean that is far greater than the deviation."""
    x, other, scale, shift, mean = draw(3, 20, 4, 5) + 1000, draw(3, 20, 4, 5), draw(20), draw(20), draw(20) + 1000
    var = abs(draw(20)) + 0.5
    wanted = BATCH_NORM.meaning(BatchNorm(1e-3), *(value.astype(np.float64) for value in (x, scale, shift, mean, var))) + other
    operands = [into_blocks(x), *map(block_channels, (scale, shift, mean, var)), into_blocks(other)]
    got = call(batch_norm(None if named else 3, 20, 4, 5, 1e-3, STEPS), operands, blocked_shape(3, 20, 4, 5))
    np.testing.assert_allclose(from_blocks(got, 20), np.maximum(wanted, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("named", [False, True])
def test_gates(named: bool):
    x, g, other = draw(2, 18, 3, 5), draw(2, 18, 3, 5), draw(2, 18, 3, 5)
    x[0, 0, 0, :3], g[0, 0, 0, 3] = (np.nan, 0.5, -0.0), np.nan
    lanes = [np.full(16, value, np.float32) for value in (0.5, -2.0)]
    got = call(
        gate(None if named else 2, 18, 3, 5, STEPS),
        [into_blocks(x), into_blocks(g), *lanes, into_blocks(other)],
        blocked_shape(2, 18, 3, 5),
    )
    wanted = np.where(x > 0.5, g, np.float32(-2.0)) + other
    assert np.array_equal(from_blocks(got, 18), np.maximum(wanted, 0), equal_nan=True)
