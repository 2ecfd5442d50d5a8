"""The local bounds of the ops on structure hold for every engine, also where means are far from 0, and are not slack beyond reason."""

from __future__ import annotations

import numpy as np
import pytest

from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.engines.table import ENGINES
from convc.tests.support.graphs import typed_graph

NET = typed_graph("""graph @net(%x: f32[N,12,8,8], %q: i32[N,12,8,8]) {
    %scale = param : f32[12]
    %bias = param {init=small} : f32[12]
    %row = param : f32[8]
    %i = instance_norm(%x, %scale, %bias)
    %g = group_norm(%x, %scale, %bias) {groups=3}
    %l = layer_norm(%x, %row)
    %d = depth_to_space(%x) {block=2}
    %s = reduce_sum(%d) {axes=[1,2]}
    %p = reduce_prod(%x) {axes=[2]}
    %m = reduce_max(%d) {axes=[3]}
    %cubic = resize(%x) {scales=[1.5,2.0], mode=cubic}
    %step = param {init=full, value=0.1} : f32[]
    %zero = param {init=full, value=12345.0} : i32[]
    %back = dequantize_linear(%q, %step, %zero)
    %steps = param : f32[12]
    %tens = param {init=full, value=10.0} : u8[12]
    %byte = quantize_linear(%x, %steps, %tens)
    %best = top_k_values(%s) {k=4, axis=-1}
    return %i, %g, %l, %s, %p, %m, %cubic, %back, %byte, %best
}""")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("offset", [0, 3, 100])
def test_every_value_is_within_its_bound(engine, offset):
    draws = np.random.default_rng(offset)
    x = (draws.standard_normal((2, 12, 8, 8)) + offset).astype(np.float32)
    check = check_nodes(NET, ENGINES[engine], {"x": x, "q": draws.integers(-(2**30), 2**30, (2, 12, 8, 8)).astype(np.int32)})
    assert check.agrees, str(check)
    assert check.tightest is not None
    assert check.tightest.worst > 1e-3, "a bound that no engine comes near says nothing"
