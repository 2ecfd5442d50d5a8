"""Which of two networks is faster: turn by turn, the least of several runs, so that other work on the machine meets both alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...backends.tvm.host import physical_cores, tvm
from ...ir.binding import specialize
from ...ir.errors import BackendMissing
from ...ir.graph import Graph, Node
from ...ir.limits import MOST_SAVED, MachineLimits
from ...ir.load import ROUNDS, LoadWatch, agreed
from ...ir.ops.leaf import INPUT, Input
from ...ir.progress import each, told
from ...ir.types import Array
from ...passes.analysis.cost import graph_cost
from ..engines.engine import Engine, Run
from ..engines.onnxruntime import ONNXRUNTIME
from ..files.inputs import random_inputs

__all__ = ["FindLimits", "Lap", "Races", "layer_alone", "measured_limits", "race", "splits_slower", "started", "unknown", "verdict"]

BURST = 4  # runs in a row; the first is cold
UNDOUBTED = 30e6  # FLOP in a millisecond of a thread, which any processor of today does
PEAK_RUNS = 200  # of independent multiply-adds; others disturb most of them
PAUSE = 0.02  # seconds; onnxruntime's threads sleep after a few milliseconds


FindLimits = Callable[[], MachineLimits | None]


def unknown() -> None:
    """The limits of a machine that nobody has measured."""


def measured_limits(threads: int) -> MachineLimits | None:
    """Of arithmetic on so many threads, by the fastest of a few runs in this process; None without TVM."""
    from ...backends.tvm.tuning.roofs import fma_kernel

    try:
        tvm(threads)
        run, flops = fma_kernel(threads)
    except BackendMissing:
        return None
    taken: list[float] = []
    for _ in range(PEAK_RUNS):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return MachineLimits(flops / min(taken))


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
    """Races in these engines, of so many turns, and what others do on the machine from now on. Its limits are measured, and again whenever
    something is faster: the greatest count, since others can only make them too low.
    """

    def __init__(self, engines: Sequence[Engine], threads: int | None, turns: int, measure: FindLimits = unknown) -> None:
        self.engines, self.threads, self.turns = engines, threads, turns
        self.watch = LoadWatch()
        self._measure = measure
        self._limits: MachineLimits | None = None

    def least(self, graph: Graph, taken: float) -> float:
        """Milliseconds that a network without named sizes takes at least, where it was `taken` so few that this is in question."""
        flops = graph_cost(graph).flops
        if flops < MOST_SAVED * UNDOUBTED * taken * (self.threads or physical_cores()):
            return 0.0
        if self._limits is None or taken < self._least(flops):
            both = [limits for limits in (self._limits, self._measure()) if limits is not None]
            self._limits = max(both, key=lambda limits: limits.flops, default=None)
        return self._least(flops)

    def _least(self, flops: float) -> float:
        return 0.0 if self._limits is None else 1e3 * self._limits.least(flops, saved=MOST_SAVED)


def started(before: Graph, after: Graph, engine: Engine, threads: int | None) -> tuple[Run, Run]:
    """Both networks, ready for races.

    Raises: BackendMissing for an engine that is not here.
    """
    return engine.start(before, threads), engine.start(after, threads)


def race(runs: tuple[Run, Run], inputs: Mapping[str, Array], name: str, turns: int) -> Lap:
    """The network as it was and as it is now, in turns; `name` is the engine's."""
    least = [float("inf")] * 2
    for _ in each(f"turns in {name}", range(turns)):
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
    """The laps of each layer in `sources` (with the value it reads) whose split is not faster in onnxruntime: it lost the first round, or
    did not win two in succession, between which come those of all others that are undecided.
    """
    alone = {name: [layer_alone(network, name, source, sizes) for network in (graph, planned)] for name, source in sources.items()}
    laps: dict[str, list[Lap]] = {name: [] for name in sources}
    left = list(sources)
    for _ in range(ROUNDS):
        for name in told("splits against their layers", len(left), left):
            before, after = alone[name]
            runs = started(before, after, ONNXRUNTIME, races.threads)  # anew: of all layers at once they would hold the weights many times
            laps[name].append(race(runs, random_inputs(before), ONNXRUNTIME.name, races.turns))
        left = [name for name in left if verdict(laps[name], alone[name][1], races) is None]
    return {name: found for name, found in laps.items() if not verdict(found, alone[name][1], races)}


def verdict(laps: Sequence[Lap], after: Graph, races: Races) -> bool | None:
    """Whether the network that is less work is faster, by two laps in succession; None where none agree. One that loses the first lap is
    not, since only what is kept needs to be confirmed. A lap in which it was faster than this machine can be says nothing.
    """
    found = [None if lap.is_beyond(races.least(after, min(lap.was, lap.now))) else lap.is_faster for lap in laps]
    return False if found[:1] == [False] else agreed(iter(found))
