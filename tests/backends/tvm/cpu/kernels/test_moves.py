"""Kernels that move or go element by element: layouts, concatenation, slices, chains of steps."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.moves import concat, pack, pad_channels, pick, pixels_apart, slice_blocks, unpack
from convc.backends.tvm.cpu.kernels.pointwise import by_channel, by_image, pointwise
from convc.ir.ops.activation import CLIP, LEAKY_RELU, RELU, SIGMOID
from convc.ir.ops.activation_variants import HARD_SIGMOID, HARD_SWISH
from convc.ir.ops.elementwise import ADD, MUL, SUB
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks

SHAPES = [(1, 64, 56, 56), (1, 3, 224, 224), (2, 512, 7, 7), (3, 1000, 1, 1), (3, 20, 5, 3), (2, 37, 9, 11), (1, 5, 4, 4)]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_into_blocks_and_out_of_them(shape: tuple[int, int, int, int], named: bool) -> None:
    x = draw(*shape)
    batch = None if named else shape[0]
    assert np.array_equal(call(pack(batch, *shape[1:]), [x], blocked_shape(*shape)), block_channels(x, 1).swapaxes(0, 1))
    assert np.array_equal(call(unpack(batch, *shape[1:]), [into_blocks(x)], shape), x)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("n", "channels", "rows", "cols"),
    [
        (1, (64, 128, 32, 32), 28, 28),
        (3, (16, 32, 5), 3, 3),
        (2, (24, 20, 7), 5, 3),
        (1, (24, 24), 14, 14),
        (1, (3,), 2, 2),
    ],
)
def test_concat_of_any_channels(n: int, channels: tuple[int, ...], rows: int, cols: int, named: bool) -> None:
    given = [draw(n, c, rows, cols) for c in channels]
    function = concat(None if named else n, channels, rows, cols)
    got = call(function, [into_blocks(x) for x in given], blocked_shape(n, sum(channels), rows, cols))
    assert np.array_equal(from_blocks(got, sum(channels)), np.concatenate(given, axis=1))


def test_a_concat_of_hundreds_nests_by_halves() -> None:
    """One condition within another for each operand, and LLVM runs out of stack."""
    lines = concat(1, (16,) * 300, 2, 3).script().splitlines()
    assert max(len(line) - len(line.lstrip()) for line in lines) <= 4 * (9 + 8)  # 2^9 operands, within loops and a function
    test_concat_of_any_channels(1, (16,) * 40, 2, 3, False)


@pytest.mark.slow  # LLVM takes 20 s for each
@pytest.mark.parametrize("named", [False, True])
def test_a_concat_of_hundreds(named: bool) -> None:
    test_concat_of_any_channels(1, (16,) * 300, 2, 3, named)


@pytest.mark.parametrize("batch", [None, 2])
def test_zeros_around_channels_and_between_pixels(batch: int | None) -> None:
    x = draw(2, 20, 5, 3)
    got = call(pad_channels(batch, 20, 5, 3, 16, 53), [into_blocks(x)], blocked_shape(2, 53, 5, 3))
    assert np.array_equal(from_blocks(got, 53), np.pad(x, ((0, 0), (16, 17), (0, 0), (0, 0))))
    got = call(pixels_apart(batch, 20, 5, 3, (2, 3)), [into_blocks(x)], blocked_shape(2, 20, 10, 9))
    wanted = np.zeros((2, 20, 10, 9), np.float32)
    wanted[:, :, ::2, ::3] = x
    assert np.array_equal(from_blocks(got, 20), wanted)


def test_slices_start_at_a_block() -> None:
    x = draw(2, 40, 5, 6)
    got = call(slice_blocks(None, 40, 5, 6, 16, 37), [into_blocks(x)], blocked_shape(2, 21, 5, 6))
    assert np.array_equal(from_blocks(got, 21), x[:, 16:37])
    with pytest.raises(AssertionError, match="does not start a block"):
        slice_blocks(None, 40, 5, 6, 8, 40)


def test_channels_are_picked_from_all_operands() -> None:
    """In any order, some twice and some never."""
    parts = [draw(2, channels, 5, 6) for channels in (20, 3, 33)]
    chosen = (*range(55, 20, -1), 0, 40, 40, *range(1, 20, 2))
    got = call(pick(None, (20, 3, 33), chosen, 5, 6), [into_blocks(x) for x in parts], blocked_shape(2, len(chosen), 5, 6))
    assert np.array_equal(from_blocks(got, len(chosen)), np.concatenate(parts, axis=1)[:, list(chosen)])
    assert np.isfinite(got[-1, ..., len(chosen) % 16 :]).all()


STEPS = {
    "relu": (EpilogueStep(RELU, RELU.Attrs()),),
    "relu6": (EpilogueStep(CLIP, CLIP.Attrs(0.0, 6.0)),),
    "leaky": (EpilogueStep(LEAKY_RELU, LEAKY_RELU.Attrs(0.1)),),
    "sigmoid": (EpilogueStep(SIGMOID, SIGMOID.Attrs()),),
    "gates": (EpilogueStep(HARD_SIGMOID, HARD_SIGMOID.Attrs(0.2, 0.5)), EpilogueStep(HARD_SWISH, HARD_SWISH.Attrs())),
    "add relu": (EpilogueStep(ADD, ADD.Attrs(), 1), EpilogueStep(RELU, RELU.Attrs())),
    "swap": (EpilogueStep(SUB, SUB.Attrs(), 1, True), EpilogueStep(MUL, MUL.Attrs(), 1)),
    "long": (EpilogueStep(HARD_SWISH, HARD_SWISH.Attrs()), EpilogueStep(CLIP, CLIP.Attrs(-1.0, 1.0))) * 8,
}


def _meaning(steps, x, others):
    """In float64."""
    left = iter(others)
    value = x.astype(np.float64)
    for step in steps:
        operands = [value, next(left).astype(np.float64)] if step.reads else [value]
        value = step.kind.meaning(step.op, *(reversed(operands) if step.first else operands))
    return value


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(("batch", "shape"), [(None, (3, 20, 5, 7)), (1, (1, 64, 33, 31))])
def test_a_chain_of_steps(name: str, batch: int | None, shape: tuple[int, int, int, int]) -> None:
    steps = STEPS[name]
    x = draw(*shape) * 4
    others = [draw(*shape) for step in steps if step.reads]
    got = call(pointwise(batch, *shape[1:], steps), [into_blocks(v) for v in (x, *others)], blocked_shape(*shape))
    np.testing.assert_allclose(from_blocks(got, shape[1]), _meaning(steps, x, others), rtol=1e-6, atol=1e-6)


def test_sigmoid_at_the_ends() -> None:
    x = np.array([-np.inf, -200, -104, -88, -1e-30, 0, 1e-30, 88, 104, 200, np.inf, np.nan], np.float32).reshape(1, 12, 1, 1)
    got = from_blocks(call(pointwise(1, 12, 1, 1, STEPS["sigmoid"]), [into_blocks(x)], blocked_shape(1, 12, 1, 1)), 12)
    np.testing.assert_allclose(got.ravel(), [0, 0, 0, 0, 0.5, 0.5, 0.5, 1, 1, 1, 1, np.nan], atol=1e-37)


def test_constants_by_channel_and_gates_by_image() -> None:
    x, constant, gate, other = draw(3, 40, 9, 7), draw(40), draw(3, 40, 1, 1), draw(3, 40, 9, 7)
    mul, add, relu = EpilogueStep(MUL, MUL.Attrs(), 1), EpilogueStep(ADD, ADD.Attrs(), 1), EpilogueStep(RELU, RELU.Attrs())
    shape = blocked_shape(*x.shape)
    got = call(by_channel(None, 40, 9, 7, mul, (relu,)), [into_blocks(x), block_channels(constant)], shape)
    np.testing.assert_array_equal(from_blocks(got, 40), np.maximum(x * constant[:, None, None], 0))
    got = call(by_image(3, 40, 9, 7, mul, (add,)), [into_blocks(x), into_blocks(gate), into_blocks(other)], shape)
    np.testing.assert_allclose(from_blocks(got, 40), x * gate.astype(np.float64) + other, rtol=1e-6, atol=1e-6)
