"""One choice a layer, the least error under a budget: the multiple-choice knapsack, by dynamic programming over budgets.

Kellerer, Pferschy & Pisinger 2004, Knapsack Problems, sec. 11.5. Exact where costs are counted in at most BUCKETS units;
beyond, every cost is rounded up to a unit, so that a plan never exceeds its budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...ir.types import Array

__all__ = ["Frontier", "frontier", "undominated"]

BUCKETS = 1 << 14

Choice = tuple[int, float]  # cost, error


@dataclass(frozen=True, eq=False)
class Frontier:
    """`error[b]` is the least total error at a total cost of at most b units; infinite where nothing is so cheap."""

    layers: Sequence[Sequence[Choice]]
    error: Array
    picks: Array  # [layers, budgets]: which choice the last of the first n layers takes
    starts: Array  # [layers, choices]: costs in units
    unit: int

    @property
    def least_cost(self) -> int:
        return sum(min(cost for cost, _ in choices) for choices in self.layers)

    def cheapest(self, error: float) -> list[int] | None:
        """The choices of least cost whose errors add up to `error` at most."""
        met = np.flatnonzero(self.error <= error)
        return self._choices(int(met[0])) if len(met) else None

    def best(self, cost: int) -> list[int] | None:
        """The choices of least error whose costs add up to `cost` at most, or None if nothing is so cheap.

        Rounded up, costs fill more units than they take; a few more are tried.
        """
        last = len(self.error) - 1
        for budget in range(min(cost // self.unit + (len(self.layers) if self.unit > 1 else 0), last), -1, -1):
            if not np.isfinite(self.error[budget]):
                break
            chosen = self._choices(budget)
            if self.cost(chosen) <= cost:
                return chosen
        if self.unit > 1 and self.least_cost <= cost:
            return [min(range(len(choices)), key=lambda i, c=choices: c[i][0]) for choices in self.layers]
        return None

    def cost(self, chosen: Sequence[int]) -> int:
        return sum(choices[i][0] for choices, i in zip(self.layers, chosen, strict=True))

    def total_error(self, chosen: Sequence[int]) -> float:
        return sum(choices[i][1] for choices, i in zip(self.layers, chosen, strict=True))

    def curve(self, points: int) -> list[list[int]]:
        """Choices along the frontier, from the cheapest to the most exact."""
        finite: Array = np.flatnonzero(np.isfinite(self.error))
        if not len(finite):
            return []
        budgets: Array = np.unique(np.linspace(int(finite[0]), int(finite[-1]), points).astype(int))
        return [self._choices(int(budget)) for budget in budgets]

    def _choices(self, budget: int) -> list[int]:
        chosen: list[int] = []
        for layer in range(len(self.layers) - 1, -1, -1):
            pick = int(self.picks[layer, budget])
            chosen.append(pick)
            budget -= int(self.starts[layer, pick])
        return chosen[::-1]


def frontier(layers: Sequence[Sequence[Choice]]) -> Frontier:
    """The least errors at every budget. Costs are whole and not negative, and every layer has a choice."""
    whole = sum(max(cost for cost, _ in choices) for choices in layers)
    unit = max(1, -(-whole // BUCKETS))
    budgets = whole // unit + 1 + (len(layers) if unit > 1 else 0)
    best = np.zeros(budgets)
    picks = np.zeros((len(layers), budgets), np.int32)
    starts = np.zeros((len(layers), max((len(c) for c in layers), default=0)), np.int64)
    for number, choices in enumerate(layers):
        after = np.full(budgets, np.inf)
        for i, (cost, error) in enumerate(choices):
            start = starts[number, i] = -(-cost // unit)
            reached = best[: budgets - start] + error
            better = reached < after[start:]
            after[start:][better] = reached[better]
            picks[number, start:][better] = i
        best = after
    return Frontier(layers, best, picks, starts, unit)


def undominated(choices: Sequence[Choice]) -> list[int]:
    """The choices that no other beats in both cost and error, cheapest first."""
    kept: list[int] = []
    for i in sorted(range(len(choices)), key=lambda i: choices[i]):
        if not kept or choices[i][1] < choices[kept[-1]][1]:
            kept.append(i)
    return kept
