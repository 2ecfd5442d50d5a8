"""Every op's gradient rules against differences of its meaning, in float64, with a named batch."""

from __future__ import annotations

import numpy as np
import pytest

from convc.ir.errors import UnsupportedOp
from convc.ir.terms import NoGradient
from convc.tests.support.gradient_cases import cases, problem_of, wide_graph

RELATIVE = 1e-8


@pytest.mark.parametrize("case", cases())
def test_rules_agree_with_differences(case):
    graph = wide_graph(case)
    draws = np.random.default_rng(0)
    for output in graph.outputs:
        if not output.typed.is_float:
            continue
        try:
            problem = problem_of(graph, case, output)
        except UnsupportedOp:
            assert any(node.kind.gradient is None or isinstance(node.kind.gradient, NoGradient) for node in graph.ops)
            continue
        if problem is None:
            continue
        y = problem.run({})
        weights = np.where(np.isfinite(y), draws.standard_normal(y.shape), 0.0)
        found = problem.found(weights)
        for leaf in problem.leaves:
            direction = draws.choice([-1.0, 1.0], problem.inputs[leaf].shape) * draws.uniform(0.5, 1.0, problem.inputs[leaf].shape)
            moved = found[leaf] * direction
            slack = RELATIVE * np.nansum(abs(moved)) + 1e-11 * (1 + np.nansum(abs(weights * np.where(weights == 0, 0, y))))
            off = abs(problem.slope(leaf, direction, weights) - np.nansum(moved))
            assert off <= slack, f"{case}: %{output.name} by %{leaf}: {off} over {slack}"
