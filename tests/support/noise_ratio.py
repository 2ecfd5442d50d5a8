"""Predicted over seen rounding noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from convc.backends import reference
from convc.compiler.checking.noise import Rounding, noise_level
from convc.compiler.checking.units import UNIT
from convc.compiler.files.inputs import random_inputs
from convc.ir.graph import Graph
from convc.ir.types import Array

__all__ = ["predicted_over_seen"]

SEEDS = (3, 4)


def predicted_over_seen(
    graph: Graph, engines: Iterable[Callable[[Mapping[str, Array]], Mapping[str, Array]]], tiles: Mapping[str, int] | None = None
) -> float:
    """Root mean squares over outputs, engines and two inputs: one engine on one input is a single draw."""
    predicted, seen = [], []
    for seed in SEEDS:
        inputs = random_inputs(graph, seed=seed)
        exact = reference.run(graph, inputs, "f64")
        levels = noise_level(graph, inputs, exact, Rounding(UNIT["f32"], seed, tiles=tiles or {}))
        predicted += [np.mean(noise.min() ** 2) for noise in levels.values()]
        for run in engines:
            got = run(inputs)
            seen += [np.mean((got[key] - exact[key]) ** 2) for key in exact]
    return float(np.sqrt(np.mean(predicted) / np.mean(seen)))
