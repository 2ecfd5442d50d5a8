"""What every network must do with an empty batch: give empty results, the same before and after -O3, or refuse in one sentence."""

from __future__ import annotations

import numpy as np

from convc.backends import reference
from convc.compiler.engines.optimize import optimize
from convc.ir.binding import batch_names
from convc.ir.errors import InvalidInput, InvalidModel
from convc.ir.graph import Graph
from convc.ir.types import Array
from convc.tests.fuzz.network_builder import SIZES
from convc.tests.support.graphs import normal_inputs

__all__ = ["of_an_empty_batch"]


def of_an_empty_batch(graph: Graph) -> str | None:
    """What is wrong, or None. A network that refuses one may come to take it, where a pass leaves out what refused.

    One with a size such as N-1 refuses it as a user's would: nobody has an array to give.
    """
    batch = batch_names(graph)
    if not batch:
        return None
    try:
        inputs = normal_inputs(graph, **{name: 0 if name in batch else SIZES[name] for name in graph.symbols})
    except InvalidModel as error:
        return None if "no size is negative" in str(error) else str(error)
    before, after = _results(graph, inputs), _results(optimize(graph, 3)[0], inputs)
    if before is None:
        return None
    if after is None:
        return "an empty batch is refused after -O3"
    for name, want in before.items():
        if want.shape != after[name].shape:
            return f"{name} of an empty batch has shape {list(want.shape)}, and {list(after[name].shape)} after -O3"
        if not np.allclose(want, after[name], equal_nan=True):
            return f"{name} of an empty batch differs after -O3"
    return None


def _results(graph: Graph, inputs: dict[str, Array]) -> dict[str, Array] | None:
    """None where the type rules refuse such inputs."""
    try:
        return reference.run(graph, inputs, "f64")  # a batch may be empty beside results that are not
    except InvalidInput:
        return None
