"""Every op's gradient rules against differences of its meaning, in float64, with a named batch."""

from __future__ import annotations

import numpy as np
import pytest

from convc.ir.ops import OPS
from convc.ir.terms import NoGradient
from convc.tests.support.gradient_cases import cases, problems
from convc.tests.support.graphs import typed_graph
from convc.tests.support.op_cases import CASES, text_of

RELATIVE = 1e-8
FEWEST = 1000  # pairs of an output and a value that it depends on
NEVER_FLOAT = {
    *("equal", "greater", "greater_or_equal", "less", "less_or_equal", "logical_and", "logical_or", "logical_not"),
    *("arg_max", "arg_min", "top_k_indices", "max_pool_indices", "non_max_suppression", "quantize_linear", "dynamic_zero"),
    *("qlinear_conv1d", "qlinear_conv2d", "qlinear_conv3d", "qlinear_matmul"),
    *("conv_integer1d", "conv_integer2d", "conv_integer3d", "matmul_integer"),
}


@pytest.mark.parametrize("case", cases())
def test_rules_agree_with_differences(case):
    draws = np.random.default_rng(0)
    for problem in problems(case):
        y = problem.run({})
        weights = np.where(np.isfinite(y), draws.standard_normal(y.shape), 0.0)
        found = problem.found(weights)
        for leaf in problem.leaves:
            shape = problem.inputs[leaf].shape
            direction = draws.choice([-1.0, 1.0], shape) * draws.uniform(0.5, 1.0, shape)
            moved = found[leaf] * direction
            slack = RELATIVE * np.nansum(abs(moved)) + 1e-11 * (1 + np.nansum(abs(weights * np.where(weights == 0, 0, y))))
            off = abs(problem.slope(leaf, direction, weights) - np.nansum(moved))
            assert off <= slack, f"{case}: %{problem.result} by %{leaf}: {off} over {slack}"


def test_there_are_many_of_them():
    assert sum(len(problem.leaves) for case in cases() for problem in problems(case)) >= FEWEST


def test_every_op_with_a_floating_result_has_a_gradient_or_says_why_not():
    assert {name for name, kind in OPS.items() if kind.gradient is None} == NEVER_FLOAT
    results = {node.kind.name: node.typed for case in CASES for node in typed_graph(text_of(case)).ops if node.kind.name in NEVER_FLOAT}
    assert not any(type_.is_float for type_ in results.values())
    assert all(rule.why for rule in (kind.gradient for kind in OPS.values()) if isinstance(rule, NoGradient))


def test_there_is_a_rule_for_each_operand_that_an_op_may_have():
    assert not [k.name for k in OPS.values() if isinstance(k.gradient, tuple) and len(k.gradient) != k.arity[1]]
