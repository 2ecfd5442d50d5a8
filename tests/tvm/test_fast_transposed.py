"""Transposed convolution of blocked tensors, phase by phase."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fast_kernels import blocked_shape, call, draw, from_blocks, into_blocks

from convc.backends.tvm.fast.epilogue import Step
from convc.backends.tvm.fast.kernel import block_channels, blocks
from convc.backends.tvm.fast.plan import plan
from convc.backends.tvm.fast.transposed import Transposed, depthwise_transposed, pack_depthwise, pack_phases, transposed
from convc.ir.graph import Graph
from convc.ir.ops.activation import RELU
from convc.ir.ops.conv import CONV_TRANSPOSE2D, ConvTranspose2d
from convc.ir.ops.elementwise import ADD
from convc.ir.types import TensorType

TypedGraph = Callable[[str], Graph]

CASES = [  # images, rows, columns, the kernel, then strides, pads, dilations, groups, output_padding
    (1, 28, 28, (2, 2), ConvTranspose2d((2, 2))),
    (2, 8, 9, (4, 4), ConvTranspose2d((2, 2), (1, 1, 1, 1))),
    (1, 7, 12, (3, 3), ConvTranspose2d((2, 2), (1, 1, 1, 1), output_padding=(1, 1))),
    (1, 1, 1, (4, 4), ConvTranspose2d()),
    (1, 5, 6, (3, 3), ConvTranspose2d((1, 1), (1, 1, 1, 1))),
    (3, 6, 5, (5, 2), ConvTranspose2d((3, 2), (0, 1, 2, 1), output_padding=(2, 0))),
    (1, 6, 7, (3, 4), ConvTranspose2d((2, 1), (1, 0, 0, 2), (3, 2))),
    (2, 5, 4, (3, 3), ConvTranspose2d((4, 2), dilations=(2, 2), output_padding=(1, 1))),
    (1, 4, 6, (2, 3), ConvTranspose2d((3, 6), dilations=(3, 4))),
    (1, 6, 5, (1, 1), ConvTranspose2d((3, 2), output_padding=(2, 1))),
    (1, 3, 4, (16, 16), ConvTranspose2d((8, 8), (4, 4, 4, 4))),
    (1, 2, 2, (7, 7), ConvTranspose2d((5, 5), (5, 5, 3, 4))),
    (1, 3, 3, (3, 3), ConvTranspose2d((5, 4), (6, 4, 5, 6))),
    (1, 18, 40, (6, 3), ConvTranspose2d((2, 3), (2, 0, 2, 1))),
]


def extents(case: tuple, c_in: int, c_out: int) -> Transposed:
    n, rows, cols, kernel, op = case
    result = CONV_TRANSPOSE2D.infer(op, TensorType("f32", (n, c_in, rows, cols)), TensorType("f32", (c_in, c_out, *kernel)))
    return Transposed(rows, cols, kernel, op, result.concrete()[2:])


@pytest.mark.parametrize("case", CASES)
def test_every_result_is_in_one_phase_and_every_tap_is_used_once(case: tuple) -> None:
    size = extents(case, 1, 1)
    places: list[tuple[int, int]] = []
    for lattice in size.lattices():
        assert lattice.window.out == (lattice.rows.places, lattice.cols.places)
        for row in range(lattice.rows.first, lattice.rows.first + lattice.rows.count):
            for col in range(lattice.cols.first, lattice.cols.first + lattice.cols.count):
                (s_rows, s_cols), (rows, cols) = size.op.strides, lattice.window.out
                places += [(row + y * s_rows, col + x * s_cols) for y in range(rows) for x in range(cols)]
    assert sorted(places) == list(np.ndindex(size.out))
    if all(extent >= stride for extent, stride in zip(size.out, size.op.strides, strict=True)):
        assert size.taps == size.kernel[0] * size.kernel[1]


@pytest.mark.parametrize(("c_in", "c_out"), [(40, 24), (16, 80), (5, 3)])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_transposed(case: tuple, named: bool, c_in: int, c_out: int) -> None:
    n, rows, cols, kernel, op = case
    size = extents(case, c_in, c_out)
    x, w, bias, other = draw(n, c_in, rows, cols), draw(c_in, c_out, *kernel), draw(c_out), draw(n, c_out, *size.out)
    steps = (Step(RELU, RELU.Attrs()), Step(ADD, ADD.Attrs(), 1))
    wanted = np.maximum(CONV_TRANSPOSE2D.meaning(op, *(v.astype(np.float64) for v in (x, w, bias))), 0) + other
    function = transposed(size, None if named else n, blocks(c_in), blocks(c_out), 1, steps)
    operands = [into_blocks(x), pack_phases(w.swapaxes(0, 1), 1, size), block_channels(bias), into_blocks(other)]
    got = call(function, operands, blocked_shape(n, c_out, *size.out))
    np.testing.assert_allclose(from_blocks(got, c_out), wanted, rtol=1e-5, atol=1e-4)


