"""Learning rates over a run, by name: each a function of where the run is and what it has seen, so that a run resumed goes on alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["SCHEDULES", "Moment", "plateau_drops"]

DROP = 0.1
PATIENCE = 5  # epochs without a smaller validation loss, as the course has it


@dataclass(frozen=True, slots=True)
class Moment:
    """`done` is the share of the run's steps that are over; `losses` are those of validation after each epoch so far."""

    done: float
    losses: Sequence[float]


def _constant(moment: Moment) -> float:
    return 1.0


def _cosine(moment: Moment) -> float:
    """Half a wave down to 0, without restarts. Loshchilov & Hutter 2017, eq. 5."""
    return 0.5 * (1 + math.cos(math.pi * moment.done))


def _step(moment: Moment) -> float:
    """A tenth after half of the run, and again after three quarters: He et al. 2015, sec. 4.2."""
    return DROP ** ((moment.done >= 0.5) + (moment.done >= 0.75))


def _plateau(moment: Moment) -> float:
    """A tenth each time the validation loss has stopped falling: He et al. 2015, sec. 3.4."""
    return DROP ** plateau_drops(moment.losses)


def plateau_drops(losses: Sequence[float], patience: int = PATIENCE) -> int:
    """How often `patience` epochs went by without a new least loss; after each the count begins anew."""
    least, waited, drops = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < least else waited + 1
        least = min(least, loss)
        if waited == patience:
            drops, waited = drops + 1, 0
    return drops


# What the learning rate is multiplied with.
SCHEDULES: dict[str, Callable[[Moment], float]] = {"constant": _constant, "cosine": _cosine, "step": _step, "plateau": _plateau}
