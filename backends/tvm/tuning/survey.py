"""How the rules serve a network's kernels, each measured against what this machine can do: those with most to win come first."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....ir.errors import BackendMissing
from ....ir.files import temporary_folder
from ....ir.limits import MachineLimits
from ....ir.progress import each
from ..cpu.kernels.kernel import Tunable
from ..cpu.plan import KernelPlan
from .compiling import compiled_libraries
from .timing import FAST, Bench, OpenBench

__all__ = ["Served", "TunableLayer", "survey", "tunable_layers"]

TURNS = 6
LAYERS = 8  # whose rules' forms are timed in one session


@dataclass(frozen=True)
class TunableLayer:
    """A kernel of the network, and the nodes that it computes there."""

    kernel: Tunable
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Served:
    """How its rule serves a layer. Units: `taken` milliseconds of the kernel; `share` of what arithmetic or memory could do at most;
    `least` milliseconds, below which no form of it can be.
    """

    layer: TunableLayer
    taken: float
    share: float
    least: float = 0.0

    @property
    def lost(self) -> float:
        """Milliseconds that the network would save if the kernel did what the machine can."""
        return len(self.layer.nodes) * self.taken * (1 - self.share)


def tunable_layers(plan: KernelPlan) -> list[TunableLayer]:
    """The tunable kernels of a plan for a network whose sizes are numbers, each once."""
    found: dict[str, tuple[Tunable, list[str]]] = {}
    for work in plan.works.values():
        if work.kernel.tunable is not None:
            found.setdefault(work.kernel.tunable.key, (work.kernel.tunable, []))[1].append(work.covers[0].name)
    return [TunableLayer(kernel, tuple(nodes)) for kernel, nodes in found.values()]


def survey(open_bench: OpenBench, threads: int, given: Sequence[TunableLayer], deadline: float) -> list[Served]:
    """The layers as their rules serve them, the most to win first; of `given` as many as are begun before `deadline`, by time.monotonic."""

    def stop() -> bool:
        return time.monotonic() >= deadline

    taken: list[float] = []
    for first in each("how rules serve the kernels, in sessions", range(0, len(given), LAYERS)):
        taken += _rule_times(open_bench, [layer.kernel for layer in given[first : first + LAYERS]], stop)
    if not taken:
        return []
    given = given[: len(taken)]
    kernels = [layer.kernel for layer in given]
    compute, memory = open_bench().roofs(threads)
    if far := [place for place, kernel in enumerate(kernels) if taken[place] < _least(kernel, compute)]:
        compute = max(compute, open_bench().roofs(threads)[0])  # it was measured too low, or the kernels were too fast
        for place, ms in zip(far, _rule_times(open_bench, [kernels[place] for place in far], stop), strict=False):
            taken[place] = ms
    compute = max(compute, *(kernel.macs / ms for kernel, ms in zip(kernels, taken, strict=True)))  # a busy machine's peak is too low
    shares = [max(kernel.macs / compute, kernel.bytes / memory) / ms for kernel, ms in zip(kernels, taken, strict=True)]
    told = zip(given, taken, shares, kernels, strict=True)
    served = [Served(layer, ms, min(1.0, share), _least(kernel, compute)) for layer, ms, share, kernel in told]
    return sorted(served, key=lambda each: -each.lost)


def _least(kernel: Tunable, compute: float) -> float:
    """Milliseconds, at so many multiply-adds in each."""
    return 1e3 * MachineLimits(2e3 * compute).least(2 * kernel.macs)


def _rule_times(open_bench: OpenBench, kernels: Sequence[Tunable], stop: Callable[[], bool]) -> list[float]:
    """Milliseconds of the rules' forms, in a session that begins when all are compiled, and is over when this returns.

    As many, in order, as are compiled before the stop.
    """
    with temporary_folder() as folder:
        libraries = compiled_libraries([[functools.partial(kernel.build, None)] for kernel in kernels], folder, stop)
        if not libraries:
            return []
        try:
            return _timed(open_bench(), kernels, libraries)
        except BackendMissing:  # of one server; another may be well
            pass
        return _timed(open_bench(), kernels, libraries)


def _timed(bench: Bench, kernels: Sequence[Tunable], libraries: Sequence[tuple[Path, int]]) -> list[float]:
    taken: list[float] = []
    for kernel, compiled in zip(kernels, libraries, strict=False):
        prepared = bench.prepare([compiled], kernel.build(None), kernel.weights)
        taken.append(float(np.quantile(bench.times(prepared, [0], TURNS), FAST)))
    return taken
