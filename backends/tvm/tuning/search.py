"""The tuner. Kernels that their rules serve worst come first; each is computed in other forms beside the rule's, turn by turn.

A form takes the rule's place only if it wins, by MARGIN, two comparisons of these two alone, one some time after the other, that had no
part in choosing it; the rule's stays where it loses two, and where they do not agree nothing is kept. Forms are drawn at random where
there are more than trials: they are few, and no model of their cost is needed. TVM's MetaSchedule, given such a kernel without a schedule,
had measured nothing after a minute on two cores.
"""

from __future__ import annotations

import functools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ....ir.errors import ConvcError
from ....ir.files import temporary_folder
from ....ir.load import agreed
from ....ir.types import Array
from ..cpu.kernels.kernel import Tunable, form_of
from ..store.tuned_forms import Found
from .compiling import compiled_libraries
from .crew import PATIENCE, Crew, Unconfirmed
from .survey import Served
from .timing import FAST, OpenBench

__all__ = ["tune", "wins"]

MARGIN = 1.03  # by how much faster a form must be
CHUNK = 4  # forms of a library, which is made in one go, some seconds: linking takes as long as compiling one
ROUNDS = ((4, 6), (12, 1))  # turns of each form that is left, and how many are kept; the fastest quarter of turns counts
DECIDING = 32  # turns of a last comparison
APART = 1.0  # seconds between two of them: what disturbed one is mostly over by then


def tune(
    given: Sequence[Served],
    open_bench: OpenBench,
    workers: int,
    machine: str,
    trials: int,
    deadline: float,
    known: Mapping[str, Found],
) -> Iterator[tuple[Served, Found | Unconfirmed | ConvcError]]:
    """Each layer as it is finished, confirmed or not, or why a worker gave up; `workers` benches are used at a time until `deadline`, by
    time.monotonic.

    `known` is what was found before, by the kernels' keys; a form of it is tried again.

    Raises: BackendMissing when no worker is left, or none is heard of.
    """
    crew = Crew(given, deadline)

    def tuned(served: Served) -> Found | Unconfirmed | None:
        kernel = served.layer.kernel
        return tune_kernel(open_bench, kernel, candidates(kernel, trials, known.get(kernel.key)), machine, crew.asked, served.least)

    def work() -> None:
        crew.work(tuned)

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


def tune_kernel(
    open_bench: OpenBench, kernel: Tunable, forms: Sequence[Any], machine: str, stop: Callable[[], bool], least: float = 0.0
) -> Found | Unconfirmed | None:
    """The verdict about one kernel, of which no form can take less than `least` milliseconds; None if it was stopped before any form was
    compiled, or before the verdict.

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
    compared = list[Array]()
    won = agreed(_wins(lambda: bench.times(prepared, [0, best], DECIDING), compared, least, stop))
    if won is None and stop():
        return None
    if won is None:
        return Unconfirmed(kernel.key, tuple(float(np.median(times[:, 0] / times[:, 1])) for times in compared))
    rule, form = np.median(np.concatenate(compared[-2:]), axis=0)
    return Found(machine, kernel.key, asdict(forms[best - 1]) if won else None, float(rule), float(form), tried - 1)


def _wins(compare: Callable[[], Array], compared: list[Array], least: float, stop: Callable[[], bool]) -> Iterator[bool | None]:
    """The verdicts of rounds, some time apart, each of which is added to those `compared`; none of one that is faster than can be."""
    while not stop():
        if compared:
            time.sleep(APART)
        compared.append(compare())
        rule, form = compared[-1].T
        yield None if compared[-1].min() < least else wins(rule, form)


def wins(rule: Array, form: Array) -> bool | None:
    """Whether a form beats the rule's by the margin, turn against turn and at their best, in both halves of the turns; None where it does
    in one of them.
    """
    halves = zip(np.array_split(rule, 2), np.array_split(form, 2), strict=True)
    won = [bool(min(np.median(a / b), np.quantile(a, FAST) / np.quantile(b, FAST)) >= MARGIN) for a, b in halves]
    return won[0] if won[0] == won[1] else None
