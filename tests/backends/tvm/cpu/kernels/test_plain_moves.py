"""Moves of plain tensors by strides, to channels last and back, and chains of elements."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.channels_last import from_last, to_last
from convc.backends.tvm.cpu.kernels.elements import elements
from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.strides import Part, moved
from convc.ir.ops.activation import RELU
from convc.ir.ops.elementwise import ADD, SUB
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))


@pytest.mark.parametrize(
    ("shape", "perm"),
    [((3, 20, 37), (0, 2, 1)), ((2, 3, 5, 7, 40), (1, 0, 3, 2, 4)), ((5, 3, 2), (2, 1, 0)), ((4, 33, 16), (2, 0, 1)), ((7,), (0,))],
)
def test_transposes(shape: tuple[int, ...], perm: tuple[int, ...]) -> None:
    x, made = draw(*shape), tuple(shape[axis] for axis in perm)
    part = Part(made, tuple(strides_of(shape)[axis] for axis in perm), strides_of(made))
    np.testing.assert_array_equal(call(moved((shape,), made, (part,)), [x], made), x.transpose(perm))


def test_parts_of_images_of_which_the_number_has_a_name() -> None:
    x, y = draw(3, 20, 33), draw(3, 5, 40)
    parts = (Part((33, 20), (1, 33), (20, 1)), Part((5, 20), (40, 2), (20, 1), start=660))
    got = call(moved(((None, 20, 33), (None, 5, 40)), (None, 38, 20), parts), [x, y], (3, 38, 20))
    np.testing.assert_array_equal(got, np.concatenate([x.transpose(0, 2, 1), y[:, :, ::2]], axis=1))


def test_a_join_of_slices() -> None:
    x, y = draw(5, 40), draw(3, 40)
    parts = (Part((2, 19), (80, 2), (19, 1), first=41), Part((3, 19), (40, 1), (19, 1), first=3, start=38))
    got = call(moved((x.shape, y.shape), (5, 19), parts), [x, y], (5, 19))
    np.testing.assert_array_equal(got, np.concatenate([x[1:4:2, 1:39:2], y[:, 3:22]]))


def test_a_part_of_nothing_is_not_moved() -> None:
    x, parts = draw(4, 20), (Part((0, 20), (20, 1), (20, 1)), Part((4, 20), (20, 1), (20, 1)))
    np.testing.assert_array_equal(call(moved((x.shape, x.shape), (4, 20), parts), [x, x], (4, 20)), x)


@pytest.mark.parametrize("shape", [(2, 21, 3, 5), (1, 32, 4, 4), (3, 7, 1, 9)])
def test_channels_last_and_back(shape: tuple[int, int, int, int]) -> None:
    n, c, h, w = shape
    x = draw(*shape)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    for batch in (n, None):
        np.testing.assert_array_equal(call(to_last(batch, c, h, w, (h, w)), [into_blocks(x)], last.shape), last)
        got = call(from_last(batch, c, h, w, (h, w)), [last], blocked_shape(n, c, h, w))
        np.testing.assert_array_equal(from_blocks(got, c), x)
        assert np.isfinite(got).all()


@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 1300), (2, 4, 48), (3, 16)])
def test_elements(shape: tuple[int, ...]) -> None:
    x, other = draw(*shape), draw(*shape)
    x[0, 0] = np.nan
    steps = (EpilogueStep(SUB, SUB.Attrs(), 1, True), EpilogueStep(RELU, RELU.Attrs()))
    for named in (False, True):
        shown = (None, *shape[1:]) if named else shape
        got = call(elements((shown, shown, shown), steps), [x, other], shape)
        np.testing.assert_array_equal(got, np.where(np.isnan(x), np.nan, np.maximum(other - x, 0)))


@pytest.mark.parametrize("period", [1, 48])
def test_elements_with_a_constant_again_and_again(period: int) -> None:
    x, constant, other = draw(3, 96), draw(period), draw(3, 96)
    steps = (EpilogueStep(ADD, ADD.Attrs(), 1), EpilogueStep(ADD, ADD.Attrs(), 1))
    for named in (False, True):
        shown = (None if named else 3, 96)
        got = call(elements((shown, shown, shown), steps, period), [x, constant, other], x.shape)
        np.testing.assert_array_equal(got, x + np.tile(constant, 96 // period) + other)
