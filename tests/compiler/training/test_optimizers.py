"""Steps of optimizers on a single weight, beside their formulas as PyTorch's documentation has them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

import convc as cc
from convc.backends.reference import run
from convc.compiler.training.optimizers import Adam, Optimizer, Sgd
from convc.compiler.training.step import step_of

RATE, LABEL, FIRST, STEPS = 0.1, 0.2, 0.7, 4


@cc.network(image="f64[N,1]")
def one_weight(image):
    return cc.dense(image, 1, bias=False)


def moved(optimizer: Optimizer) -> Iterator[float]:
    """The weight after each step; (w - label)^2 is the loss."""
    graph = one_weight()
    made = step_of(graph, loss="mean_squared", optimizer=optimizer)
    (weight,) = made.weights
    carried = {weight: np.array([[FIRST]])} | {name: np.zeros(type_.concrete()) for name, type_ in made.states.items()}
    fixed = {graph.inputs[0].name: np.ones((1, 1)), "label": np.full((1, 1), LABEL), "learning_rate": np.array(RATE)}
    for _ in range(STEPS):
        after = run(made.graph, fixed | carried, "f64")
        carried = {name: after[f"{name}.next"] for name in carried}
        yield carried[weight].item()


def by_sgd(o: Sgd) -> Iterator[float]:
    w, v = FIRST, 0.0
    for _ in range(STEPS):
        g = 2 * (w - LABEL) + o.weight_decay * w
        v = o.momentum * v + g
        w -= RATE * (g + o.momentum * v if o.nesterov else v)
        yield w


def by_adam(o: Adam) -> Iterator[float]:
    (first, second), w, mean, square = o.betas, FIRST, 0.0, 0.0
    for step in range(1, STEPS + 1):
        g = 2 * (w - LABEL) + (0 if o.decoupled else o.weight_decay * w)
        w -= RATE * o.weight_decay * w if o.decoupled else 0
        mean, square = first * mean + (1 - first) * g, second * square + (1 - second) * g * g
        w -= RATE * (mean / (1 - first**step)) / (math.sqrt(square / (1 - second**step)) + o.epsilon)
        yield w


@pytest.mark.parametrize(
    "optimizer", [cc.sgd(0.0, 0.0), cc.sgd(0.9, 0.0), cc.sgd(0.9, 0.05), cc.sgd(0.9, 0.05, nesterov=True), cc.sgd(0.0, 0.05)], ids=repr
)
def test_gradient_descent(optimizer: Sgd):
    np.testing.assert_allclose(list(moved(optimizer)), list(by_sgd(optimizer)), rtol=1e-12)


@pytest.mark.parametrize(
    "optimizer", [cc.adam(), cc.adam((0.5, 0.9), 1e-3), cc.adam(weight_decay=0.05), cc.adam(weight_decay=0.05, decoupled=True)], ids=repr
)
def test_adam(optimizer: Adam):
    np.testing.assert_allclose(list(moved(optimizer)), list(by_adam(optimizer)), rtol=1e-9)
