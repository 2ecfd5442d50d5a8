"""The tuner. Kernels that their rules serve worst come first; each is computed in other forms beside the rule's, turn by turn.

A form takes the rule's place only if it wins, by MARGIN, a comparison of these two alone that had no part in choosing it. Forms are drawn
at random where there are more than trials: they are few, and no model of their cost is needed. TVM's MetaSchedule, given such a kernel
without a schedule, had measured nothing after a minute on two cores.
"""

from __future__ import annotations

import functools
import queue
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....ir.errors import BackendMissing, ConvcError
from ....ir.graph import Graph
from ....ir.types import Array
from ..cpu.kernels.kernel import Tunable, form_of
from ..cpu.plan import plan
from ..host import physical_cores
from ..processor import AVX512, Processor
from ..store.tuned_forms import Found
from .timing import SESSION, Bench, library

__all__ = ["Layer", "Served", "is_faster", "layers", "survey", "tune"]

MARGIN = 1.03  # by how much faster a form must be
CHUNK = 4  # forms of a library, which is made in one go, some seconds: linking takes as long as compiling one
PATIENCE = 60.0  # seconds for a worker to come to an end; an interpreter that ends amid a kernel's compilation crashes
ROUNDS = ((4, 6), (12, 1))  # turns of each form that is left, and how many are kept; the fastest quarter of turns counts
DECIDING = 40  # turns of the last comparison
SURVEY = 6
FAST = 0.25
LAYERS = 8  # whose rules' forms are timed in one session
GLANCE = 0.2  # seconds between two looks for a layer that another worker gives back

Build = Callable[[], Any]  # of a PrimFunc
OpenBench = Callable[[], Bench]  # whose session is over when nobody holds it any more


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
        if work.kernel.tunable is not None:
            found.setdefault(work.kernel.tunable.key, (work.kernel.tunable, []))[1].append(work.covers[0].name)
    return [Layer(kernel, tuple(nodes)) for kernel, nodes in found.values()]


def survey(open_bench: OpenBench, threads: int, given: Sequence[Layer], deadline: float) -> list[Served]:
    """The layers as their rules serve them, the most to win first; of `given` as many as are begun before `deadline`, by time.monotonic."""

    def stop() -> bool:
        return time.monotonic() >= deadline

    taken: list[float] = []
    for first in range(0, len(given), LAYERS):
        taken += _rule_times(open_bench, [layer.kernel for layer in given[first : first + LAYERS]], stop)
    if not taken:
        return []
    given = given[: len(taken)]
    kernels = [layer.kernel for layer in given]
    compute, memory = open_bench().roofs(threads)
    compute = max(compute, *(kernel.macs / ms for kernel, ms in zip(kernels, taken, strict=True)))  # a busy machine's peak was too low
    shares = [max(kernel.macs / compute, kernel.bytes / memory) / ms for kernel, ms in zip(kernels, taken, strict=True)]
    served = [Served(layer, ms, min(1.0, share)) for layer, ms, share in zip(given, taken, shares, strict=True)]
    return sorted(served, key=lambda each: -each.lost)


def _rule_times(open_bench: OpenBench, kernels: Sequence[Tunable], stop: Callable[[], bool]) -> list[float]:
    """Milliseconds of the rules' forms, in a session that begins when all are compiled, and is over when this returns.

    As many, in order, as are compiled before the stop.
    """
    with tempfile.TemporaryDirectory(prefix="convc-") as folder:
        libraries = _compiled([[functools.partial(kernel.build, None)] for kernel in kernels], Path(folder), stop)
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
        taken.append(float(np.quantile(bench.times(prepared, [0], SURVEY), FAST)))
    return taken


def tune(
    given: Sequence[Served],
    open_bench: OpenBench,
    workers: int,
    machine: str,
    trials: int,
    deadline: float,
    known: Mapping[str, Found],
) -> Iterator[tuple[Served, Found | ConvcError]]:
    """Each layer as it is finished, or why a worker gave up; `workers` benches are used at a time until `deadline`, by time.monotonic.

    `known` is what was found before, by the kernels' keys; a form of it is tried again.

    Raises: BackendMissing when no worker is left, or none is heard of.
    """
    crew = _Crew(given, deadline)

    def work() -> None:
        crew.work(lambda kernel: tune_kernel(open_bench, kernel, candidates(kernel, trials, known.get(kernel.key)), machine, crew.asked))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]  # one that hangs must not keep the process
    for thread in threads:
        thread.start()
    try:
        yield from crew.results(workers)
    finally:
        crew.stopped.set()
        for thread in threads:
            thread.join(PATIENCE)


class _Crew:
    """Workers that take layers from one queue. A layer comes back to it when its worker fails, so none leaves while others are at work."""

    def __init__(self, given: Sequence[Served], deadline: float) -> None:
        self.waiting = queue.Queue[Served]()  # its unfinished_tasks count those that are being tuned as well
        self.said = queue.SimpleQueue[tuple[Served, Found | BaseException] | None]()
        self.stopped = threading.Event()
        self.deadline = deadline
        self.heard = time.monotonic()
        for served in given:
            self.waiting.put(served)

    def is_over(self) -> bool:
        return self.stopped.is_set() or time.monotonic() >= self.deadline

    def asked(self) -> bool:
        """`is_over` for those at work, who are heard by it: compiling many forms takes longer than all that is measured."""
        self.heard = time.monotonic()
        return self.is_over()

    def work(self, tuned: Callable[[Tunable], Found | None]) -> None:
        """One worker, until nothing is left, it fails, or the time is over."""
        while self.waiting.unfinished_tasks and not self.is_over():
            try:
                served = self.waiting.get(timeout=GLANCE)
            except queue.Empty:
                continue
            try:
                found = tuned(served.layer.kernel)
            except BaseException as error:
                self.waiting.put(served)
                self.said.put((served, error))
                break
            finally:
                self.waiting.task_done()
            if found is not None:
                self.said.put((served, found))
        self.said.put(None)

    def results(self, workers: int) -> Iterator[tuple[Served, Found | ConvcError]]:
        """What so many workers say.

        Raises: BackendMissing when they are silent for too long; why the last of them failed, if layers are left; what is no refusal.
        """
        failed: ConvcError | None = None
        while workers:
            result = self._hear(workers)
            if result is None:
                workers -= 1
            elif isinstance(result[1], Found):
                yield result[0], result[1]
            elif isinstance(result[1], ConvcError):
                failed = result[1]
                yield result[0], failed
            else:
                raise result[1]
        if failed is not None and self.waiting.unfinished_tasks and not self.is_over():
            raise failed

    def _hear(self, workers: int) -> tuple[Served, Found | BaseException] | None:
        left = most = SESSION + PATIENCE
        while left > 0:
            try:
                return self.said.get(timeout=left)
            except queue.Empty:
                left = self.heard + most - time.monotonic()  # somebody may have asked since
        raise BackendMissing(f"nothing was heard of {workers} measuring processes for {most:.0f} s; what was finished is kept")


def candidates(kernel: Tunable, trials: int, before: Found | None) -> list[Any]:
    """So many forms of a kernel at most: first the one that was found `before`, which a new verdict replaces, then others by lot."""
    forms = list(kernel.forms())
    random.Random(kernel.key).shuffle(forms)
    first = None if before is None else form_of(kernel, {kernel.key: before.form})
    return sorted(forms, key=lambda form: form != first)[:trials]


def tune_kernel(open_bench: OpenBench, kernel: Tunable, forms: Sequence[Any], machine: str, stop: Callable[[], bool]) -> Found | None:
    """The verdict about one kernel; None if it was stopped before any form was compiled, or before the verdict.

    A session's time begins when all is compiled.
    """
    builds = [functools.partial(kernel.build, form) for form in (None, *forms)]
    with tempfile.TemporaryDirectory(prefix="convc-") as folder:
        libraries = _compiled([builds[first : first + CHUNK] for first in range(0, len(builds), CHUNK)], Path(folder), stop)
        tried = sum(count for _, count in libraries)
        if stop() or tried < 2:
            return None
        bench = open_bench()
        prepared = bench.prepare(libraries, kernel.build(None), kernel.weights)
    left = list(range(tried))
    for rounds, kept in ROUNDS:
        if stop():
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


def _compiled(chunks: Sequence[Sequence[Build]], folder: Path, stop: Callable[[], bool]) -> list[tuple[Path, int]]:
    """A library of each chunk in order, as many as are done before the stop; TVM lets go of the interpreter's lock."""

    def compiled(at: int) -> tuple[Path, int] | None:
        return None if stop() else (library([build() for build in chunks[at]], folder / f"{at}.so"), len(chunks[at]))

    with ThreadPoolExecutor(physical_cores()) as pool:
        made = list(pool.map(compiled, range(len(chunks))))
    return made[: made.index(None)] if None in made else made  # pyright: ignore[reportReturnType]
