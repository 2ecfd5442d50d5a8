"""Averages of weights over the steps: each step's are one draw around where training leads, and their mean lies nearer to it.

Polyak & Juditsky 1992, Acceleration of Stochastic Approximation by Averaging; with a decay, as Szegedy et al. 2016, sec. 8, have
theirs.
"""

from __future__ import annotations

from ...ir.errors import UsageError
from ...ir.terms import Term
from .optimizers import seen

__all__ = ["AVERAGE", "AVERAGED_STEPS", "averaged", "is_average", "need_decay", "share"]

AVERAGE = "average"
AVERAGED_STEPS = "average.steps"


def is_average(name: str) -> bool:
    """Whether a state of a step is an average, or belongs to all of them."""
    return name == AVERAGED_STEPS or name.endswith(f".{AVERAGE}")


def need_decay(decay: float | None) -> None:
    """Raises: UsageError for a decay that makes no average."""
    if decay is not None and not 0 < decay < 1:
        raise UsageError(f"average is {decay}, expected more than 0 and less than 1, such as 0.99 for about the last hundred steps")


def share(decay: float, steps: Term) -> Term:
    """How much the newest of so many steps weighs. Step i has decay^(steps - i) over the sum of all, so that an average is one from the
    first step on, and the 0 that it began at weighs nothing."""
    return steps.number(1 - decay) / seen(decay, steps)


def averaged(average: Term, value: Term, newest: Term) -> Term:
    return average + (value - average) * newest
