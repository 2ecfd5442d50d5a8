"""One engine in a process of its own, run when its turn comes. It is told what to do in lines of JSON, and answers in such lines.

After a run an engine's threads spin for a while in hope of more work, and would take the cores of the next engine. So a turn begins with
runs that are not counted, which wake the threads and fetch the weights, and ends when the process uses no processor any more.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...ir.binding import specialize
from ...ir.errors import ConvcError
from ...ir.graph import Graph
from ...ir.memory import forget_peak, memory_sentences, peak_bytes
from ...ir.parser import parse_graph
from ..engines.memory import need_run
from ..engines.optimize import optimize
from ..engines.table import measurable
from ..files.artifact import CIR, WEIGHTS
from ..files.inputs import random_inputs
from ..files.weights import bind_weights, load_arrays
from .layer_times import LayerTime, layer_times
from .streams import Streams

__all__ = ["BANDWIDTH", "PEAK", "Asked", "Assignment", "Job", "Profiled", "Ready", "Refused", "Turn", "job_of", "main"]

PEAK, BANDWIDTH = "peak", "bandwidth"  # not engines: what the processor and the memory do at most
GLANCE, IDLE, PATIENCE = 0.005, 0.05, 1.0  # seconds between looks; the share of a core below which nobody spins; seconds until we give up


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is started for: an engine, the network in `folder` optimized at `level`, and numbers for all named sizes; `streams`
    runs are under way at once, each with so many `threads`, after `warmup` seconds of some that do not count. Turns of a small network
    are `short` unless their seconds are what was asked for.
    """

    engine: str
    level: int
    threads: int
    sizes: Mapping[str, int]
    folder: str
    streams: int = 1
    warmup: float = 0.0
    short: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """A line to the worker: a turn or, where `profiled` is not 0, a profile of so many runs."""

    profiled: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker's first line: `start` seconds until the first result, and the `amount` and the `arena` of its Job."""

    start: float
    amount: int
    quiet: bool
    arena: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """The answer of a turn: `milliseconds` of each counted run of any stream, and the `seconds` in which all of them were; how many
    `processors` it had on average, and the most `bytes` in memory since it was ready, if known; whether its threads came to rest (`quiet`).
    """

    milliseconds: Sequence[float]
    seconds: float
    processors: float
    bytes: int | None
    quiet: bool


@dataclass(frozen=True, slots=True)
class Profiled:
    """The answer of a profile: the fields of each LayerTime."""

    layers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Refused:
    """A worker's last line: a ConvcError, by the name of its class."""

    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker runs, how much that does (FLOP or bytes; 0 for a network), what so many runs take by layers, and the bytes of its
    intermediates where they are planned.
    """

    run: Callable[[], object]
    amount: int = 0
    layers: Callable[[int], list[LayerTime]] = lambda runs: []
    arena: int | None = None


def main() -> None:
    """The process: one Assignment as an argument, then lines of Asked on standard input until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks hears it, and hangs up
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what engines print is no answer

    def say(answer: Ready | Turn | Profiled | Refused) -> None:
        print(json.dumps(asdict(answer)), file=answers, flush=True)

    try:
        task = Assignment(**json.loads(sys.argv[1]))
        begin = time.perf_counter()
        with memory_sentences():
            job = job_of(task)
            job.run()
        started = time.perf_counter() - begin
        is_known = forget_peak()  # compiling takes more than running
        streams = Streams(job.run, task.streams, short=task.short)
        if task.warmup or task.streams > 1:
            streams.warm(task.warmup)
        say(Ready(started, job.amount, _wait_until_quiet(), job.arena))
        for line in sys.stdin:
            asked = Asked(**json.loads(line))
            if asked.profiled:
                say(Profiled([asdict(layer) for layer in job.layers(asked.profiled)]))
                continue
            begin, used = time.perf_counter(), time.process_time()
            taken, seconds = streams.turn()
            processors = (time.process_time() - used) / (time.perf_counter() - begin)
            say(Turn(taken, seconds, processors, peak_bytes() if is_known else None, _wait_until_quiet()))
        streams.close()
    except ConvcError as error:
        say(Refused(type(error).__name__, str(error)))


def job_of(task: Assignment) -> Job:
    """The engine, started; PEAK and BANDWIDTH are kernels of TVM's."""
    if task.engine in (PEAK, BANDWIDTH):
        from ...backends.tvm.host import tvm
        from ...backends.tvm.tuning.roofs import fma_kernel, read_kernel

        tvm(task.threads)
        return Job(*(fma_kernel if task.engine == PEAK else read_kernel)(task.threads))
    engine = measurable()[task.engine]
    graph, _ = optimize(specialize(_network(Path(task.folder)), task.sizes), task.level, prices=engine.prices)
    inputs = random_inputs(graph)
    need_run(graph, inputs)
    if engine.start_profiled is None:
        run = engine.start(graph, task.threads)
        return Job(lambda: run(inputs))
    watched = engine.start_profiled(graph, task.threads)
    return Job(lambda: watched.run(inputs), layers=lambda runs: layer_times(graph, watched.profile(inputs, runs)), arena=watched.arena)


def _network(folder: Path) -> Graph:
    """As `bench` wrote it: without a weights file where all weights are drawn by recipe."""
    graph = parse_graph((folder / CIR).read_text(encoding="utf-8"), CIR)
    weights = folder / WEIGHTS
    return bind_weights(graph, load_arrays(weights), WEIGHTS) if weights.exists() else graph


def _wait_until_quiet() -> bool:
    """Whether all threads of the process came to rest."""
    end = time.perf_counter() + PATIENCE
    while time.perf_counter() < end:
        begin, used = time.perf_counter(), time.process_time()
        time.sleep(GLANCE)
        if time.process_time() - used < IDLE * (time.perf_counter() - begin):
            return True
    return False


if __name__ == "__main__":
    main()
