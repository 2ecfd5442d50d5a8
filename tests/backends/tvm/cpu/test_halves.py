"""float16 on CPUs: kernels are those of float32, and what they leave is rounded."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.moves import pack, unpack
from convc.backends.tvm.cpu.kernels.pointwise import pointwise
from convc.backends.tvm.cpu.kernels.pools import global_avg_pool
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.cpu.work import ROUNDED
from convc.tests.support.cpu_kernels import blocked_shape, call, draw, from_blocks, into_blocks
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import build_and_hold

NETWORK = """graph @g(%x: f16[N,3,14,13]) {
  %w = param : f16[24,3,3,3]
  %b = param : f16[24]
  %d = param : f16[24,1,3,3]
  %g = param : f16[24,4,3,3]
  %t = param : f16[24,20,2,2]
  %p = param : f16[24,24,3,3]
  %k = param : f16[7,44]
  %c = conv2d(%x, %w, %b) {strides=[2,2], pads=[1,1,1,1]}
  %s = sigmoid(%c)
  %a = mul(%c, %s)
  %e = conv2d(%a, %d) {groups=24, pads=[1,1,1,1]}
  %m = max_pool(%e) {kernel=[3,3], strides=[1,1], pads=[1,1,1,1]}
  %n = conv2d(%m, %g) {groups=6, pads=[1,1,1,1]}
  %r = add(%n, %a)
  %f = conv2d(%r, %p) {pads=[1,1,1,1]}
  %h = relu(%f)
  %u = conv_transpose2d(%h, %t) {strides=[2,2]}
  %v = avg_pool(%u) {kernel=[2,2], strides=[2,2]}
  %j = concat(%h, %v)
  %i = global_avg_pool(%j)
  %l = flatten(%i)
  %y = dense(%l, %k)
  return %y, %r
}
"""


def test_a_network_of_float16_has_kernels_throughout():
    graph = typed_graph(NETWORK)
    made = [call.kernel for call in plan(graph).calls]
    assert "stock" not in made
    assert not [kernel for kernel in made if kernel.startswith("winograd")]  # its transforms would lose more than float16 has
    build_and_hold(graph, {"N": 1}, {"N": 3})


def test_what_has_no_kernel_for_it_is_left_to_its_stock_row():
    graph = typed_graph("graph @g(%x: f16[2,24,9,8]) { %a = relu(%x) %y = local_response_norm(%a) {size=3} return %y }")
    assert [call.kernel for call in plan(graph).calls] == ["pack", "pointwise", "unpack", "stock"]
    build_and_hold(graph)


@pytest.mark.parametrize("shape", [(2, 20, 5, 7), (1, 33, 3, 2)], ids=["whole vectors", "fewer pixels than lanes"])
def test_float16_moves_into_blocks_and_out(shape: tuple[int, int, int, int]):
    x = draw(*shape).astype(np.float16)
    inside = call(pack(None, *shape[1:], "float16"), [x], blocked_shape(*shape))
    assert np.array_equal(from_blocks(inside, shape[1]), x)
    out = call(unpack(shape[0], *shape[1:], "float16"), [into_blocks(x.astype(np.float32))], shape, np.float16)
    assert np.array_equal(out, x)


def test_what_is_left_is_a_float16():
    x = draw(1, 20, 6, 9) * 1e3
    x[0, 0, 0, :4] = 7e4, -np.inf, np.nan, 1e-9
    with np.errstate(over="ignore"):
        wanted = x.astype(np.float16).astype(np.float32)
    got = call(pointwise(1, 20, 6, 9, (ROUNDED,)), [into_blocks(x)], blocked_shape(*x.shape))
    assert np.array_equal(from_blocks(got, 20), wanted, equal_nan=True)
    mean = from_blocks(call(global_avg_pool(1, 20, 5, 9, (ROUNDED,)), [into_blocks(x[:, :, 1:])], blocked_shape(1, 20, 1, 1)), 20)
    assert np.array_equal(mean, mean.astype(np.float16))
