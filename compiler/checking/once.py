"""A network just built in memory, held to float64 once: cheap enough to be done each time, so that a wrong kernel is never silent.

Of the sizes that have names the batch is 1 and then 2, and rows and columns are the smallest that are usual. Numbers in the network's own
shapes stay: at other sizes other kernels would be checked. It takes one run in float64, as results that are this close need no word on how
far rounding leads; of others the noise is measured, as for an artifact.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...backends import reference
from ...ir.errors import InvalidModel, Mismatch
from ...ir.graph import Graph
from ...ir.types import Array
from ..engines.engine import Engine, Run
from ..files.inputs import random_inputs
from .batches import compare_batches
from .node_bounds import check_nodes
from .oracle import Oracle

__all__ = ["check_once"]

CLOSE = 2.0**-15  # of an output's scale: 500 roundings of float32, about what the noise allows a deep network


def check_once(graph: Graph, better: Graph, engine: Engine, run: Run) -> None:
    """Nothing, if `run`, which `engine` made of `better`, computes what `graph` does. A network that no usual size fits is let pass.

    Raises: Mismatch naming the output that differs, and the first node that is out of its own bounds where there is one.
    """
    try:
        inputs = random_inputs(graph)
    except InvalidModel:
        return
    tiles, exact = engine.tiles(better), reference.run(graph, inputs, "f64")
    close = Oracle(exact, {name: np.asarray(CLOSE * _scale(value)) for name, value in exact.items()})
    if all(line.agrees for line in compare_batches(better, engine, run, inputs, close, tiles)):
        return
    within_noise = Oracle.of(better if tiles else graph, inputs, tiles=tiles, exact=exact)
    for line in compare_batches(better, engine, run, inputs, within_noise, tiles):
        if not line.agrees:
            raise Mismatch(f"{line}{_culprit(better, engine, inputs)}; check=False gives it as it is")


def _scale(value: Array) -> float:
    return float(np.max(abs(value[np.isfinite(value)]), initial=0.0)) if value.dtype.kind == "f" else 0.0


def _culprit(graph: Graph, engine: Engine, inputs: Mapping[str, Array]) -> str:
    nodes = check_nodes(graph, engine, inputs)
    return f"; the first node out of its bound is {nodes.first_bad}" if nodes.first_bad else ""
