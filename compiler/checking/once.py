"""A network just built in memory, held to float64 once: cheap enough to be done each time, so that a wrong kernel is never silent.

Of the sizes that have names the batch is 1 and then 2, and rows and columns are the smallest that are usual and then others. Numbers in
the network's own shapes stay: at other sizes other kernels would be checked. It takes one run in float64 for each, as results that are this
close need no word on how far rounding leads; of others the noise is measured, as for an artifact.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...backends import reference
from ...ir.errors import InvalidModel, Mismatch
from ...ir.graph import Graph
from ...ir.types import Array
from ..engines.engine import Engine, Run
from ..files.inputs import random_inputs
from .batches import close_to, compare_batches
from .hold import Readied
from .node_bounds import check_nodes
from .oracle import Oracle

__all__ = ["check_once"]


def check_once(graph: Graph, better: Graph, engine: Engine, run: Run) -> None:
    """Nothing, if `run`, which `engine` made of `better`, computes what `graph` does. A network that no usual size fits is let pass.

    Raises: Mismatch naming the output that differs, and the first node that is out of its own bounds where there is one.
    """
    try:
        inputs = random_inputs(graph)
    except InvalidModel:
        return
    tiles, exact = engine.tiles(better), reference.run(graph, inputs, "f64")
    if all(line.agrees for line in compare_batches(Readied(better, engine, run, tiles), inputs, close_to(exact))):
        return
    within_noise = Oracle.of(better if tiles else graph, inputs, tiles=tiles, exact=exact)
    for line in compare_batches(Readied(better, engine, run, tiles), inputs, within_noise):
        if not line.agrees:
            raise Mismatch(f"{line}{_culprit(better, engine, inputs)}; check=False gives it as it is")


def _culprit(graph: Graph, engine: Engine, inputs: Mapping[str, Array]) -> str:
    nodes = check_nodes(graph, engine, inputs)
    return f"; the first node out of its bound is {nodes.first_bad}" if nodes.first_bad else ""
