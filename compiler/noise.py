"""Rounding noise of a whole network by Monte Carlo arithmetic. Parker 1997; Verificarlo (Denis et al. 2016).

A worst-case bound carried through fifty layers says nothing. Instead the float64 interpreter is run a
few times with every op's result disturbed at random by one unit roundoff of the precision in
question, scaled by op(|x|, |w|); the spread of the outputs is the noise that any honest engine of that
precision may show.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..backends import reference
from ..ir.graph import Graph, Node
from ..ir.ops.shape import OPS as MOVES
from ..ir.types import Array

__all__ = ["UNIT", "noise_level"]

UNIT = {"f32": 2.0**-24, "f64": 2.0**-53}
RUNS = 3
_EXACT = {*(op.name for op in MOVES), "relu", "max_pool", "global_max_pool", "clip", "identity", "dropout"}


def noise_level(graph: Graph, inputs: Mapping[str, Array], exact: Mapping[str, Array], unit: float, seed: int = 0) -> dict[str, Array]:
    """One standard deviation of rounding noise per output element; at least the output's own root mean square of it.

    `exact` are the undisturbed float64 outputs. Ops that only move or choose values add no noise.
    """
    draws = np.random.default_rng(seed)

    def disturb(node: Node, operands: list[Array], value: Array) -> Array | None:
        if node.kind.name in _EXACT or not np.issubdtype(value.dtype, np.floating):
            return None
        scale = abs(value) if node.kind.magnitude is None else node.kind.magnitude(node.op, *operands)
        return value + unit * scale * draws.standard_normal(value.shape)

    squares = {name: np.zeros_like(value, dtype=np.float64) for name, value in exact.items()}
    for _ in range(RUNS):
        for name, value in reference.run(graph, inputs, "f64", disturb).items():
            squares[name] += (value - exact[name]) ** 2 / RUNS
    pooled = {name: np.sqrt(np.mean(square)) if square.size else 0.0 for name, square in squares.items()}
    return {name: np.maximum(np.sqrt(square), pooled[name]) for name, square in squares.items()}
