"""The local bounds of functions and gates hold for every engine, near 0, in the tails and far out."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.checking.node_bounds import check_nodes
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.engines.table import ENGINES
from convc.compiler.files.inputs import random_inputs
from convc.tests.support.graphs import typed_graph

NET = typed_graph("""graph @net(%x: f32[N,64], %y: f32[N,64]) {
    %slope = param : f32[64]
    %a = abs(%x)
    %elu = elu(%x)
    %steep = elu(%x) {alpha=3.0}
    %selu = selu(%x)
    %hard = hard_sigmoid(%x)
    %swish = hard_swish(%x)
    %gelu = gelu(%x)
    %bent = gelu(%x) {approximate=tanh}
    %mish = mish(%x)
    %prelu = prelu(%x, %slope)
    %exp = exp(%y)
    %ln = log(%a)
    %sqrt = sqrt(%a)
    %erf = erf(%x)
    %round = round(%x)
    %softplus = softplus(%x)
    %pow = pow(%a, %y)
    %max = maximum(%x, %y)
    return %elu, %steep, %selu, %hard, %swish, %gelu, %bent, %mish, %prelu, %exp, %ln, %sqrt, %erf, %round, %softplus, %pow, %max
}""")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [1e-4, 0.1, 1.0, 5.0, 100.0, 1e4])
def test_every_value_is_within_its_bound(engine, size):
    draws = np.random.default_rng(0)
    x = (size * draws.standard_normal((40, 64))).astype(np.float32)
    y = draws.uniform(-4, 4, x.shape).astype(np.float32)
    check = check_nodes(NET, ENGINES[engine], {"x": x, "y": y})
    assert check.agrees, str(check)
    assert check.tightest is not None
    assert check.tightest.worst > 1e-2, "a bound that no engine comes near says nothing"


def test_a_logarithm_near_one_is_within_its_bound():
    graph = typed_graph("graph @g(%x: f32[N]) { %y = log(%x) return %y }")
    x = (1 + np.linspace(-1e-3, 1e-3, 1001)).astype(np.float32)
    for engine in ENGINES.values():
        check = check_nodes(graph, engine, {"x": x})
        assert check.agrees, str(check)


def test_infinities_have_no_noise_and_leave_their_neighbours_theirs():
    """log(0), 1/0 and a root of less than 0 are values like others: engines that give the same ones agree."""
    graph = typed_graph("""graph @g(%x: f32[N,4]) {
        %a = abs(%x)
        %l = log(%a)
        %e = exp(%l)
        %s = sqrt(%x)
        %one = param {init=ones} : f32[]
        %q = div(%one, %x)
        return %l, %e, %s, %q
    }""")
    x = np.array([[0, 1, -2, 3], [1e-3, -4, 0, 5]], np.float32)
    oracle = Oracle.of(graph, {"x": x})
    for name, tolerance in oracle.tolerance.items():
        finite = np.isfinite(oracle.values[name])
        assert (tolerance[finite] < 1e-3 * (1 + abs(oracle.values[name][finite]))).all(), name
    for engine in ENGINES.values():
        got = dict(engine.capture(graph, [graph.by_name[name] for name in oracle.values], {"x": x}, None))
        assert all(line.agrees for line in compare(engine.name, oracle, got)), engine.name
        check = check_nodes(graph, engine, {"x": x})
        assert check.agrees, str(check)
    wrong = {name: np.where(np.isinf(value), 1e30, value) for name, value in oracle.values.items()}
    assert [line.agrees for line in compare("wrong", oracle, wrong)] == [False, True, True, False]


@pytest.mark.parametrize("then", ["%y = exp(%c)", "%s = mul(%c, %c) %y = mul(%s, %s)"])
@pytest.mark.parametrize("fill", ["uniform", "normal"])
def test_a_few_large_results_among_many_are_no_mismatch(then, fill):
    """Of a hundred thousand elements some draw almost no noise in all runs; before their like stood in for them, one seed in eight differed."""
    graph = typed_graph(f"""graph @g(%x: f32[1,32,64,64]) {{
        %w = param {{init=he}} : f32[32,32,3,3]
        %c = conv2d(%x, %w) {{pads=[1,1,1,1]}}
        {then}
        return %y
    }}""")
    for seed in range(12):
        inputs = random_inputs(graph, seed, fill=fill)
        line = compare("numpy", Oracle.of(graph, inputs, seed=seed), reference.run(graph, inputs))[0]
        assert line.worst < 0.7, f"seed {seed}: {line}"
