"""What a step of training computes by Winograd's tiles: weights that are transformed in each run, and gradients by weights."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.winograd.arrangement import TileFilters
from convc.backends.tvm.cpu.kernels.winograd.error import gradient_error_bound, gradient_noise
from convc.backends.tvm.cpu.kernels.winograd.filters import winograd_weights
from convc.backends.tvm.cpu.kernels.winograd.transforms import (
    adjoint_output_transform,
    filter_transform,
    gradient_of_part,
    input_of_part,
    output_transform,
    pack_tiles,
    places_of_part,
)
from convc.backends.tvm.cpu.kernels.winograd.weight_gradient import TiledWeightGradient, tiled_weight_gradient
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.cpu.product_errors import error_bound
from convc.backends.tvm.cpu.unit_strides import turned
from convc.backends.tvm.processor import AVX2, AVX512
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.engines.tvm import tvm_engine
from convc.compiler.files.inputs import random_inputs
from convc.ir.ops.conv_transpose import CONV_TRANSPOSE2D, ConvTranspose2d
from convc.ir.ops.conv_weight_gradient import CONV2D_WEIGHT_GRADIENT, Conv2dWeightGradient
from convc.ir.types import Array
from convc.tests.support.cpu_kernels import call, draw, into_blocks, same_bits_by_threads
from convc.tests.support.cpu_plans import kernels
from convc.tests.support.graphs import typed_graph

PADS = (1, 1, 1, 1)
STEP = """graph @g(%x: f32[N,20,13,14], %g: f32[N,40,13,14], %w: f32[40,20,3,3]) {
  %y = conv2d(%x, %w) {pads=[1,1,1,1]}
  %back = conv_transpose2d(%g, %w) {pads=[1,1,1,1]}
  %b = relu(%back)
  %v = conv2d_weight_gradient(%x, %g) {kernel=[3,3], pads=[1,1,1,1]}
  return %y, %b, %v
}
"""


@pytest.mark.parametrize(
    ("m", "r", "c_in", "c_out", "is_turned"),
    [(4, 3, 33, 17, False), (4, 3, 17, 33, True), (2, 3, 20, 40, True), (4, 3, 16, 32, False), (2, 5, 16, 16, True)],
)
def test_weights_are_those_that_are_packed_when_known(m: int, r: int, c_in: int, c_out: int, is_turned: bool):
    """To the bit: both round float64 once."""
    size = TileFilters(m, r, c_in, c_out)
    w = draw(*((c_in, c_out) if is_turned else (c_out, c_in)), r, r)
    assert np.array_equal(call(winograd_weights(size, is_turned), [w], size.shape), pack_tiles(m, turned(w) if is_turned else w))


@pytest.mark.parametrize("m", [2, 4])
def test_the_adjoint_of_the_output_transform(m: int):
    forward = np.array(output_transform(float, m, list(np.eye(m + 2))))
    assert np.array_equal(np.array(adjoint_output_transform(float, list(np.eye(m)))), forward.T)


@pytest.mark.parametrize("results", [1, 2, 3])
def test_tiles_of_few_results_add_to_the_sums_of_whole_ones(results: int):
    to_seen = np.array(input_of_part(float, list(np.eye(results + 2))))
    to_wanted = np.array(gradient_of_part(float, list(np.eye(results))))
    assert np.array_equal(to_seen, to_seen.astype(np.float32))
    assert np.array_equal(to_wanted, to_wanted.astype(np.float32))
    x, g = draw(results + 2).astype(np.float64), draw(results).astype(np.float64)
    back = filter_transform(4, 3)[places_of_part(4, results)].T
    np.testing.assert_allclose(back @ ((to_wanted @ g) * (to_seen @ x)), np.correlate(x, g), rtol=0, atol=1e-14)


CASES = [  # images, channels, filters, rows, columns, pads
    (3, 20, 40, 9, 10, PADS),  # lanes of padding, an odd number of blocks
    (2, 16, 32, 13, 7, (0, 1, 2, 0)),  # as much is transformed as there are sums
    (5, 33, 16, 4, 3, (2, 0, 1, 2)),
    (61, 16, 5, 7, 6, PADS),  # several chunks, the last of fewer images; last tiles of 3 rows and 2 columns
    (1, 16, 16, 45, 70, PADS),  # more tiles of an image than are added up in turn
]


@pytest.mark.parametrize(("m", "named"), [(2, False), (4, True)])
@pytest.mark.parametrize("case", CASES)
def test_weight_gradients_stay_within_their_own_bound(case: tuple, m: int, named: bool):
    n, *sizes = case
    size = TiledWeightGradient(m, n, *sizes)
    x, g, wanted = drawn(size)
    of = TiledWeightGradient(m, None if named else n, *sizes, AVX2 if named else AVX512)
    error = abs(call(tiled_weight_gradient(of), [into_blocks(x), into_blocks(g)], wanted.shape) - wanted)
    assert error.max() < {2: 2e-6, 4: 8e-6}[m] * abs(wanted).max()
    assert 1e-4 < (error / gradient_error_bound(size, x, g)).max() <= 1


def drawn(size: TiledWeightGradient) -> tuple[Array, Array, Array]:
    x, g = draw(size.batch or 1, size.c_in, size.rows, size.cols), draw(size.batch or 1, size.c_out, *size.out)
    op = Conv2dWeightGradient((3, 3), pads=size.pads)
    return x, g, CONV2D_WEIGHT_GRADIENT.meaning(op, x.astype(np.float64), g.astype(np.float64))


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize(("n", "rows"), [(24, 20), (70, 7)])
def test_noise_is_what_we_say(n: int, rows: int, m: int):
    size = TiledWeightGradient(m, n, 32, 32, rows, rows, PADS)
    x, g, wanted = drawn(size)
    error = call(tiled_weight_gradient(size), [into_blocks(x), into_blocks(g)], wanted.shape) - wanted
    predicted = gradient_noise(size, x, g) * 2.0**-24
    assert 0.7 < np.sqrt((predicted**2).mean() / (error**2).mean()) < 1.5


def test_a_sum_of_many_pixels_rounds_as_one_of_few():
    rng = np.random.default_rng(3)
    size = TiledWeightGradient(4, 96, 16, 16, 32, 32, PADS)
    x, g = (rng.uniform(0.5, 1.5, (96, 16, 32, 32)).astype(np.float32) for _ in range(2))
    wanted = CONV2D_WEIGHT_GRADIENT.meaning(Conv2dWeightGradient((3, 3), pads=PADS), x.astype(np.float64), g.astype(np.float64))
    got = call(tiled_weight_gradient(size), [into_blocks(x), into_blocks(g)], wanted.shape)
    assert abs(got / wanted - 1).max() < 5e-6


def test_threads_change_no_bit():
    size, shape = TiledWeightGradient(4, None, 16, 48, 14, 14, PADS), (48, 16, 3, 3)
    operands = [into_blocks(draw(9, 16, 14, 14)), into_blocks(draw(9, 48, 14, 14))]
    assert same_bits_by_threads(tiled_weight_gradient(size), operands, shape)


def test_a_step_takes_tiles_all_the_way():
    graph = typed_graph(STEP)
    assert kernels(graph) == {"y": "winograd F(4x4)", "b": "winograd F(4x4)", "v": "winograd weight gradient"}
    assert plan(graph).tiles == {"y": 4, "back": 4, "v": 4}
    assert kernels(graph, "off") == {"y": "direct", "b": "transposed", "v": "weight gradient"}
    assert [argument.name for argument in plan(graph).arguments] == ["y.bias", "back.bias"]  # of weights nothing is known before


@pytest.mark.parametrize(
    ("this", "other"),
    [
        ("kernel=[3,3], pads=[1,1,1,1]", "kernel=[3,3], pads=[1,1,1,1], groups=4"),
        ("f32[N,20,13,14]", "f32[N,12,13,14]"),  # of less than a block nothing is saved
    ],
)
def test_other_gradients_go_over_all_products(this: str, other: str):
    text = STEP.replace(this, other).replace("f32[40,20,3,3]", "f32[40,12,3,3]" if "12" in other else "f32[40,20,3,3]")
    assert "v" not in plan(typed_graph(text)).tiles


def test_transposed_ones_with_strides_keep_their_phases():
    text = STEP.replace("%back = conv_transpose2d(%g, %w) {pads=[1,1,1,1]}", "%back = conv_transpose2d(%g, %w) {strides=[2,2]}")
    assert kernels(typed_graph(text))["b"] == "transposed"


@pytest.mark.parametrize("m", [2, 4])
def test_checks_know_what_tiles_are_off_by(m: int):
    """Every value within its own bound, which is not that of all products: of it tiles of 4x4 are beyond."""
    graph = typed_graph(STEP)
    found = check_nodes(graph, tvm_engine(dict.fromkeys(("y", "back", "v"), m)), random_inputs(graph, sizes={"N": 3}), 1)
    assert found.agrees
    assert found.checked == 3


def test_a_transposed_one_with_known_weights_is_packed_turned():
    text = """graph @g(%g: f32[2,40,13,14]) {
      %w = param : f32[40,20,3,3]
      %y = conv_transpose2d(%g, %w) {pads=[1,0,0,1], output_padding=[0,0]}
      return %y
    }"""
    graph = typed_graph(text)
    node, (g,), w = graph.by_name["y"], random_inputs(graph).values(), graph.by_name["w"].weights
    assert w is not None
    assert plan(graph).tiles == {"y": 4}
    wide = g.astype(np.float64), w.array().astype(np.float64)
    exact = CONV_TRANSPOSE2D.meaning(ConvTranspose2d(pads=(1, 0, 0, 1)), *wide)
    got = tvm_engine().start(graph, 1)({"g": g})["y"]
    assert (abs(got - exact) <= error_bound(4, node, *wide)).all()
