"""Winograd kernels of groups, against the reference in float64, their bound and their predicted noise."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.winograd.arrangement import Tiled
from convc.backends.tvm.cpu.kernels.winograd.groups import group_filters, winograd_groups
from convc.backends.tvm.cpu.product_errors import error_bound, noise
from convc.backends.tvm.processor import AVX2, AVX512, Processor
from convc.ir.graph import Node
from convc.ir.ops.activation import RELU
from convc.ir.ops.conv import CONV2D
from convc.ir.ops.elementwise import ADD
from convc.ir.types import Array
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks
from convc.tests.support.graphs import typed_graph

PADS = (1, 1, 1, 1)
CASES = [  # m, r, images, channels in and out of a group, groups, rows, columns, pads
    (4, 3, 1, 16, 16, 3, 28, 28, PADS),
    (2, 3, 1, 16, 16, 2, 14, 14, PADS),
    (4, 3, 2, 32, 16, 2, 13, 11, (1, 0, 1, 2)),  # a row and a column that no whole tile has
    (2, 3, 3, 16, 48, 2, 5, 9, (0, 2, 1, 0)),
    (2, 5, 1, 16, 32, 2, 12, 10, (2, 2, 2, 2)),
    (4, 3, 1, 16, 16, 2, 1, 2, (4, 3, 2, 5)),  # more padding than input
    (2, 3, 1, 16, 16, 2, 9, 70, PADS),  # several register tiles along a row
]


def operands(case: tuple) -> tuple[Node, Array, Array, Array]:
    _, r, n, c_in, c_out, groups, rows, cols, pads = case
    graph = typed_graph(
        f"""graph @g(%x: f32[{n},{c_in * groups},{rows},{cols}]) {{
          %w = param : f32[{c_out * groups},{c_in},{r},{r}]
          %y = conv2d(%x, %w) {{pads={list(pads)}, groups={groups}}}
          return %y
        }}"""
    )
    return graph.by_name["y"], draw(n, c_in * groups, rows, cols), draw(c_out * groups, c_in, r, r) / 8, draw(c_out * groups)


def computed(case: tuple, x: Array, w: Array, bias: Array, *others: Array, processor: Processor = AVX512, named: bool = False) -> Array:
    m, r, n, c_in, c_out, groups, rows, cols, pads = case
    steps = (EpilogueStep(RELU, RELU.Attrs()), EpilogueStep(ADD, ADD.Attrs(), 1)) if others else ()
    size = Tiled(m, None if named else n, c_in * groups, c_out * groups, rows, cols, pads, steps, processor=processor, r=r)
    given = [into_blocks(x), group_filters(size, groups).pack(w), block_channels(bias), *map(into_blocks, others)]
    return from_blocks(call(winograd_groups(size, groups), given, blocked_shape(n, len(w), *size.out)), len(w))


def wide(*arrays: Array) -> list[Array]:
    return [array.astype(np.float64) for array in arrays]


@pytest.mark.parametrize("case", CASES)
def test_agrees_within_its_bound_and_as_predicted(case: tuple):
    node, x, w, bias = operands(case)
    exact = CONV2D.meaning(node.op, *wide(x, w, bias))
    error = abs(computed(case, x, w, bias) - exact)
    worst = (error / error_bound(case[0], node, *wide(x, w, bias))).max()
    assert 1e-3 < worst <= 1
    assert (error / 2.0**-24 / (noise(case[0], node, *wide(x, w)) + abs(exact))).max() < 6


@pytest.mark.parametrize(("processor", "named"), [(AVX2, False), (AVX512, True)], ids=["registers of 8 floats", "a named batch"])
def test_steps_read_what_is_added(processor: Processor, named: bool):
    node, x, w, bias = operands(CASES[2])
    exact = np.maximum(CONV2D.meaning(node.op, *wide(x, w, bias)), 0)
    other = draw(*exact.shape)
    got = computed(CASES[2], x, w, bias, other, processor=processor, named=named)
    np.testing.assert_allclose(got, exact + other, rtol=1e-5, atol=1e-4)


def test_an_infinity_stays_in_its_group_and_tile():
    case = (4, 3, 1, 16, 16, 2, 12, 12, PADS)
    _, x, w, bias = operands(case)
    x[0, 3, 6, 6] = np.inf
    got = computed(case, x, w, bias)
    assert np.isfinite(got[0, 16:]).all()
    assert np.isfinite(got[0, :16, :4]).all()
    assert not np.isfinite(got[0, :16, 5:8, 5:8]).any()
