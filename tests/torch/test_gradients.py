"""The op cases' gradients against PyTorch's own, in float64: everywhere, and where functions bend or values tie."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convc.ir.binding import specialize
from convc.tests.support.gradient_cases import SIZES, Problem, at_kinks, cases, problems
from convc.tests.torch.torch_ops import evaluate

RELATIVE = 1e-12
FEWEST = 700  # pairs of an output and what it depends on that PyTorch has words for
# Where it has another convention at a bend: of 0 to a power, and of the root of 0, it says infinity or NaN, and of ties in top_k any.
ELSEWHERE = {"sqrt", "log", "div", "top_k_values", "lp_normalization", "asin", "acos", "acosh", "atanh", "tan"}


def compared(problem: Problem, inputs) -> int:
    """How many gradients agree; 0 where PyTorch has no such op.

    Raises: AssertionError for one that does not.
    """
    graph = specialize(problem.forward, SIZES)
    tensors = {name: torch.tensor(value, requires_grad=name in problem.leaves) for name, value in inputs.items()}
    y = evaluate(graph, tensors)
    if y is None:
        return 0
    ours = problem.run(inputs)
    if not np.allclose(ours, y.detach().numpy(), 1e-9, 1e-9, equal_nan=True):
        return 0  # PyTorch means something else by it
    weights = np.where(np.isfinite(ours), np.random.default_rng(0).standard_normal(ours.shape), 0.0)
    y.backward(torch.tensor(weights))
    found = problem.found(weights, inputs)
    for name in problem.leaves:
        wanted = tensors[name].grad.numpy()
        finite = np.isfinite(wanted)
        assert np.isfinite(found[name][finite]).all(), f"{problem.case}: %{problem.result} by %{name} is no number where PyTorch's is one"
        off = abs(np.where(finite, wanted - found[name], 0)).max(initial=0)
        assert off <= RELATIVE * max(1.0, abs(wanted[finite]).max(initial=0)), (
            f"{problem.case}: %{problem.result} by %{name} is off by {off}"
        )
    return len(problem.leaves)


COUNTS: dict[str, int] = {}


@pytest.mark.parametrize("case", cases())
def test_gradients_are_those_of_pytorch(case):
    COUNTS[case] = sum(compared(problem, problem.inputs) for problem in problems(case))


@pytest.mark.parametrize("case", cases())
def test_so_they_are_where_functions_bend_and_values_tie(case):
    for problem in problems(case):
        if not {node.kind.name for node in problem.forward.ops} & ELSEWHERE:
            compared(problem, at_kinks(problem))


def test_most_of_them_were_compared():
    assert sum(COUNTS.values()) >= FEWEST
