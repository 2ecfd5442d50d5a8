"""Optimizers as formulas: what of a weight, its gradient and its state the next weight and state are. In PyTorch's terms, term for term."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...ir.errors import UsageError
from ...ir.terms import Term

__all__ = ["Adam", "Optimizer", "Sgd", "adam", "seen", "sgd"]

States = Mapping[str, Term]


@dataclass(frozen=True, slots=True)
class Sgd:
    """Gradient descent with momentum and weight decay. Sutskever et al. 2013; its `nesterov` form as PyTorch has it.

    v <- momentum v + g + decay w, w <- w - rate v; nesterov takes momentum v + g instead of v.
    """

    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = False

    @property
    def states(self) -> tuple[str, ...]:
        """What is kept for each weight, of its shape and 0 at first."""
        return ("velocity",) if self.momentum else ()

    @property
    def shared(self) -> tuple[str, ...]:
        """Numbers that are kept once, 0 at first."""
        return ()

    def advanced(self, shared: States) -> dict[str, Term]:
        return {}

    def updated(self, w: Term, g: Term, rate: Term, states: States, shared: States) -> tuple[Term, dict[str, Term]]:
        """The next weight and its next states. `shared` holds the numbers of this step."""
        g = g + w * self.weight_decay if self.weight_decay else g
        if not self.momentum:
            return w - rate * g, {}
        v = states["velocity"] * self.momentum + g
        return w - rate * (g + v * self.momentum if self.nesterov else v), {"velocity": v}


@dataclass(frozen=True, slots=True)
class Adam:
    """Steps by running means of gradients and of their squares, both freed of their start at 0. Kingma & Ba 2015, alg. 1.

    `weight_decay` is added to the gradient, or if `decoupled` taken off the weight itself: AdamW, Loshchilov & Hutter 2019.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False

    @property
    def states(self) -> tuple[str, ...]:
        return ("mean", "square")

    @property
    def shared(self) -> tuple[str, ...]:
        return ("adam.steps",)

    def advanced(self, shared: States) -> dict[str, Term]:
        return {"adam.steps": shared["adam.steps"] + 1.0}

    def updated(self, w: Term, g: Term, rate: Term, states: States, shared: States) -> tuple[Term, dict[str, Term]]:
        (first, second), steps = self.betas, shared["adam.steps"]
        if self.weight_decay and self.decoupled:
            w = w - w * (rate * self.weight_decay)
        elif self.weight_decay:
            g = g + w * self.weight_decay
        mean = _moved(states["mean"], g, first)
        square = _moved(states["square"], g * g, second)
        root = (square / seen(second, steps)).op("sqrt") + self.epsilon
        return w - (rate / seen(first, steps)) * (mean / root), {"mean": mean, "square": square}


Optimizer = Sgd | Adam


def sgd(momentum: float = 0.9, weight_decay: float = 5e-4, nesterov: bool = False) -> Sgd:
    """Gradient descent: v <- momentum v + g + weight_decay w, w <- w - rate v; `nesterov` takes momentum v + g instead of v.

    Raises: UsageError for a momentum outside [0, 1), a negative decay, or nesterov without momentum.
    """
    _need_share("momentum", momentum)
    _need_decay(weight_decay)
    if nesterov and not momentum:
        raise UsageError("nesterov looks ahead by the momentum, which is 0; give a momentum")
    return Sgd(momentum, weight_decay, nesterov)


def adam(betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8, weight_decay: float = 0.0, decoupled: bool = False) -> Adam:
    """Adam: steps by running means of gradients and of their squares, which forget by `betas`; `epsilon` is added to the root of these.

    `weight_decay` is added to the gradient or, if `decoupled`, taken off the weight itself, which is AdamW.

    Raises: UsageError for betas outside [0, 1), or a negative decay or epsilon.
    """
    for beta in betas:
        _need_share("a beta", beta)
    _need_decay(weight_decay)
    if not 0 < epsilon < math.inf:
        raise UsageError(f"epsilon is {epsilon}, expected more than 0")
    return Adam(betas, epsilon, weight_decay, decoupled)


def _need_share(what: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UsageError(f"{what} is {value}, expected at least 0 and less than 1")


def _need_decay(value: float) -> None:
    if not 0 <= value < math.inf:
        raise UsageError(f"weight_decay is {value}, expected at least 0")


def _moved(mean: Term, value: Term, beta: float) -> Term:
    """beta mean + (1 - beta) value. Of a beta near 1, float32 has 1 - beta to seven digits and not beta: 0.999 is off by 1.3e-5 of what it
    leaves to 1, and the mean of a thousand steps would be too."""
    return mean + (value - mean) * (1 - beta) if beta > 0.5 else mean * beta + value * (1 - beta)


def seen(beta: float, steps: Term) -> Term | float:
    """1 - beta^steps, the share of such a mean that is not its start at 0. As 2 t / (1 + t) with t = tanh(-steps log(beta) / 2), where
    nothing cancels out; log(beta) is of float64."""
    if not beta:
        return 1.0
    t = (steps * (-math.log(beta) / 2)).op("tanh")
    return t * 2.0 / (t + 1.0)
