"""Pictures through a graph, a few at a time, whatever batch it is made for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from ...ir.graph import Graph
from ...ir.types import Array
from ..engines.engine import Engine, Run
from ..engines.optimize import optimize

__all__ = ["BATCH", "batches", "ending_at", "repeated", "started"]

BATCH = 16  # pictures at once


def started(graph: Graph, engine: Engine, threads: int | None = None) -> Run:
    """The graph, optimized for the engine and ready to run."""
    better, _ = optimize(graph, 2, prices=engine.prices)
    return engine.start(better, threads)


def ending_at(graph: Graph, names: Sequence[str]) -> Graph:
    """The graph that gives these values and computes no more than they need."""
    return Graph.of(graph.name, graph.inputs, [graph.by_name[name] for name in names], graph.nodes)


def repeated(graph: Graph, picture: Array) -> Array:
    """A picture [1,C,H,W] as often as the graph takes pictures, where that is a number."""
    count = graph.inputs[0].typed.shape[0]
    return np.repeat(picture, count, 0) if isinstance(count, int) else picture


def batches(graph: Graph, run: Run, pictures: Iterable[Array]) -> Iterator[tuple[int, Mapping[str, Array]]]:
    """Results of pictures [1,C,H,W], each as it is given, one after another: how many pictures, and their values by name.

    Where the graph is made for a number of pictures it is given as many, the last ones repeated.
    """
    (image,) = graph.inputs
    fixed = image.typed.shape[0] if isinstance(image.typed.shape[0], int) else None
    each = iter(pictures)
    while chunk := list(islice(each, fixed or BATCH)):
        filled = chunk + chunk[-1:] * ((fixed or len(chunk)) - len(chunk))
        got = run({image.name: np.concatenate(filled)})
        yield len(chunk), {name: value[: len(chunk)] for name, value in got.items()}
