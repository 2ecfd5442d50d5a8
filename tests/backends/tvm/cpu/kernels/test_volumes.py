"""Direct convolution of volumes as they lie, against the op's meaning."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.volumes import Volume, direct_volume, volume_filters
from convc.backends.tvm.cpu.kernels.windows import Window
from convc.backends.tvm.cpu.laid import STOCK
from convc.backends.tvm.cpu.plan import plan
from convc.ir.ops.activation import RELU
from convc.ir.ops.conv import CONV3D, Conv3d
from convc.tests.support.cpu_kernels import call, draw
from convc.tests.support.graphs import typed_graph

# images, channels in and out, depth, rows, columns, kernel, attributes
CASES = [
    (1, 3, 20, (4, 5, 19), (3, 3, 3), Conv3d(pads=(1,) * 6)),
    (2, 5, 16, (5, 6, 7), (2, 3, 2), Conv3d((2, 1, 3), (0, 1, 2, 1, 0, 1))),
    (1, 4, 7, (6, 7, 9), (2, 2, 3), Conv3d(pads=(3, 0, 2, 0, 3, 2), dilations=(3, 2, 2))),
    (1, 2, 33, (1, 1, 1), (1, 1, 1), Conv3d()),
    (3, 1, 1, (2, 2, 3), (3, 3, 3), Conv3d((1, 2, 2), (1, 1, 1, 1, 1, 2))),
]


def volume(case: tuple, named: bool = False) -> Volume:
    n, c_in, c_out, (depth, rows, cols), (k_depth, k_rows, k_cols), op = case
    slices = Window(depth, 1, (k_depth, 1), (op.strides[0], 1), (op.pads[0], 0, op.pads[3], 0), (op.dilations[0], 1))
    window = Window(rows, cols, (k_rows, k_cols), op.strides[1:], (*op.pads[1:3], *op.pads[4:]), op.dilations[1:])
    return Volume(None if named else n, c_in, c_out, slices, window)


def operands(case: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, c_in, c_out, sizes, kernel, _ = case
    return draw(n, c_in, *sizes), draw(c_out, c_in, *kernel), draw(c_out)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_convolution_and_a_relu(case: tuple, named: bool) -> None:
    (n, c_in, c_out, _, kernel, op), size, (x, w, bias) = case, volume(case, named), operands(case)
    packed = [volume_filters(c_in, c_out, kernel).pack(w), block_channels(bias)]
    got = call(direct_volume(size, (EpilogueStep(RELU, RELU.Attrs()),)), [x, *packed], (n, c_out, *size.out))
    wanted = np.maximum(CONV3D.meaning(op, *(value.astype(np.float64) for value in (x, w, bias))), 0)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_an_infinity_and_a_nan_reach_what_reads_them_and_nothing_else() -> None:
    case = CASES[0]
    (n, c_in, c_out, _, kernel, op), size, (x, w, bias) = case, volume(case), operands(case)
    x[0, 0, 1, 2, 3], x[0, 1, 3, 4, 18] = np.inf, np.nan
    got = call(direct_volume(size), [x, volume_filters(c_in, c_out, kernel).pack(w), block_channels(bias)], (n, c_out, *size.out))
    with np.errstate(invalid="ignore"):
        wanted = CONV3D.meaning(op, x, w, bias)
    assert np.array_equal(np.isfinite(got), np.isfinite(wanted))
    assert np.array_equal(np.isnan(got), np.isnan(wanted))


def test_what_the_rule_takes() -> None:
    text = """graph @film(%x: f32[N,3,4,9,10], %v: f32[8,3,3,3,3]) {
  %w = param : f32[8,3,3,3,3]
  %a = conv3d(%x, %w) {pads=[1,1,1,1,1,1]}
  %r = relu(%a)
  %b = conv3d(%x, %v)
  %u = param : f32[3,1,1,1,3]
  %c = conv3d(%x, %u) {groups=3}
  return %r, %b, %c
}
"""
    planned = plan(typed_graph(text))
    assert {work.result.name: work.kernel.name for work in planned.works.values()} == {"r": "direct volume"}
    assert [call.node.name for call in planned.calls if call.kernel == STOCK] == ["b", "c"]
