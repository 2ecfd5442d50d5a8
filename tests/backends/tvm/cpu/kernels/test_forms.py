"""Forms that kernels can be tuned to: none changes a digit, all fit the registers, and a key tells a kernel from others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.direct.kernel import direct, tunable_direct
from convc.backends.tvm.cpu.kernels.direct.packing import direct_filters
from convc.backends.tvm.cpu.kernels.direct.size import Direct
from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.kernel import Tunable
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cpu.kernels.winograd.arrangement import Tiled
from convc.backends.tvm.cpu.kernels.winograd.kernel import tunable_winograd
from convc.backends.tvm.processor import AVX2, AVX512, SSE, Processor
from convc.ir.ops.activation import RELU, TANH
from convc.ir.ops.conv import CONV2D
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks


@pytest.mark.parametrize(
    ("kernel", "operands", "result"),
    [
        (
            tunable_direct(Direct(2, 3, 16, Window(9, 8, (3, 3), (2, 1), (1, 1, 0, 1)), 4, 1, ())),
            ((3, 2, 9, 8, 16), (4, 3, 3, 3, 16, 16), (4, 16)),
            (4, 2, 4, 8, 16),
        ),
        (
            tunable_direct(Direct(1, 3, 16, Window(9, 8, (3, 3), (1, 1), (1, 1, 1, 1)), 4, 1, (), last=5)),
            ((3, 1, 9, 8, 16), (4, 3, 3, 3, 16, 16), (4, 16)),
            (4, 1, 9, 8, 16),
        ),
        (
            tunable_direct(Direct(1, 3, 16, Window(10, 8, (3, 3), (1, 1), (1, 1, 1, 1)), 3, 1, (), ending=8)),
            ((3, 1, 10, 8, 16), (3, 3, 3, 3, 16, 16), (3, 16)),
            (3, 1, 10, 8, 16),
        ),
        (
            tunable_direct(Direct(1, 2, 16, Window(15, 9, (1, 1)), 5, 1, (), ())),
            ((2, 1, 15, 9, 16), (2, 16), (2, 16), (5, 2, 1, 1, 16, 16), (5, 16)),
            (5, 1, 15, 9, 16),
        ),
        (
            tunable_winograd(Tiled(4, 1, 32, 40, 14, 13, (1, 1, 1, 1))),
            ((2, 1, 14, 13, 16), (6, 6, 2, 2, 16, 2, 16), (3, 16)),
            (3, 1, 14, 13, 16),
        ),
    ],
    ids=["direct", "37 channels", "to 40 channels", "after a batch norm", "winograd"],
)
def test_a_form_changes_no_digit(kernel: Tunable, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]):
    forms = list(kernel.forms())
    assert len(forms) > 8
    arrays = [draw(*shape) for shape in operands]
    if "the last in 8" in kernel.key:
        arrays[1][-1, ..., 8:] = 0
    rule = call(kernel.build(None), arrays, result)
    for form in forms[:: len(forms) // 6]:
        made = call(kernel.build(form), arrays, result)
        np.testing.assert_array_equal(made, rule, err_msg=str(form))


def test_channels_that_are_none_are_not_multiplied():
    """NaN in their lanes reaches nothing."""
    window, x, w, b = Window(9, 8, (3, 2), (2, 1), (1, 1, 0, 1)), draw(2, 37, 9, 8), draw(20, 37, 3, 2), draw(20)
    size = Direct(2, 3, 16, window, 2, 1, (), last=5)
    assert size.macs == 32 * 37 * 6 * 4 * 9
    given = into_blocks(x)
    given[-1, ..., 5:] = np.nan
    got = call(direct(size), [given, direct_filters(size, 1).pack(w), block_channels(b)], blocked_shape(2, 20, *window.out))
    wanted = CONV2D.meaning(CONV2D.Attrs(window.strides, window.pads), *(v.astype(np.float64) for v in (x, w, b)))
    np.testing.assert_allclose(from_blocks(got, 20), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize(("rows", "cols", "count"), [(9, 8, 1), (6, 11, 2), (14, 7, 3), (9, 30, 5), (56, 56, 5), (1, 1, 3), (224, 112, 2)])
def test_a_half_of_the_last_block_changes_no_digit(rows: int, cols: int, count: int, batch: int | None):
    """And is computed by half as many lanes. Rows are divided first where their number is even, and channels not at all in the last."""
    of_whole = Direct(batch, 2, 16, Window(rows, cols, (1, 1)), count, 1, (EpilogueStep(RELU, RELU.Attrs()),), last=4)
    of_half = replace(of_whole, ending=8)
    assert of_whole.macs - of_half.macs == 8 * 20 * rows * cols
    assert ["float32x8" in direct(size).script() for size in (of_whole, of_half)] == [False, True]
    n, w = batch or 2, draw(*of_half.weights)
    bias = draw(count, 16)
    w[-1, ..., 8:] = bias[-1, 8:] = 0  # as they are packed
    operands = [draw(2, n, rows, cols, 16), w, bias]
    whole, half = (call(direct(size), operands, (count, n, rows, cols, 16)) for size in (of_whole, of_half))
    np.testing.assert_array_equal(half, whole)


def test_halves_in_pairs_change_no_digit():
    """A tanh of two columns at once, where that is all that follows the sums of an image's few channels: of tiles of 8 columns, and of 7."""
    cols = 19
    window = Window(6, cols, (5, 5))
    of_whole = Direct(2, 1, 2, window, 1, 1, (EpilogueStep(TANH, TANH.Attrs()),))
    of_half = replace(of_whole, ending=6)
    assert [size.ends_in_half for size in (of_whole, of_half)] == [False, True]
    operands = [draw(2, 2, 6, cols), draw(*of_half.weights), draw(1, 16)]
    operands[1][..., 6:] = operands[2][:, 6:] = 0
    whole, half = (call(direct(size), operands, (1, 2, *window.out, 16)) for size in (of_whole, of_half))
    np.testing.assert_array_equal(half, whole)


@pytest.mark.parametrize("change", [{"blocks_out": 4}, {"blocks_in": 1}, {"ending": 9}, {"processor": AVX2}, {"groups": 3}], ids=str)
def test_no_half_where_it_gains_nothing(change: dict[str, Any]):
    size = Direct(1, 3, 16, Window(14, 14, (1, 1)), 3, 1, (), ending=8)
    assert size.ends_in_half
    assert not replace(size, **change).ends_in_half


def test_tiles_that_differ_are_divided_evenly():
    """Of few weights by rows first, in one loop; of many, 5 blocks are two loops, each of which is divided."""
    for size, loops in ((Direct(1, 2, 16, Window(14, 14, (1, 1)), 5, 1, ()), 1), (Direct(1, 60, 16, Window(14, 14, (1, 1)), 5, 1, ()), 2)):
        assert size.is_halved == (loops == 1)
        assert direct(size).script().count("T.parallel(") == loops


@pytest.mark.parametrize(("processor", "most"), [(AVX512, 28), (AVX2, 7), (SSE, 3)])
def test_forms_fit_the_registers(processor: Processor, most: int):
    window = Window(14, 14, (3, 3), (1, 1), (1, 1, 1, 1))
    straight = tunable_direct(Direct(1, 4, 16, window, 12, 1, (), processor=processor)).forms()
    tiled = tunable_winograd(Tiled(4, 1, 64, 64, 48, 48, (1, 1, 1, 1), processor=processor)).forms()
    sums = {form.width * form.blocks for form in straight}, {2 * form.tile_rows * form.tile_cols for form in tiled}
    assert [max(each) for each in sums] == [most, most // 2 * 2]


def test_a_kernel_is_told_from_others_by_its_key():
    window = Window(9, 8, (3, 3), (2, 1), (1, 1, 0, 1))
    size = Direct(1, 3, 16, window, 4, 1, ())
    windows = [replace(window, rows=10), replace(window, strides=(1, 2)), replace(window, pads=(1, 0, 1, 1))]
    others = [
        replace(size, batch=None),
        replace(size, before=()),
        replace(size, last=3),
        replace(size, ending=3),
        *(replace(size, window=other) for other in windows),
    ]
    assert len({tunable_direct(each).key for each in (size, *others)}) == 8
