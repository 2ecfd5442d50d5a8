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
from ....ir.progress import each
from ..cpu.kernels.kernel import Tunable
from ..cpu.plan import KernelPlan
from .compiling import compiled_libraries
from .peak import MachinePeak
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
    """How its rule serves a layer. Units: `taken` milliseconds of the kernel; `share` of what arithmetic or memory could do at most."""

    layer: TunableLayer
    taken: float
    share: float

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


def survey(open_bench: OpenBench, peak: MachinePeak, given: Sequence[TunableLayer], deadline: float) -> list[Served]:
    """The layers as their rules serve them, the most to win first; of `given` as many as are begun before `deadline`, by time.monotonic.
    The `peak` is measured, and again where a rule seems faster.
    """

    def stop() -> bool:
        return time.monotonic() >= deadline

    taken: list[float] = []
    for first in each("how rules serve the kernels, in sessions", range(0, len(given), LAYERS)):
        taken += _rule_times(open_bench, [layer.kernel for layer in given[first : first + LAYERS]], stop)
    if not taken:
        return []
    given = given[: len(taken)]
    kernels = [layer.kernel for layer in given]
    compute, memory = open_bench().roofs(peak.threads)
    peak.see(compute)
    if far := [place for place, kernel in enumerate(kernels) if taken[place] < peak.least(kernel)]:
        peak.see(open_bench().peak(peak.threads))  # it was measured too low, or the kernels were too fast
        for place, ms in zip(far, _rule_times(open_bench, [kernels[place] for place in far], stop), strict=False):
            taken[place] = ms
    for kernel, ms in zip(kernels, taken, strict=True):
        peak.see(kernel.macs / ms)
    shares = [max(kernel.macs / peak.macs, kernel.bytes / memory) / ms for kernel, ms in zip(kernels, taken, strict=True)]
    served = [Served(layer, ms, min(1.0, share)) for layer, ms, share in zip(given, taken, shares, strict=True)]
    return sorted(served, key=lambda each: -each.lost)


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
