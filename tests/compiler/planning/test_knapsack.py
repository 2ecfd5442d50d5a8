"""The knapsack of plans against brute force, and against an integer program."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convc.compiler.planning.knapsack import BUCKETS, frontier, undominated

CHOICES = st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1)), min_size=1, max_size=4)
LAYERS = st.lists(CHOICES, min_size=1, max_size=5)


def brute_force(layers, cost):
    errors = [sum(e for _, e in picked) for picked in itertools.product(*layers) if sum(c for c, _ in picked) <= cost]
    return min(errors, default=None)


@given(LAYERS, st.integers(0, 100))
def test_the_least_error_under_a_cost(layers, cost):
    found = frontier(layers)
    chosen, wanted = found.best(cost), brute_force(layers, cost)
    if wanted is None:
        assert chosen is None
        assert cost < found.least_cost
    else:
        assert found.cost(chosen) <= cost
        assert found.total_error(chosen) == pytest.approx(wanted)


@given(LAYERS, st.floats(0, 5))
def test_the_least_cost_under_an_error(layers, error):
    chosen = (found := frontier(layers)).cheapest(error)
    costs = [sum(c for c, _ in picked) for picked in itertools.product(*layers) if sum(e for _, e in picked) <= error]
    if chosen is None:
        assert min(costs, default=None) is None or min(sum(e for _, e in p) for p in itertools.product(*layers)) > error - 1e-9
    else:
        assert found.cost(chosen) == min(costs, default=found.cost(chosen))
        assert found.total_error(chosen) <= error + 1e-12


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_large_costs_come_within_a_thousandth_of_the_integer_program(share):
    from scipy.optimize import Bounds, LinearConstraint, milp

    draws = np.random.default_rng(3)
    layers = []
    for _ in range(20):
        whole = int(draws.integers(10**7, 10**9))
        layers.append([(int(whole * x), float(draws.random() * (1 - x) ** 2)) for x in np.linspace(0.05, 1, 12)])
    budget = int(share * sum(choices[-1][0] for choices in layers))
    costs, errors = (np.array([choice[i] for choices in layers for choice in choices], float) for i in (0, 1))
    one_each = np.kron(np.eye(len(layers)), np.ones(12))
    exact = milp(
        errors,
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(costs[None] / budget, -np.inf, 1)],
        integrality=np.ones(len(costs)),
        bounds=Bounds(0, 1),
    )
    found = frontier(layers)
    assert found.unit > 1  # rounded up to units, or this is no test of it
    chosen = found.best(budget)
    assert found.cost(chosen) <= budget
    assert exact.fun - 1e-9 <= found.total_error(chosen) <= exact.fun * 1.01 + 1e-9


def test_a_budget_of_exactly_the_least_is_met_whatever_the_rounding():
    layers = [[(BUCKETS * 3 + 1, 0.5), (BUCKETS * 30 + 7, 0.0)] for _ in range(5)]
    found = frontier(layers)
    assert found.best(found.least_cost) == [0] * 5
    assert found.best(found.least_cost - 1) is None


def test_undominated_choices_cost_more_to_err_less():
    assert undominated([(3, 0.2), (1, 0.5), (2, 0.5), (3, 0.3), (9, 0.0)]) == [1, 0, 4]


def test_the_curve_runs_from_the_cheapest_to_the_most_exact():
    found = frontier([[(1, 0.5), (5, 0.0)], [(2, 0.4), (3, 0.1), (6, 0.0)]])
    errors = [found.total_error(chosen) for chosen in found.curve(20)]
    assert errors[0] == pytest.approx(0.9)
    assert errors[-1] == 0
    assert errors == sorted(errors, reverse=True)
