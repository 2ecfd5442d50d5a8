"""Products of plain rows and weights that a run computes, which the kernel packs for itself."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.computed_rows import computed_product
from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.rows import RowProduct
from convc.backends.tvm.processor import AVX2, AVX512, Processor
from convc.ir.ops.activation import RELU
from convc.ir.ops.elementwise import ADD
from convc.tests.support.cpu_kernels import call, draw, same_bits_by_threads

STEPS = (EpilogueStep(RELU, RELU.Attrs()), EpilogueStep(ADD, ADD.Attrs(), 1))
# n, rows, inputs, results: inputs in several chunks, rows in several tasks, ends of tiles, squares and vectors, less than a vector
SIZES = [(2, 35, 530, 37), (1, 300, 19, 133), (1, 1, 5, 3)]


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize(("n", "rows", "c_in", "c_out", "processor"), [*((*size, AVX512) for size in SIZES), (1, 9, 40, 33, AVX2)])
def test_rows(n: int, rows: int, c_in: int, c_out: int, processor: Processor, *, is_turned: bool) -> None:
    """With a bias where the weights are turned, as dense layers have both."""
    x, w, bias, other = draw(n, rows, c_in), draw(c_in, c_out), draw(c_out) * np.float32(is_turned), draw(n, rows, c_out)
    wanted = np.maximum(x.astype(np.float64) @ w + bias, 0) + other
    bound = 2 * c_in * 2**-24 * (abs(x) @ abs(w) + abs(bias) + abs(other))
    given = [x, w.T if is_turned else w, *([block_channels(bias)] if is_turned else []), other]
    for batch in (n, None):
        shape = (batch, rows, c_out)
        kernel = computed_product(
            RowProduct((batch, rows, c_in), shape, STEPS, (shape,), processor), is_turned=is_turned, has_bias=is_turned
        )
        assert (abs(call(kernel, given, (n, rows, c_out)) - wanted) <= bound).all()


def test_threads_change_no_bit() -> None:
    size = RowProduct((70, 300), (70, 400))
    assert same_bits_by_threads(computed_product(size, is_turned=True, has_bias=False), [draw(70, 300), draw(400, 300)], (70, 400))


def test_what_is_no_number_spoils_its_row_alone() -> None:
    x, w = draw(9, 20), draw(20, 33)
    x[4, 19], x[8, 0] = np.nan, np.inf
    got = call(computed_product(RowProduct((9, 20), (9, 33)), is_turned=False, has_bias=False), [x, w], (9, 33))
    assert np.isnan(got[4]).all()
    assert np.isinf(got[8]).all()
    assert np.isfinite(np.delete(got, [4, 8], axis=0)).all()
