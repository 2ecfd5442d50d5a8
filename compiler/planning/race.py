"""Which of two networks is faster: turn by turn, the least of several runs, so that other work on the machine meets both alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...backends.tvm.host import physical_cores
from ...ir.binding import specialize
from ...ir.graph import Graph, Node
from ...ir.limits import MOST_SAVED, MachineLimits
from ...ir.load import ROUNDS, LoadWatch, agreed
from ...ir.ops.leaf import INPUT, Input
from ...ir.progress import each, told
from ...ir.types import Array
from ...passes.analysis.cost import graph_cost
from ..engines.engine import Engine
from ..engines.onnxruntime import ONNXRUNTIME
from ..files.inputs import random_inputs

__all__ = ["FindLimits", "Lap", "Races", "layer_alone", "race", "splits_slower", "unknown", "verdict"]

BURST = 4  # runs in a row; the first is cold
UNDOUBTED = 30e6  # FLOP in a millisecond of a thread, which any processor of today does
PAUSE = 0.02  # seconds; onnxruntime's threads sleep after a few milliseconds


FindLimits = Callable[[], MachineLimits | None]


def unknown() -> None:
    """The limits of a machine that nobody has measured."""


@dataclass(frozen=True, slots=True)
class Lap:
    """Milliseconds of the network as it was and as it is now, the least of a few bursts, in turns."""

    was: float
    now: float

    @property
    def is_faster(self) -> bool:
        return self.now < self.was

    def is_beyond(self, least: float) -> bool:
        """Whether one of them is below what this machine can do, in milliseconds."""
        return min(self.was, self.now) < least


class Races:
    """Races in these engines, of so many turns, and what others do on the machine from now on. Its `limits` are asked for when something is
    suspiciously fast.
    """

    def __init__(self, engines: Sequence[Engine], threads: int | None, turns: int, limits: FindLimits = unknown) -> None:
        self.engines, self.threads, self.turns = engines, threads, turns
        self.watch = LoadWatch()
        self._limits = limits

    def least(self, graph: Graph, taken: float) -> float:
        """Milliseconds that a network without named sizes takes at least, where it was `taken` so few that this is in question."""
        flops = graph_cost(graph).flops
        if flops < UNDOUBTED * taken * (self.threads or physical_cores()):
            return 0.0
        limits = self._limits()
        return 0.0 if limits is None else 1e3 * limits.least(flops, saved=MOST_SAVED)


def race(before: Graph, after: Graph, inputs: Mapping[str, Array], engine: Engine, threads: int | None, turns: int) -> Lap:
    """Both networks in turns, each started anew.

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
    return Lap(least[0], least[1])


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


def splits_slower(graph: Graph, planned: Graph, sources: Mapping[str, str], sizes: Mapping[str, int], races: Races) -> dict[str, list[Lap]]:
    """The laps of each layer in `sources` (with the value it reads) whose split was not confirmed to be faster in onnxruntime: in two
    rounds in succession, between which come those of all other layers.
    """
    alone = {name: [layer_alone(network, name, source, sizes) for network in (graph, planned)] for name, source in sources.items()}
    laps: dict[str, list[Lap]] = {name: [] for name in sources}
    left = list(sources)
    for _ in range(ROUNDS):
        for name in told("splits against their layers", len(left), left):
            before, after = alone[name]
            laps[name].append(race(before, after, random_inputs(before), ONNXRUNTIME, races.threads, races.turns))
        left = [name for name in left if verdict(laps[name], alone[name][1], races) is None]
    return {name: found for name, found in laps.items() if not verdict(found, alone[name][1], races)}


def verdict(laps: Sequence[Lap], after: Graph, races: Races) -> bool | None:
    """Whether the network that is less work is faster, by two laps in succession; None where none agree. One in which it was faster than
    this machine can be says nothing.
    """
    return agreed(None if lap.is_beyond(races.least(after, min(lap.was, lap.now))) else lap.is_faster for lap in laps)
