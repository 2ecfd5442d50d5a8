"""The predicted rounding noise against the errors that float32 engines really make, on every zoo network."""

from __future__ import annotations

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.engines import ENGINES
from convc.compiler.inputs import random_inputs
from convc.compiler.noise import UNIT, noise_level
from convc.models import ZOO

SEEDS = (3, 4)


@pytest.mark.parametrize("name", ZOO)
def test_predicted_over_seen_is_within_a_factor_of_4(name):
    """Root mean squares over outputs, two engines and two inputs: one engine on one input is a single draw."""
    graph = ZOO[name].network(**ZOO[name].small)
    engines = [ENGINES["onnx"].start(graph, 1), ENGINES["reference"].start(graph, 1)]
    predicted, seen = [], []
    for seed in SEEDS:
        inputs = random_inputs(graph, seed=seed)
        exact = reference.run(graph, inputs, "f64")
        predicted += [np.mean(noise.min() ** 2) for noise in noise_level(graph, inputs, exact, UNIT["f32"], seed).values()]
        seen += [np.mean((run(inputs)[key] - exact[key]) ** 2) for run in engines for key in exact]
    ratio = np.sqrt(np.mean(predicted) / np.mean(seen))
    assert 1 / 4 <= ratio <= 4, f"predicted over seen is {ratio:.2f}"
