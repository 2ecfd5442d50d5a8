"""The tuner. Kernels that their rules serve worst come first; each is computed in other forms beside the rule's, turn by turn.

A form takes the rule's place only if it wins, by MARGIN, two comparisons of these two alone, one some time after the other, that had no
part in choosing it; the rule's stays where it loses two, and where they do not agree nothing is kept. Nor does a round count in which
something was faster than the machine can be, by its peak as measured again in that round. Forms are drawn at random where
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
from ....ir.load import ROUNDS, agreed
from ....ir.types import Array
from ..cpu.kernels.kernel import Tunable, form_of
from ..store.tuned_forms import Found
from .compiling import compiled_libraries
from .crew import PATIENCE, Crew, Unconfirmed
from .peak import MachinePeak
from .survey import Served
from .timing import FAST, Bench, OpenBench, PreparedForms

__all__ = ["tune", "wins"]

MARGIN = 1.03  # by how much faster a form must be
CHUNK = 4  # forms of a library, which is made in one go, some seconds: linking takes as long as compiling one
HEATS = ((4, 6), (12, 1))  # turns of each form that is left, and how many are kept; the fastest quarter of turns counts
DECIDING = 32  # turns of a last comparison
APART = 1.0  # seconds between two of them: what disturbed one is mostly over by then


def tune(
    given: Sequence[Served],
    open_bench: OpenBench,
    peak: MachinePeak,
    workers: int,
    machine: str,
    trials: int,
    deadline: float,
    known: Mapping[str, Found],
) -> Iterator[tuple[Served, Found | Unconfirmed | ConvcError]]:
    """Each layer as it is finished, confirmed or not, or why a worker gave up; `workers` benches are used at a time until `deadline`, by
    time.monotonic. What seems faster than the `peak` has that measured again.

    `known` is what was found before, by the kernels' keys; a form of it is tried again.

    Raises: BackendMissing when no worker is left, or none is heard of.
    """
    crew = Crew(given, deadline)

    def tuned(served: Served) -> Found | Unconfirmed | None:
        kernel = served.layer.kernel
        return tune_kernel(open_bench, kernel, candidates(kernel, trials, known.get(kernel.key)), machine, crew.asked, peak)

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
    open_bench: OpenBench, kernel: Tunable, forms: Sequence[Any], machine: str, stop: Callable[[], bool], peak: MachinePeak
) -> Found | Unconfirmed | None:
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
    for turns, kept in HEATS:
        if stop():
            return None
        times = np.quantile(bench.times(prepared, left, turns), FAST, axis=0)
        left = [at for _, at in sorted(zip(times, left, strict=True)) if at][:kept]  # without the rule's, which is 0
    best = left[0]
    won, compared = _compared(bench, prepared, best, kernel, peak, stop)
    if won is None and stop():
        return None
    if won is None:
        return _unconfirmed(kernel, compared, peak)
    rule, form = np.median(np.concatenate(compared[-2:]), axis=0)
    return Found(machine, kernel.key, asdict(forms[best - 1]) if won else None, float(rule), float(form), tried - 1)


def _compared(
    bench: Bench, prepared: PreparedForms, best: int, kernel: Tunable, peak: MachinePeak, stop: Callable[[], bool]
) -> tuple[bool | None, list[Array]]:
    """Whether that form beats the rule's, None where no two rounds in succession agree; and the rounds, some time apart. Those in which
    one of the two is faster than can be say nothing, unless the peak turns out to be higher.
    """
    compared: list[Array] = []
    won: bool | None = None
    while won is None and len(compared) < ROUNDS and not stop():
        if compared:
            time.sleep(APART)
        compared.append(bench.times(prepared, [0, best], DECIDING))
        if _is_beyond(compared[-1], kernel, peak):
            peak.measure(bench)
        won = agreed(None if _is_beyond(taken, kernel, peak) else wins(taken[:, 0], taken[:, 1]) for taken in compared)
    return won, compared


def _is_beyond(taken: Array, kernel: Tunable, peak: MachinePeak) -> bool:
    return bool(taken.min() < peak.least(kernel))


def _unconfirmed(kernel: Tunable, compared: Sequence[Array], peak: MachinePeak) -> Unconfirmed:
    gains = tuple(float(np.median(taken[:, 0] / taken[:, 1])) for taken in compared)
    beyond = sum(_is_beyond(taken, kernel, peak) for taken in compared)
    faster = f"in {beyond} of {len(compared)} rounds it was faster than the peak of this machine allows, which was measured again in each"
    return Unconfirmed(kernel.key, gains, faster if beyond else "rounds apart do not agree")


def wins(rule: Array, form: Array) -> bool | None:
    """Whether a form beats the rule's by the margin, turn against turn and at their best, in both halves of the turns; None where it does
    in one of them.
    """
    halves = zip(np.array_split(rule, 2), np.array_split(form, 2), strict=True)
    won = [bool(min(np.median(a / b), np.quantile(a, FAST) / np.quantile(b, FAST)) >= MARGIN) for a, b in halves]
    return won[0] if won[0] == won[1] else None
