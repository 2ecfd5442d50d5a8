"""Products of plain rows and known weights, and what follows them."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.rows import RowProduct, matrix_product, row_product, row_weights
from convc.backends.tvm.processor import AVX2, AVX512, Processor
from convc.ir.ops.activation import RELU
from convc.ir.ops.elementwise import ADD
from convc.tests.support.cpu_kernels import call, draw

STEPS = (EpilogueStep(RELU, RELU.Attrs()), EpilogueStep(ADD, ADD.Attrs(), 1))
# n, rows, inputs, results: row by row and not, ends of tiles and vectors, inputs in parts, one row
SIZES = [(1, 197, 70, 100), (3, 35, 33, 37), (1, 3, 2100, 64), (2, 120, 17, 96), (1, 90, 24, 96), (4, 1, 5, 3), (1, 8, 1030, 128)]


@pytest.mark.parametrize("processor", [AVX512, AVX2])
@pytest.mark.parametrize(("n", "rows", "c_in", "c_out"), SIZES)
def test_rows(n: int, rows: int, c_in: int, c_out: int, processor: Processor) -> None:
    x, w, bias, other = draw(n, rows, c_in), draw(c_in, c_out), draw(c_out), draw(n * rows, c_out)
    wanted = np.maximum(x.astype(np.float64) @ w + bias, 0).reshape(n * rows, c_out) + other
    bound = 2 * c_in * 2**-24 * ((abs(x) @ abs(w) + abs(bias)).reshape(n * rows, c_out) + abs(other))
    size = RowProduct((n, rows, c_in), (n * rows, c_out), STEPS, ((n * rows, c_out),), processor)
    given = [x, row_weights(c_in, c_out).pack(w), block_channels(bias)]
    assert (abs(call(row_product(size), [*given, other], (n * rows, c_out)) - wanted) <= bound).all()
    shape = (n, rows, c_out)
    named = RowProduct((None, rows, c_in), (None, rows, c_out), STEPS, ((None, rows, c_out),), processor)
    got = call(row_product(named), [*given, other.reshape(shape)], shape)
    assert (abs(got - wanted.reshape(shape)) <= bound.reshape(shape)).all()


def test_the_sizes_go_every_way() -> None:
    sizes = [RowProduct((n, rows, c_in), (n, rows, c_out)) for n, rows, c_in, c_out in SIZES]
    assert {size.is_rowwise for size in sizes} == {True, False}
    assert {len(size.parts) for size in sizes} == {1, 2, 3}
    assert {size.deep for size in sizes} == {1, 3, 4}


def test_what_is_no_number_spoils_its_row_alone() -> None:
    x, w = draw(1, 9, 20), draw(20, 33)
    x[0, 4, 19], x[0, 8, 0] = np.nan, np.inf
    size = RowProduct((1, 9, 20), (1, 9, 33))
    got = call(row_product(size), [x, row_weights(20, 33).pack(w), block_channels(np.zeros(33, np.float32))], (1, 9, 33))
    assert np.isnan(got[0, 4]).all()
    assert np.isinf(got[0, 8]).all()
    assert np.isfinite(np.delete(got[0], [4, 8], axis=0)).all()


@pytest.mark.parametrize("processor", [AVX512, AVX2])
@pytest.mark.parametrize(
    ("n", "count", "rows", "c_in", "c_out"), [(2, 3, 21, 20, 37), (1, 1, 90, 33, 128), (3, 2, 4, 7, 16), (1, 2, 1, 5, 3)]
)
def test_matrices(n: int, count: int, rows: int, c_in: int, c_out: int, processor: Processor) -> None:
    a, b, other = draw(n, count, rows, c_in), draw(n, count, c_in, c_out), draw(n, count, rows, c_out)
    wanted = np.maximum(a.astype(np.float64) @ b, 0) + other
    bound = 2 * c_in * 2**-24 * (abs(a) @ abs(b) + abs(other))
    for batch in (n, None):
        shapes = [(batch, *each.shape[1:]) for each in (a, other)]
        size = RowProduct(shapes[0], shapes[1], STEPS, (shapes[1],), processor)
        got = call(matrix_product(size, count * (batch or 1)), [a, b, other], other.shape)
        assert (abs(got - wanted) <= bound).all()
