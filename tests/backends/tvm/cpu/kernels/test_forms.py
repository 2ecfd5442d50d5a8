"""Forms that kernels can be tuned to: none changes a digit, all fit the registers, and a key tells a kernel from others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.direct.kernel import direct, tunable_direct
from convc.backends.tvm.cpu.kernels.direct.packing import direct_filters
from convc.backends.tvm.cpu.kernels.direct.size import Direct
from convc.backends.tvm.cpu.kernels.kernel import Tunable
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cpu.kernels.winograd.arrangement import Tiled
from convc.backends.tvm.cpu.kernels.winograd.kernel import tunable_winograd
from convc.backends.tvm.processor import AVX2, AVX512, SSE, Processor
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
    ids=["direct", "37 channels", "after a batch norm", "winograd"],
)
def test_a_form_changes_no_digit(kernel: Tunable, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]):
    forms = list(kernel.forms())
    assert len(forms) > 8
    arrays = [draw(*shape) for shape in operands]
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
        *(replace(size, window=other) for other in windows),
    ]
    assert len({tunable_direct(each).key for each in (size, *others)}) == 7
