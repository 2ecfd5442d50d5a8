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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...ir.binding import specialize
from ...ir.errors import ConvcError
from ...ir.graph import Graph
from ...ir.parser import parse_graph
from ..engines.optimize import optimize
from ..engines.table import measurable
from ..files.artifact import CIR, WEIGHTS
from ..files.inputs import random_inputs
from ..files.weights import bind_weights, load_arrays
from .layer_times import layer_times

__all__ = ["BANDWIDTH", "PEAK", "Task", "main", "started"]

PEAK, BANDWIDTH = "peak", "bandwidth"  # not engines: what the processor and the memory do at most
WAKE = 0.03  # seconds of uncounted runs, at least one
COUNT, MOST = 0.1, 100  # seconds of counted runs, at least one and at most so many
GLANCE, IDLE, PATIENCE = 0.005, 0.05, 1.0  # seconds between looks; the share of a core below which nobody spins; seconds until we give up


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is started for: an engine, the network in `folder` optimized at `level`, and numbers for all named sizes."""

    engine: str
    level: int
    threads: int
    sizes: Mapping[str, int]
    folder: str


def main() -> None:
    """The process: one Task as an argument, then requests `turn`, `profile` on standard input until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks hears it, and hangs up
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what engines print is no answer

    def say(**what: Any) -> None:
        print(json.dumps(what), file=answers, flush=True)

    try:
        task = Task(**json.loads(sys.argv[1]))
        begin = time.perf_counter()
        run, amount, profile = started(task)
        run()
        say(start=time.perf_counter() - begin, amount=amount, quiet=_wait_until_quiet())
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "turn":
                say(milliseconds=_turn(run), quiet=_wait_until_quiet())
            else:
                say(layers=profile(request["runs"]))
    except ConvcError as error:
        say(error=type(error).__name__, message=str(error))


def started(task: Task) -> tuple[Callable[[], object], int, Callable[[int], list[Any]]]:
    """A run, how much it does (FLOP or bytes; 0 for a network), and a profile."""
    if task.engine in (PEAK, BANDWIDTH):
        from ...backends.tvm.host import tvm
        from ...backends.tvm.tuning.roofs import fma_kernel, read_kernel

        tvm(task.threads)
        run, amount = (fma_kernel if task.engine == PEAK else read_kernel)(task.threads)
        return run, amount, lambda runs: []
    engine = measurable()[task.engine]
    graph, _ = optimize(specialize(_network(Path(task.folder)), task.sizes), task.level, prices=engine.prices)
    inputs = random_inputs(graph)
    if engine.start_profiled is None:
        run_network = engine.start(graph, task.threads)
        return lambda: run_network(inputs), 0, lambda runs: []
    run_network, profile = engine.start_profiled(graph, task.threads)
    return lambda: run_network(inputs), 0, lambda runs: [asdict(layer) for layer in layer_times(graph, profile(inputs, runs))]


def _network(folder: Path) -> Graph:
    """As `bench` wrote it: without a weights file where all weights are drawn by recipe."""
    graph = parse_graph((folder / CIR).read_text(encoding="utf-8"), CIR)
    weights = folder / WEIGHTS
    return bind_weights(graph, load_arrays(weights), WEIGHTS) if weights.exists() else graph


def _turn(run: Callable[[], object]) -> list[float]:
    """Milliseconds of every counted run."""
    begin = time.perf_counter()
    run()
    while time.perf_counter() - begin < WAKE:
        run()
    taken: list[float] = []
    while not taken or (sum(taken) < COUNT * 1e3 and len(taken) < MOST):
        begin = time.perf_counter()
        run()
        taken.append((time.perf_counter() - begin) * 1e3)
    return taken


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
