"""How fast engines run a network: each in a process of its own, turn by turn, so that what else the machine does meets all alike.

In one process they would disturb each other: onnxruntime took 45 ms for a network beside TVM and OpenVINO that it runs in 13 ms alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from ...ir import errors
from ...ir.binding import batch_names, need_elements
from ...ir.errors import BackendMissing, ConvcError, UnsupportedOp, UsageError
from ...ir.files import temporary_folder
from ...ir.graph import Graph
from ...ir.printer import print_graph
from ...ir.progress import each
from ...ir.usual_sizes import usual_sizes
from ...passes.analysis.cost import graph_cost
from ..engines.optimize import optimize
from ..engines.table import measurable
from ..files.artifact import CIR, WEIGHTS
from ..files.weights import weights_bytes
from .layer_times import LayerTime
from .worker import BANDWIDTH, PEAK, Asked, Assignment, Profiled, Ready, Refused, Turn

__all__ = ["PROFILED_RUNS", "Contender", "Measured", "Timing", "Worker", "bandwidth", "measure", "need_batch", "write_network"]

BUSY = 1.3  # times the best turn: on a quiet machine the middle one is within 1.05
MOST_SHARE = 4.2  # of the peak: F(4x4) of Winograd takes a quarter of the products, and no kernel saves more
FEWER = ("winograd", "strassen")  # kernels that do fewer multiply-adds than are counted; all others do each
DIRECT_SHARE = 1.1  # of the peak: clocks are not the same in two turns
PROFILED_RUNS = 30

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contender:
    """An engine, and the level at which its network is optimized; `name` is what the user called it."""

    name: str
    engine: str
    level: int


@dataclass(frozen=True, slots=True)
class Timing:
    """One engine's runs. Units: `start` seconds until its first result; `median`, `p10`, `p90` milliseconds a run; `gflops` GFLOP/s.

    FLOP are those of direct convolutions, for all engines alike: `peak_share`, of the measured peak, may exceed 1 for who does with fewer.
    `quiet` is false where the engine's threads still spun when the next one's turn came.
    """

    engine: str
    start: float
    runs: int
    median: float
    p10: float
    p90: float
    gflops: float
    peak_share: float | None
    quiet: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """All engines in the order given. `peak` is the fastest turn of independent multiply-adds in GFLOP/s, None without TVM; `slowed` how
    much longer than the fastest such turn the middle one took: what else the machine did meanwhile. `profiles` are the kernels of each
    engine that can time them, where they were asked for.
    """

    timings: list[Timing]
    peak: float | None
    profiles: dict[str, list[LayerTime]]
    slowed: float | None = None

    @property
    def doubts(self) -> list[str]:
        """Why these times are not to be trusted, a sentence each; none on a quiet machine."""
        found = list[str]()
        if self.slowed is not None and self.slowed > BUSY:
            found.append(
                f"the machine is busy: the same multiply-adds took {self.slowed:.1f} times as long in a middling turn as in the best"
            )
        for timing in self.timings:
            if timing.peak_share is not None and timing.peak_share > MOST_SHARE:
                found.append(
                    f"{timing.engine} at {timing.peak_share:.0%} of the peak is more than any algorithm here saves: the peak is wrong"
                )
        layers = [layer for layers in self.profiles.values() for layer in layers]
        if far := [layer for layer in layers if self.peak and layer.gflops > MOST_SHARE * self.peak]:
            found.append(f"{far[0].kernel} at {far[0].gflops / (self.peak or 1):.0%} of the peak is more than any algorithm here saves")
        direct = [layer for layer in layers if self.peak and not layer.kernel.startswith(FEWER) and layer.gflops > DIRECT_SHARE * self.peak]
        if direct:
            most = max(direct, key=lambda layer: layer.gflops)
            found.append(
                f"{most.kernel} of {', '.join(most.nodes)} at {most.gflops / (self.peak or 1):.0%} of the peak does all the multiply-adds "
                "that are counted: the peak was measured while the machine was busier, and no share of it says how near the limit is"
            )
        return found


def measure(
    graph: Graph,
    contenders: Sequence[Contender],
    threads: int,
    turns: int,
    *,
    batch: int = 1,
    profile: bool = False,
    level: int = 2,
    left_out: Callable[[str], None] | None = None,
) -> Measured:
    """Times of one network, all its named sizes pinned: the batch to `batch`, others to usual ones. FLOP are counted at `level`.

    An engine that is not here or cannot run the network is told to `left_out`, where given.

    Raises: BackendMissing or UnsupportedOp for such an engine otherwise; ConvcError if one dies; UsageError for an empty input, or a batch
    that the network does not take.
    """
    need_elements(graph, "time")
    need_batch(graph, batch)
    sizes = usual_sizes(graph, dict.fromkeys(batch_names(graph), batch))
    flops = graph_cost(optimize(graph, level)[0], sizes).flops
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        write_network(graph, folder)
        workers: dict[str, Worker] = {}
        for contender in each("engines get ready", contenders):
            worker = stack.enter_context(Worker(Assignment(contender.engine, contender.level, threads, sizes, str(folder))))
            try:
                worker.wait()
            except (BackendMissing, UnsupportedOp) as error:
                if left_out is None:
                    raise
                left_out(f"{contender.name} is left out: {error}")
                continue
            workers[contender.name] = worker
        peak = _peak_worker(stack, threads)
        for _ in each("turns of all engines", range(turns)):
            for worker in [*workers.values(), *([peak] if peak else [])]:
                worker.turn()
        best = peak.amount / min(peak.taken) / 1e6 if peak else None
        timed = {name: worker for name, worker in workers.items() if profile and measurable()[worker.task.engine].start_profiled}
        profiles = {name: worker.profile(PROFILED_RUNS) for name, worker in timed.items()}
        slowed = statistics.median(peak.taken) / min(peak.taken) if peak else None
        return Measured([_timing(name, worker, flops, best) for name, worker in workers.items()], best, profiles, slowed)


def need_batch(graph: Graph, batch: int) -> None:
    """Raises: UsageError where nothing is as many images, and there is no name that could be: times would be of another batch."""
    ranked = [node for node in graph.inputs if node.typed.rank]
    if batch > 1 and ranked and not batch_names(graph) and all(node.typed.shape[0] != batch for node in ranked):
        first = ranked[0]
        rest = "".join(f",{dim}" for dim in first.typed.shape[1:])
        raise UsageError(f"input '{first.name}' is {first.type}, of no batch of {batch}; try --input {first.name}:N{rest}")


def bandwidth(threads: int, turns: int = 5) -> float:
    """The fastest read of memory beyond all caches, GB/s.

    Raises: BackendMissing without TVM.
    """
    with Worker(Assignment(BANDWIDTH, 0, threads, {}, "")) as worker:
        worker.wait()
        for _ in range(turns):
            worker.turn()
        return worker.amount / min(worker.taken) / 1e6


def write_network(graph: Graph, folder: Path) -> None:
    """The network for the workers; weights by recipe are drawn there anew."""
    (folder / CIR).write_text(print_graph(graph), encoding="utf-8")
    if any(node.weights is not None and node.weights.is_given for node in graph.params):
        (folder / WEIGHTS).write_bytes(weights_bytes(graph))


def _peak_worker(stack: ExitStack, threads: int) -> Worker | None:
    worker = stack.enter_context(Worker(Assignment(PEAK, 0, threads, {}, "")))
    try:
        worker.wait()
    except BackendMissing:
        return None
    return worker


class Worker:
    """A process with one engine, which ends with the block that it was started for."""

    def __init__(self, task: Assignment) -> None:
        self.task = task
        self.taken: list[float] = []
        self.start, self.amount, self.quiet = 0.0, 0, True
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(task.threads))  # the reference's, and torch's
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", json.dumps(asdict(task))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | threads,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.communicate()

    def wait(self) -> None:
        """Until the engine is ready."""
        ready = self._answer(Ready)
        self.start, self.amount = ready.start, ready.amount

    def turn(self) -> None:
        turn = self._ask(Asked(), Turn)
        self.taken += turn.milliseconds
        self.quiet = self.quiet and turn.quiet

    def profile(self, runs: int) -> list[LayerTime]:
        return [LayerTime(**layer) for layer in self._ask(Asked(runs), Profiled).layers]

    def _ask(self, what: Asked, answer: type[T]) -> T:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has gone, and its last words say why
            print(json.dumps(asdict(what)), file=self.process.stdin, flush=True)
        return self._answer(answer)

    def _answer(self, answer: type[T]) -> T:
        """Raises: the worker's own refusal; ConvcError if it died without one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ConvcError(f"the process that ran {self.task.engine} ended with {self.process.wait()}")
        said: dict[str, Any] = json.loads(line)
        if said.keys() == {field.name for field in fields(Refused)}:
            refused = Refused(**said)
            kind: type[ConvcError] = getattr(errors, refused.error)
            raise kind(refused.message)
        return answer(**said)


def _timing(name: str, worker: Worker, flops: int, peak: float | None) -> Timing:
    taken = worker.taken
    tenths = statistics.quantiles(taken, n=10, method="inclusive") if len(taken) > 1 else taken * 9
    median = statistics.median(taken)
    gflops = flops / median / 1e6
    return Timing(name, worker.start, len(taken), median, tenths[0], tenths[-1], gflops, gflops / peak if peak else None, worker.quiet)
