"""The tuner. Kernels that their rules serve worst come first; each is computed in other forms beside the rule's, turn by turn.

A form takes the rule's place only if it wins, by MARGIN, a comparison of these two alone that had no part in choosing it. Forms are drawn
at random where there are more than trials: they are few, and no model of their cost is needed. TVM's MetaSchedule, given such a kernel
without a schedule, had measured nothing after a minute on two cores.
"""

from __future__ import annotations

import queue
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.errors import BackendMissing, ConvcError
from ...ir.graph import Graph
from ...ir.types import Array
from .fast.forms import Tunable
from .fast.plan import plan
from .host import physical_cores
from .processor import AVX512, Processor
from .timing import SESSION, Bench, library
from .tuned import Found

__all__ = ["Layer", "Served", "is_faster", "layers", "survey", "tune"]

MARGIN = 1.03  # by how much faster a form must be
CHUNK = 4  # forms of a library, which is made in one go, some seconds: linking takes as long as compiling one
PATIENCE = 60.0  # seconds for a worker to come to an end; an interpreter that ends amid a kernel's compilation crashes
ROUNDS = ((4, 6), (12, 1))  # turns of each form that is left, and how many are kept; the fastest quarter of turns counts
DECIDING = 40  # turns of the last comparison
SURVEY = 6
FAST = 0.25


@dataclass(frozen=True)
class Layer:
    """A kernel of the network, and the nodes that it computes there."""

    kernel: Tunable
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Served:
    """How its rule serves a layer. Units: `taken` milliseconds of the kernel; `share` of what arithmetic or memory could do at most."""

    layer: Layer
    taken: float
    share: float

    @property
    def lost(self) -> float:
        """Milliseconds that the network would save if the kernel did what the machine can."""
        return len(self.layer.nodes) * self.taken * (1 - self.share)


def layers(graph: Graph, winograd: str = "auto", processor: Processor = AVX512) -> list[Layer]:
    """The tunable kernels of a network whose sizes are numbers, each once."""
    found: dict[str, tuple[Tunable, list[str]]] = {}
    for work in plan(graph, winograd, processor=processor).works.values():
        if work.tunable is not None:
            found.setdefault(work.tunable.key, (work.tunable, []))[1].append(work.covers[0].name)
    return [Layer(kernel, tuple(nodes)) for kernel, nodes in found.values()]


def survey(bench: Bench, threads: int, given: Sequence[Layer]) -> list[Served]:
    """The layers as their rules serve them, the most to win first."""
    taken: list[float] = []
    for layer in given:
        function = layer.kernel.build(None)
        with tempfile.TemporaryDirectory(prefix="convc-") as folder:
            prepared = bench.prepare([(library([function], Path(folder) / "rule.so"), 1)], function, layer.kernel.weights)
        taken.append(float(np.quantile(bench.times(prepared, [0], SURVEY), FAST)))
    compute, memory = bench.roofs(threads)
    kernels = [layer.kernel for layer in given]
    compute = max(compute, *(kernel.macs / ms for kernel, ms in zip(kernels, taken, strict=True)))  # a busy machine's peak was too low
    shares = [max(kernel.macs / compute, kernel.bytes / memory) / ms for kernel, ms in zip(kernels, taken, strict=True)]
    served = [Served(layer, ms, min(1.0, share)) for layer, ms, share in zip(given, taken, shares, strict=True)]
    return sorted(served, key=lambda each: -each.lost)


def tune(
    given: Sequence[Served], open_bench: Callable[[], Bench], workers: int, machine: str, trials: int, deadline: float
) -> Iterator[tuple[Served, Found | ConvcError]]:
    """Each layer as it is finished, or why a worker gave up; `workers` benches are used at a time until `deadline`, by time.monotonic.

    Raises: BackendMissing when no worker is left, or none is heard of.
    """
    waiting, results = queue.SimpleQueue[Served](), queue.SimpleQueue[tuple[Served, Found | BaseException] | None]()
    for served in given:
        waiting.put(served)
    stopped = threading.Event()

    def stop() -> bool:
        return stopped.is_set() or time.monotonic() >= deadline

    def work() -> None:
        while not stop():
            try:
                served = waiting.get_nowait()
            except queue.Empty:
                break
            try:
                found = tune_kernel(open_bench(), served.layer.kernel, machine, trials, stop)
            except BaseException as error:
                waiting.put(served)
                results.put((served, error))
                break
            if found is not None:
                results.put((served, found))
        results.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]  # one that hangs must not keep the process
    for thread in threads:
        thread.start()
    failed: ConvcError | None = None
    left = workers
    try:
        while left:
            try:
                result = results.get(timeout=SESSION + PATIENCE)
            except queue.Empty:
                raise BackendMissing(
                    f"nothing was heard of {left} measuring processes for {SESSION + PATIENCE:.0f} s; what was finished is kept"
                ) from None
            if result is None:
                left -= 1
            elif isinstance(result[1], Found):
                yield result[0], result[1]
            elif isinstance(result[1], ConvcError):
                failed = result[1]
                yield result[0], failed
            else:
                raise result[1]
        if failed is not None and not waiting.empty() and not stop():
            raise failed
    finally:
        stopped.set()
        for thread in threads:
            thread.join(PATIENCE)


def tune_kernel(bench: Bench, kernel: Tunable, machine: str, trials: int, stop: Callable[[], bool]) -> Found | None:
    """The verdict about one kernel; None if it was stopped before any form was compiled, or before the verdict."""
    forms = list(kernel.forms())
    random.Random(kernel.key).shuffle(forms)
    candidates = [None, *forms[:trials]]
    with tempfile.TemporaryDirectory(prefix="convc-") as folder:
        libraries = _compiled(kernel, candidates, Path(folder), stop)
        prepared = bench.prepare(libraries, kernel.build(None), kernel.weights)
    tried = len(prepared.evaluators)
    left = list(range(tried))
    for rounds, kept in ROUNDS:
        if stop() or tried < 2:
            return None
        times = np.quantile(bench.times(prepared, left, rounds), FAST, axis=0)
        left = [at for _, at in sorted(zip(times, left, strict=True)) if at][:kept]  # without the rule's, which is 0
    best = left[0]
    rule, form = bench.times(prepared, [0, best], DECIDING).T
    chosen: dict[str, Any] | None = asdict(forms[best - 1]) if is_faster(rule, form) else None
    return Found(machine, kernel.key, chosen, float(np.median(rule)), float(np.median(form)), tried - 1)


def is_faster(rule: Array, form: Array) -> bool:
    """Whether a form beats the rule's by the margin, turn against turn and at their best, in both halves of the turns."""
    halves = zip(np.array_split(rule, 2), np.array_split(form, 2), strict=True)
    return all(min(np.median(a / b), np.quantile(a, FAST) / np.quantile(b, FAST)) >= MARGIN for a, b in halves)


def _compiled(kernel: Tunable, forms: Sequence[Any], folder: Path, stop: Callable[[], bool]) -> list[tuple[Path, int]]:
    """Libraries of the forms in order, as many as are done before the stop; TVM lets go of the interpreter's lock."""

    def compiled(first: int) -> tuple[Path, int] | None:
        chunk = forms[first : first + CHUNK]
        return None if stop() else (library([kernel.build(form) for form in chunk], folder / f"{first}.so"), len(chunk))

    with ThreadPoolExecutor(physical_cores()) as pool:
        made = list(pool.map(compiled, range(0, len(forms), CHUNK)))
    return made[: made.index(None)] if None in made else made  # pyright: ignore[reportReturnType]
