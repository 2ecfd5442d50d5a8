"""Which of two networks is faster: turn by turn, the least of several runs, so that other work on the machine meets both alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ir.binding import specialize
from ...ir.graph import Graph, Node
from ...ir.ops.leaf import INPUT, Input
from ...ir.progress import each, told
from ...ir.types import Array
from ..engines.engine import Engine
from ..engines.onnxruntime import ONNXRUNTIME
from ..files.inputs import random_inputs

__all__ = ["Races", "layer_alone", "race", "splits_slower"]

BURST = 4  # runs in a row; the first is cold
PAUSE = 0.02  # seconds; onnxruntime's threads sleep after a few milliseconds


@dataclass(frozen=True, slots=True)
class Races:
    """One race in each of these engines, of so many turns."""

    engines: Sequence[Engine]
    threads: int | None
    turns: int


def race(before: Graph, after: Graph, inputs: Mapping[str, Array], engine: Engine, threads: int | None, turns: int) -> tuple[float, float]:
    """Milliseconds of each, the least of `turns` bursts.

    Raises: BackendMissing for an engine that is not here.
    """
    runs = [engine.start(graph, threads) for graph in (before, after)]
    least = [float("inf")] * 2
    for _ in each(f"turns in {engine.name}", range(turns)):
        for i, run in enumerate(runs):
            for _ in range(BURST):
                start = time.perf_counter()
                run(inputs)
                least[i] = min(least[i], (time.perf_counter() - start) * 1e3)
            time.sleep(PAUSE)  # or its threads, spinning in hope of more, take the cores of the other
    return least[0], least[1]


def layer_alone(graph: Graph, name: str, source: str, sizes: Mapping[str, int]) -> Graph:
    """The value `name` as a network of its own, with `source` for input."""
    chain: list[Node] = [graph.by_name[name]]
    while chain[-1].inputs[0].name != source:
        chain.append(chain[-1].inputs[0])
    first = chain[-1].inputs[0]
    x = Node(first.name, INPUT, Input(), (), first.typed)
    start = x
    for node in reversed(chain):
        x = node.reading((x, *node.inputs[1:]))
    return specialize(Graph.of(name, (start,), (x,)), sizes)


def splits_slower(
    graph: Graph, planned: Graph, sources: Mapping[str, str], sizes: Mapping[str, int], threads: int | None, turns: int
) -> dict[str, tuple[float, float]]:
    """Milliseconds as it was and split, of each layer in `sources` (with the value it reads) whose split is not faster in onnxruntime."""
    found: dict[str, tuple[float, float]] = {}
    for name, source in told("splits against their layers", len(sources), sources.items()):
        before, after = (layer_alone(network, name, source, sizes) for network in (graph, planned))
        was, now = race(before, after, random_inputs(before), ONNXRUNTIME, threads, turns)
        if now >= was:
            found[name] = (was, now)
    return found
