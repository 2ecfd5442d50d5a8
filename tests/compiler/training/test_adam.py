"""Adam's means in float32, early and late, beside its formula in float64: Kingma & Ba 2015, alg. 1."""

from __future__ import annotations

import math

import numpy as np
import pytest

import convc as cc
from convc.compiler.engines.table import engines_named
from convc.compiler.training.step import step_of

RATE = 1000.0  # so far that a weight's own rounding is nothing beside it


@cc.network(image="N,1")
def one_weight(image):
    return cc.dense(image, 1, bias=False)


def moves(betas, gradients, engine):
    """By how much of the rate each step moves the only weight, which starts every step at 0."""
    graph = one_weight()
    made = step_of(graph, loss="mean_squared", optimizer=cc.adam(betas))
    (tool,) = engines_named(engine)
    start, (weight,) = tool.start(made.graph, 1), made.weights
    carried = {name: np.zeros(type_.concrete(), np.float32) for name, type_ in made.states.items()}
    fixed = {
        graph.inputs[0].name: np.ones((1, 1), np.float32),
        "learning_rate": np.array(RATE, np.float32),
        weight: np.zeros((1, 1), np.float32),
    }
    for gradient in gradients:
        after = start(fixed | carried | {"label": np.full((1, 1), -gradient / 2, np.float32)})
        carried = {name: after[f"{name}.next"] for name in carried}
        yield -float(after[f"{weight}.next"].item()) / RATE


def in_float64(betas, gradients, epsilon=1e-8):
    mean = square = 0.0
    for step, g in enumerate(gradients, 1):
        mean, square = betas[0] * mean + (1 - betas[0]) * g, betas[1] * square + (1 - betas[1]) * g * g
        yield mean / (1 - betas[0] ** step) / (math.sqrt(square / (1 - betas[1] ** step)) + epsilon)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9999), (0.0, 0.999), (0.9, 0.0)], ids=str)
def test_first_steps_are_those_of_float64(betas):
    """1 - 0.999^steps, taken as it stands, was off by 1.3e-5."""
    gradients = np.random.default_rng(0).uniform(0.5, 2, 20).astype(np.float32).astype(float)
    np.testing.assert_allclose(list(moves(betas, gradients, "reference")), list(in_float64(betas, gradients)), rtol=1e-6)


def test_late_steps_are_those_of_float64():
    """Of 3000 steps the mean has forgotten its start, and lives of its beta alone."""
    gradients = np.random.default_rng(1).uniform(0.5, 2, 3000).astype(np.float32).astype(float)
    found, expected = (np.array(list(made)) for made in (moves((0.9, 0.999), gradients, "onnx"), in_float64((0.9, 0.999), gradients)))
    assert abs(found / expected - 1)[-500:].mean() < 1e-6
    np.testing.assert_allclose(found, expected, rtol=3e-6)
