"""Transposed convolution of blocked tensors, phase by phase."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import LANES, block_channels, blocks
from convc.backends.tvm.cpu.kernels.transposed.kernel import depthwise_transposed, transposed
from convc.backends.tvm.cpu.kernels.transposed.packing import pack_depthwise_phases, pack_phases
from convc.backends.tvm.cpu.kernels.transposed.phases import Transposed
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.processor import AVX512
from convc.ir.graph import Graph
from convc.ir.ops.activation import RELU
from convc.ir.ops.conv_transpose import CONV_TRANSPOSE2D, ConvTranspose2d
from convc.ir.ops.elementwise import ADD
from convc.ir.types import TensorType
from convc.tests.support.cpu_kernels import blocked_shape, call, compiled, draw, from_blocks, into_blocks
from convc.tests.support.graphs import typed_graph, with_params
from convc.tests.support.tvm_modules import build_and_hold, sizes_of

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


# several blocks of filters, and channels that fill no block; whose blocks are half full, in the slow tier
@pytest.mark.parametrize(("c_in", "c_out"), [(16, 80), (5, 3), pytest.param(40, 24, marks=pytest.mark.slow)])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_transposed(case: tuple, named: bool, c_in: int, c_out: int) -> None:
    n, rows, cols, kernel, op = case
    size = extents(case, c_in, c_out)
    x, w, bias, other = draw(n, c_in, rows, cols), draw(c_in, c_out, *kernel), draw(c_out), draw(n, c_out, *size.out)
    steps = (EpilogueStep(RELU, RELU.Attrs()), EpilogueStep(ADD, ADD.Attrs(), 1))
    wanted = np.maximum(CONV_TRANSPOSE2D.meaning(op, *(v.astype(np.float64) for v in (x, w, bias))), 0) + other
    last, ending = ((channels - 1) % LANES + 1 for channels in (c_in, c_out))
    function = transposed(size, None if named else n, blocks(c_in), blocks(c_out), 1, steps, AVX512, last, ending)
    operands = [into_blocks(x), pack_phases(w.swapaxes(0, 1), 1, size), block_channels(bias), into_blocks(other)]
    got = call(function, operands, blocked_shape(n, c_out, *size.out))
    np.testing.assert_allclose(from_blocks(got, c_out), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_depthwise_transposed(case: tuple, named: bool) -> None:
    n, rows, cols, kernel, op = case
    op = replace(op, groups=20)
    size = extents((n, rows, cols, kernel, op), 20, 1)
    x, w, bias, other = draw(n, 20, rows, cols), draw(20, 1, *kernel), draw(20), draw(n, 20, *size.out)
    steps = (EpilogueStep(ADD, ADD.Attrs(), 1), EpilogueStep(RELU, RELU.Attrs()))
    wanted = np.maximum(CONV_TRANSPOSE2D.meaning(op, *(v.astype(np.float64) for v in (x, w, bias))) + other, 0)
    function = depthwise_transposed(size, None if named else n, 20, steps)
    operands = [into_blocks(x), pack_depthwise_phases(w, size), block_channels(bias), into_blocks(other)]
    got = call(function, operands, blocked_shape(n, 20, *size.out))
    np.testing.assert_allclose(from_blocks(got, 20), wanted, rtol=1e-5, atol=1e-5)


def test_threads_may_go_row_by_row() -> None:
    """Weights that stay in a core's cache, an image that does not, more blocks than one tile has, rows that not every phase has."""
    case = (1, 81, 83, (3, 2), ConvTranspose2d((2, 2), (1, 1, 1, 0)))
    size = extents(case, 80, 80)
    assert size.out[0] % 2
    x, w, bias = draw(1, 80, 81, 83), draw(80, 80, 3, 2), draw(80)
    wanted = CONV_TRANSPOSE2D.meaning(case[-1], x, w, bias)
    operands = [into_blocks(x), pack_phases(w.swapaxes(0, 1), 1, size), block_channels(bias)]
    got = call(transposed(size, 1, 5, 5, 1), operands, blocked_shape(1, 80, *size.out))
    np.testing.assert_allclose(from_blocks(got, 80), wanted, rtol=1e-4, atol=1e-3)


def test_what_a_tile_needs_is_on_the_stack() -> None:
    kernel = transposed(
        extents((1, 14, 14, (4, 4), ConvTranspose2d((2, 2), (1, 1, 1, 1))), 32, 32), 1, 2, 2, 1, (EpilogueStep(RELU, RELU.Attrs()),)
    )
    assert "AllocWorkspace" not in compiled(kernel).mod.inspect_source("ll")


NETWORKS = {  # text after a transposed convolution, and the nodes that its kernel computes
    "%y = conv_transpose2d(%x, %a, %b) {strides=[2,2], pads=[1,0,0,1]}": "y",
    "%z = conv_transpose2d(%x, %a) {strides=[2,3], output_padding=[1,2]} %y = leaky_relu(%z) {alpha=0.1}": "zy",
    "%z = conv_transpose2d(%x, %a, %b) {strides=[1,2]} %s = sigmoid(%z) %y = mul(%z, %s)": "zsy",
    "%z = conv_transpose2d(%x, %a) {strides=[2,1]} %v = conv_transpose2d(%x, %a, %b) {strides=[2,1]} %s = relu(%z) %y = add(%v, %s)": "zsy",
    "%y = conv_transpose2d(%x, %g, %b) {groups=4, strides=[2,1], dilations=[1,2]}": "y",
    "%y = conv_transpose2d(%x, %h) {groups=2, strides=[2,2], pads=[1,1,1,1]}": "y",
    "%z = conv_transpose2d(%x, %d, %c) {groups=40, strides=[2,2], output_padding=[0,1]} %y = clip(%z) {min=-1.0, max=2.0}": "zy",
}


@pytest.mark.parametrize("text", NETWORKS)
@pytest.mark.parametrize("batch", ["N", "2"])
def test_networks(text: str, batch: str):
    params = {"a": "40,24,3,3", "b": "24", "c": "40", "g": "40,6,3,3", "h": "40,32,4,4", "d": "40,1,3,2"}
    graph = with_params(f"%x: f32[{batch},40,7,9]", params, text)
    work = next(work for work in plan(graph).works.values() if work.covers[-1].name == NETWORKS[text][-1])
    assert "".join(node.name for node in work.covers) == NETWORKS[text]
    assert work.kernel.name == ("depthwise transposed" if "groups=40" in text else "transposed")
    build_and_hold(graph, *sizes_of(batch))


@pytest.mark.parametrize(
    ("image", "attributes"),
    [
        ("f32[2,4,H,6]", ""),
        ("f32[2,4,5,6]", " {strides=[7,7], dilations=[3,3]}"),  # nearly every phase has a window of its own
    ],
)
def test_others_are_left_to_their_stock_row(image: str, attributes: str):
    graph = reading(image, "", attributes)
    assert graph.by_name["y"] not in plan(graph).covered


@pytest.mark.parametrize("weight", ["%w = relu(%p)", "%w = slice(%p) {axes=[0], starts=[0], ends=[4]}"])
def test_weights_that_are_computed_are_arranged_in_each_run(weight: str):
    graph = reading("f32[2,4,5,6]", weight, "")
    assert graph.by_name["y"] in plan(graph).covered
    build_and_hold(graph)


def reading(image: str, weight: str, attributes: str) -> Graph:
    name = "w" if weight else "p"
    return typed_graph(
        f"graph @g(%x: {image}) {{\n  %p = param : f32[4,3,9,9]\n  {weight}\n  %y = conv_transpose2d(%x, %{name}){attributes}\n  return %y\n}}\n"
    )
