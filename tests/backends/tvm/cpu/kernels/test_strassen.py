"""Products by quarters, of pixels and of rows: within their own bound, as noisy as predicted."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.strassen import quarters
from convc.backends.tvm.cpu.kernels.strassen.error import error_bound, noise
from convc.backends.tvm.cpu.kernels.strassen.kernel import quartered_pixels, quartered_rows
from convc.backends.tvm.cpu.kernels.strassen.quarters import Quarters, can_quarter, quarter_weights
from convc.backends.tvm.processor import AVX2, AVX512, Processor
from convc.ir.ops.activation import RELU, TANH
from convc.ir.ops.elementwise import ADD
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks

LONG = EpilogueStep(TANH, TANH.Attrs())  # whose formula is no part of the unrolled code
STEPS = (EpilogueStep(ADD, ADD.Attrs(), 1), EpilogueStep(RELU, RELU.Attrs()))
# images, rows, inputs, results: odd rows, groups and tiles; a last vector that is not whole; tiles of 4, 3 and 2 vectors
SIZES = [(1, 49, 64, 96), (2, 27, 32, 60), (3, 2, 96, 256), (1, 61, 64, 192), (1, 90, 32, 128)]


def bound_of(x: np.ndarray, w: np.ndarray, bias: np.ndarray, other: np.ndarray) -> np.ndarray:
    """After the steps: one more rounding of the sum."""
    bound = error_bound(x, w, bias)
    return bound + 2.0**-24 * (abs(x.astype(np.float64) @ w + bias + other) + bound)


@pytest.mark.parametrize("processor", [AVX512, AVX2])
@pytest.mark.parametrize("tilewise", [False, True])
@pytest.mark.parametrize(("n", "rows", "c_in", "c_out"), SIZES)
def test_rows(n: int, rows: int, c_in: int, c_out: int, tilewise: bool, processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quarters, "is_tilewise", tilewise)
    x, w, bias, other = draw(n, rows, c_in), draw(c_in, c_out), draw(c_out), draw(n, rows, c_out)
    wanted = np.maximum(x.astype(np.float64) @ w + bias + other, 0)
    for batch in (n, None):
        size = Quarters(batch, rows, c_in, c_out, STEPS, processor)
        given = [x, quarter_weights(size).pack(w), block_channels(bias), other]
        shape = (batch, rows, c_out)
        got = call(quartered_rows.__wrapped__(size, (batch, rows, c_in), shape, (shape,)), given, (n, rows, c_out))
        assert (abs(got - wanted) <= bound_of(x, w, bias, other)).all()


@pytest.mark.parametrize("tilewise", [False, True])
def test_pixels(tilewise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of blocked images, of a batch that is a number or has a name."""
    monkeypatch.setattr(Quarters, "is_tilewise", tilewise)
    n, c_in, c_out, image = 2, 64, 90, (5, 9)
    x, w, bias, other = draw(n, c_in, *image), draw(c_out, c_in), draw(c_out), draw(n, c_out, *image)

    def as_rows(each: np.ndarray) -> np.ndarray:
        return each.reshape(n, len(each[0]), -1).swapaxes(1, 2)

    wanted = as_rows(x).astype(np.float64) @ w.T + bias + as_rows(other)
    for batch in (n, None):
        size = Quarters(batch, 45, c_in, c_out, STEPS[:1])
        given = [into_blocks(x), quarter_weights(size).pack(w.T), block_channels(bias), into_blocks(other)]
        got = from_blocks(call(quartered_pixels.__wrapped__(size, image), given, blocked_shape(n, c_out, *image)), c_out)
        assert (abs(as_rows(got) - wanted) <= bound_of(as_rows(x), w.T, bias, as_rows(other))).all()


def test_pairs_lie_within_odd_axes() -> None:
    """So that a batch that has a name computes what one of so many images does."""
    n, rows = 3, 7
    x, w, bias = draw(n, rows, 32), draw(32, 64), draw(64)
    one, whole = Quarters(None, rows, 32, 64, (LONG,)), Quarters(1, n * rows, 32, 64, (LONG,), whole=rows)
    given = [quarter_weights(one).pack(w), block_channels(bias)]
    shape = (None, rows, 64)
    separate = call(quartered_rows(one, (None, rows, 32), shape), [x, *given], (n, rows, 64))
    np.testing.assert_array_equal(call(quartered_rows(whole, (n, rows, 32), (n, rows, 64)), [x, *given], (n, rows, 64)), separate)
    assert abs(separate - np.tanh(x.astype(np.float64) @ w + bias)).max() < 1e-5


def test_the_sizes_go_every_way() -> None:
    sizes = [Quarters(n, rows, c_in, c_out) for n, rows, c_in, c_out in SIZES]
    assert {size.deep for size in sizes} == {2, 3, 4}
    assert {size.repeats for size in sizes} == {False, True}
    assert {size.weights[0] % 2 for size in sizes} == {0, 1}
    assert Quarters(1, 784, 512, 128).is_tilewise
    assert not Quarters(1, 196, 512, 512).is_tilewise
    assert [can_quarter(*sizes) for sizes in ((64, 64), (48, 64), (64, 48), (64, 32))] == [True, False, False, False]


def test_the_noise_is_predicted() -> None:
    x, w = draw(1, 90, 256), draw(256, 128)
    size = Quarters(1, 90, 256, 128)
    given = [x, quarter_weights(size).pack(w), block_channels(np.zeros(128, np.float32))]
    got = call(quartered_rows(size, x.shape, (1, 90, 128)), given, (1, 90, 128))
    sigmas = (got - x.astype(np.float64) @ w) / (2.0**-24 * noise(x, w))
    assert 0.6 < np.sqrt(np.mean(sigmas**2)) < 1.2


def test_the_products_are_those_of_quarters() -> None:
    """Whatever the table says: of any four quarters of either side."""
    left, right = np.random.default_rng(0).standard_normal((2, 4))
    products = (np.array(quarters.LEFT) @ left) * (np.array(quarters.RIGHT) @ right)
    wanted = (left.reshape(2, 2) @ right.reshape(2, 2)).ravel()
    np.testing.assert_allclose([sum(products[list(each)]) for each in quarters.OUT], wanted)
