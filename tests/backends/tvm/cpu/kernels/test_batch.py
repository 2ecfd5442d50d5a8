"""What a batch norm does while a network trains: sums and means of channels, the norm by them; and the gate of a relu's gradient."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import convc as cc
from convc.backends.tvm.cpu.kernels.batch import batch_norm, batch_norm_gradient, channel_products, channel_squares, channel_sums
from convc.backends.tvm.cpu.kernels.epilogue import EpilogueStep
from convc.backends.tvm.cpu.kernels.layout import block_channels
from convc.backends.tvm.cpu.kernels.pointwise import gate
from convc.backends.tvm.cpu.plan import plan
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.engines.tvm import TVM
from convc.compiler.files.inputs import random_inputs
from convc.ir.ops.activation import RELU
from convc.ir.ops.elementwise import ADD
from convc.ir.ops.norm import BATCH_NORM, BatchNorm
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks, same_bits_by_threads
from convc.tests.support.cpu_plans import kernels
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold

STEPS = (EpilogueStep(ADD, ADD.Attrs(), 1), EpilogueStep(RELU, RELU.Attrs()))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("shape", [(3, 20, 5, 7), (17, 32, 4, 4), (1, 5, 1, 1), (9, 16, 13, 11)])
def test_sums_and_means_of_channels(shape: tuple[int, int, int, int], named: bool):
    n, *image = shape
    x = draw(*shape)
    for is_mean in (False, True):
        total = np.mean if is_mean else np.sum
        wanted, magnitude = (total(values.astype(np.float64), (0, 2, 3)) for values in (x, abs(x)))
        got = call(channel_sums(None if named else n, *image, (image[0],), is_mean), [into_blocks(x)], (image[0],))
        np.testing.assert_array_less(abs(got - wanted), np.finfo(np.float32).eps * magnitude)  # what is drawn may cancel to almost nothing


def test_many_pixels_of_one_sign_lose_no_digits():
    """Pixels are added in blocks; 11,449 in turn would be off by 1.2e-4, for nothing goes side by side in 107 times 107."""
    x = np.full((1, 16, 107, 107), 0.1, np.float32)
    got = call(channel_sums(1, 16, 107, 107, (16,)), [into_blocks(x)], (16,))
    np.testing.assert_allclose(got, x.astype(np.float64).sum((0, 2, 3)), rtol=5e-6)


def test_what_is_not_finite_stays_in_its_channel():
    x = draw(2, 18, 3, 3)
    x[0, 3, 1, 1], x[1, 17, 2, 2] = np.nan, np.inf
    got = call(channel_sums(2, 18, 3, 3, (1, 18, 1, 1)), [into_blocks(x)], (1, 18, 1, 1)).ravel()
    assert np.isnan(got[3])
    assert got[17] == np.inf
    assert np.isfinite(np.delete(got, [3, 17])).all()


def test_threads_change_no_bit_of_a_sum():
    assert same_bits_by_threads(channel_sums(None, 16, 40, 40, (16,)), [into_blocks(draw(11, 16, 40, 40))], (16,))


@pytest.mark.parametrize("named", [False, True])
def test_norms_by_statistics_that_are_computed(named: bool):
    """Of a mean that is far greater than the deviation."""
    x, other, scale, shift, mean = draw(3, 20, 4, 5) + 1000, draw(3, 20, 4, 5), draw(20), draw(20), draw(20) + 1000
    var = abs(draw(20)) + 0.5
    wanted = BATCH_NORM.meaning(BatchNorm(1e-3), *(value.astype(np.float64) for value in (x, scale, shift, mean, var))) + other
    operands = [into_blocks(x), *map(block_channels, (scale, shift, mean, var)), into_blocks(other)]
    got = call(batch_norm(None if named else 3, 20, 4, 5, 1e-3, STEPS), operands, blocked_shape(3, 20, 4, 5))
    np.testing.assert_allclose(from_blocks(got, 20), np.maximum(wanted, 0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("shape", [(3, 20, 5, 7), (17, 32, 4, 4)])
def test_sums_about_a_mean(shape: tuple[int, int, int, int], named: bool):
    """Squares, and products of what was normalized: of a mean that is far greater than the deviation."""
    n, channels, *image = shape
    x, g, mean, factor = draw(*shape) + 1000, draw(*shape), draw(channels) + 1000, draw(channels)
    wide_x, wide_g, off, by = (value.astype(np.float64) for value in (x, g, mean[:, None, None], factor[:, None, None]))
    numbers, sizes = [block_channels(mean), block_channels(factor)], (None if named else n, channels, *image)
    for is_mean, total in ((False, np.sum), (True, np.mean)):
        squares = call(channel_squares(*sizes, (channels,), is_mean), [into_blocks(x), numbers[0]], (channels,))
        np.testing.assert_allclose(squares, total((wide_x - off) ** 2, (0, 2, 3)), rtol=1e-6)
        products = call(channel_products(*sizes, (channels,), is_mean), [into_blocks(g), into_blocks(x), *numbers], (channels,))
        wanted = total(wide_g * ((wide_x - off) * by), (0, 2, 3))
        np.testing.assert_allclose(products, wanted, atol=1e-6 * total(abs(wide_g * (wide_x - off) * by), (0, 2, 3)).max())


@pytest.mark.parametrize("named", [False, True])
def test_the_way_back_of_a_norm(named: bool):
    g, x, other, mean = draw(3, 20, 4, 5), draw(3, 20, 4, 5) + 1000, draw(3, 20, 4, 5), draw(20) + 1000
    off, factor, spread, gain = draw(20), draw(20), draw(20), draw(20)
    wide = [value.astype(np.float64)[:, None, None] for value in (off, mean, factor, spread, gain)]
    wanted = (g - wide[0] - (x.astype(np.float64) - wide[1]) * wide[2] * wide[3]) * wide[4] + other
    operands = [into_blocks(g), into_blocks(x), *map(block_channels, (off, mean, factor, spread, gain)), into_blocks(other)]
    got = call(batch_norm_gradient(None if named else 3, 20, 4, 5, STEPS), operands, blocked_shape(3, 20, 4, 5))
    np.testing.assert_allclose(from_blocks(got, 20), np.maximum(wanted, 0), rtol=1e-5, atol=1e-5)


@cc.network(image="N,16,6,6")
def of_norms(image: Any) -> Any:
    x = cc.clip(cc.batch_norm(cc.conv(image, 20, 1, name="c1")), 0.0, 6.0)
    return cc.softmax(cc.dense(cc.global_avg_pool(cc.batch_norm(cc.conv(x, 20, 3, groups=20, pad=1, name="c2"))), 4))


def test_a_step_keeps_nothing_between_the_sums_of_a_norm():
    """Nobody runs what is only an element's own; the kernels are all that a norm has, and a clip's gate is one of them."""
    calls = Counter(call.kernel for call in plan(cc.training_step(of_norms)).calls)
    wanted = {
        "channel squares": 2,
        "channel products": 2,
        "batch norm": 2,
        "batch norm gradient": 2,
        "gate": 1,
        "depthwise weight gradient": 1,
    }
    assert {name: calls[name] for name in wanted} == wanted
    assert not calls.keys() & {"by channel", "pointwise"}


def test_what_a_norm_computes_on_its_way_is_there_for_others():
    """A difference from the mean that the caller wants too."""
    graph = typed_graph("""graph @g(%x: f32[N,16,6,6], %m: f32[16,1,1]) {
      %r = relu(%x)
      %p = max_pool(%r) {kernel=[1,1]}
      %off = sub(%p, %m)
      %squares = mul(%off, %off)
      %y = reduce_mean(%squares) {axes=[0,2,3], keepdims=false}
      return %y, %off
    }""")
    assert kernels(graph)["y"] == "channel squares"
    build_and_hold(graph, {"N": 3})


def test_steps_with_norms_stay_within_their_bounds():
    step = cc.training_step(of_norms)
    found = check_nodes(step, TVM, random_inputs(step, sizes={"N": 3}), 1)
    assert found.agrees, found


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("conditions", [("greater",), ("less",), ("greater", "less")])
def test_gates(conditions: tuple[str, ...], named: bool):
    x, g, other = draw(2, 18, 3, 5), draw(2, 18, 3, 5), draw(2, 18, 3, 5)
    x[0, 0, 0, :3], g[0, 0, 0, 3] = (np.nan, 0.5, -0.0), np.nan
    limits = {"greater": 0.5, "less": 1.0}
    held = {"greater": x > 0.5, "less": x < 1.0}
    lanes = [np.full(16, value, np.float32) for value in (*(limits[name] for name in conditions), -2.0)]
    got = call(
        gate(None if named else 2, 18, 3, 5, conditions, STEPS),
        [into_blocks(x), into_blocks(g), *lanes, into_blocks(other)],
        blocked_shape(2, 18, 3, 5),
    )
    wanted = np.where(np.all([held[name] for name in conditions], 0), g, np.float32(-2.0)) + other
    assert np.array_equal(from_blocks(got, 18), np.maximum(wanted, 0), equal_nan=True)
