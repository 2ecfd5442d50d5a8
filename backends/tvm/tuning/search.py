"""The tuner. Kernels that their rules serve worst come first; each is computed in other forms beside the rule's, turn by turn.

A form takes the rule's place only if it wins, by MARGIN, a comparison of these two alone that had no part in choosing it. Forms are drawn
at random where there are more than trials: they are few, and no model of their cost is needed. TVM's MetaSchedule, given such a kernel
without a schedule, had measured nothing after a minute on two cores.
"""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ....ir.errors import ConvcError
from ....ir.files import temporary_folder
from ....ir.types import Array
from ..cpu.kernels.kernel import Tunable, form_of
from ..store.tuned_forms import Found
from .compiling import compiled_libraries
from .crew import PATIENCE, Crew
from .survey import Served
from .timing import FAST, OpenBench

__all__ = ["is_faster", "tune"]

MARGIN = 1.03  # by how much faster a form must be
CHUNK = 4  # forms of a library, which is made in one go, some seconds: linking takes as long as compiling one
ROUNDS = ((4, 6), (12, 1))  # turns of each form that is left, and how many are kept; the fastest quarter of turns counts
DECIDING = 40  # turns of the last comparison


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
    crew = Crew(given, deadline)

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


def candidates(kernel: Tunable, trials: int, before: Found | None) -> list[Any]:
    """So many forms of a kernel at most: first the one that was found `before`, which a new verdict replaces, then others by lot."""
    forms = list(kernel.forms())
    random.Random(kernel.key).shuffle(forms)
    first = None if before is None or before.form is None else form_of(kernel, {kernel.key: before.form})
    return sorted(forms, key=lambda form: form != first)[:trials]


def tune_kernel(open_bench: OpenBench, kernel: Tunable, forms: Sequence[Any], machine: str, stop: Callable[[], bool]) -> Found | None:
    """The verdict about one kernel; None if it was stopped before any form was compiled, or before the verdict.

    A session's time begins when all is compiled.
    """
    builds = [functools.partial(kernel.build, form) for form in (None, *forms)]
    with temporary_folder() as folder:
        libraries = compiled_libraries([builds[first : first + CHUNK] for first in range(0, len(builds), CHUNK)], folder, stop)
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
