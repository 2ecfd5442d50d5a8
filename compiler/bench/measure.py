"""Measuring fast engines run a network: each in a process of its own, turn by turn, so that what else the machine does meets all alike.

In one process they would disturb each other: onnxruntime took 45 ms for a network beside TVM and OpenVINO that it runs in 13 ms alone.
What seems faster than this machine can be is measured again, the machine too.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from ...ir.binding import batch_names, need_elements
from ...ir.errors import BackendMissing, UnsupportedOp, UsageError
from ...ir.files import temporary_folder
from ...ir.graph import Graph, Node
from ...ir.limits import MOST_SAVED, MachineLimits, cache_bytes
from ...ir.load import Load, LoadWatch
from ...ir.op import Cost
from ...ir.printer import print_graph
from ...ir.progress import each, progress
from ...ir.usual_sizes import usual_sizes
from ...passes.analysis.cost import graph_cost
from ..engines.optimize import optimize
from ..engines.table import measurable
from ..files.artifact import CIR, WEIGHTS
from ..files.weights import weights_bytes
from .layer_times import LayerTime, faster_than_memory, steadiest
from .process import Worker
from .roofs import TURNS, Roofs
from .worker import Assignment, Turn

__all__ = ["Contender", "Measured", "Measuring", "Timing", "batch_of", "measure", "profiles_of", "write_network"]

PROFILED_RUNS = 15  # of a round
ROUNDS = 2  # of profiles, engine by engine
AGAIN = 2  # times that what cannot be is measured again
TAIL = 100  # runs, of which the slowest one in a hundred is one


@dataclass(frozen=True, slots=True)
class Contender:
    """An engine, and the level at which its network is optimized; `name` is what the user called it."""

    name: str
    engine: str
    level: int


@dataclass(frozen=True, slots=True)
class Measuring:
    """`streams` runs at once, on so many `threads` each; `turns` of a tenth of a second or, where `duration` is not 0, so many that each
    engine has had so many seconds. `warmup` are seconds before all that. FLOP are counted at `level`.
    """

    threads: int
    turns: int
    batch: int = 1
    streams: int = 1
    duration: float = 0.0
    warmup: float = 0.0
    profile: bool = False
    level: int = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """One engine's runs. Units: as names say; `ready_seconds` until its first result; `gflops` GFLOP/s, of the median run or, with several
    streams, of all. `p99_ms` is None where there were fewer runs than a hundred. `arena_bytes` is what its intermediates take, where the
    engine plans that, `process_bytes` the most that its process had in memory once it was ready.

    FLOP are those of direct convolutions, for all engines alike: `peak_share`, of the measured peak, may exceed 1 for who does with fewer.
    `quiet` is false where the engine's threads still spun when the next one's turn came.
    """

    engine: str
    ready_seconds: float
    runs: int
    p10_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float | None
    images_per_second: float
    gflops: float
    peak_share: float | None
    arena_bytes: int | None
    process_bytes: int | None
    quiet: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """All engines in the order given. `limits` are by the fastest turn of independent multiply-adds, None without TVM; `slowed` says how
    much longer than that turn the middle one took, `got` which share of processor time its threads were given, `load` what others did
    meanwhile. `profiles` are the kernels of each engine that can time them, where they were asked for. `discarded` of the `turns` of an
    engine were faster than can be, and taken again.
    """

    timings: list[Timing]
    limits: MachineLimits | None
    profiles: dict[str, list[LayerTime]]
    load: Load
    slowed: float | None = None
    got: float | None = None
    discarded: Mapping[str, int] = field(default_factory=dict[str, int])
    turns: int = 0

    @property
    def peak(self) -> float | None:
        """In GFLOP/s."""
        return self.limits.flops / 1e9 if self.limits is not None else None

    @property
    def peak_gbytes(self) -> float | None:
        """Of reads of memory, 10^9 bytes a second."""
        return self.limits.bandwidth / 1e9 if self.limits is not None and self.limits.bandwidth else None


def measure(
    graph: Graph,
    contenders: Sequence[Contender],
    how: Measuring,
    *,
    left_out: Callable[[str], None] | None = None,
) -> Measured:
    """Times of one network, all its named sizes pinned: the batch as asked for, others to usual ones.

    An engine that is not here or cannot run the network is told to `left_out`, where given.

    Raises: BackendMissing or UnsupportedOp for such an engine otherwise; ConvcError if one dies; UsageError for an empty input.
    """
    need_elements(graph, "time")
    sizes = usual_sizes(graph, dict.fromkeys(batch_names(graph), how.batch))
    flops, weights = _work(graph, how.level, sizes)
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        write_network(graph, folder)
        workers = _ready(stack, contenders, how, sizes, folder, left_out)
        roofs = Roofs(stack, _at_once(how), memory=how.profile or weights > cache_bytes())
        watch = LoadWatch()
        turns = 0
        for _ in _turns(how, list(workers.values())):
            turns += 1
            for worker in workers.values():
                worker.turn()
            roofs.turn()
        discarded = _again(workers, roofs, lambda limits: limits.least(flops, weights, MOST_SAVED))
        profiles = profiles_of(workers, roofs) if how.profile else {}
        timings = [_timing(name, worker, flops, roofs.limits, how) for name, worker in workers.items()]
        return Measured(timings, roofs.limits, profiles, watch.load(), roofs.slowed, roofs.got, discarded, turns)


def batch_of(graph: Graph, asked: int | None) -> int:
    """Images a run: as many as asked for, or those of the network where none were, one where it has a name for them.

    Raises: UsageError where nothing is as many images, and there is no name that could be: times would be of another batch.
    """
    ranked = [node for node in graph.inputs if node.typed.rank]
    own = {node.typed.shape[0] for node in ranked}
    if batch_names(graph) or not ranked:
        return asked or 1
    first = ranked[0]
    if asked is None:
        return int(first.typed.shape[0]) if isinstance(first.typed.shape[0], int) else 1
    if asked not in own:
        rest = "".join(f",{dim}" for dim in first.typed.shape[1:])
        raise UsageError(f"input '{first.name}' is {first.type}, of no batch of {asked}; try --input {first.name}:N{rest}")
    return asked


def write_network(graph: Graph, folder: Path) -> None:
    """The network for the workers; weights by recipe are drawn there anew."""
    (folder / CIR).write_text(print_graph(graph), encoding="utf-8")
    if any(node.weights is not None and node.weights.is_given for node in graph.params):
        (folder / WEIGHTS).write_bytes(weights_bytes(graph))


def _work(graph: Graph, level: int, sizes: Mapping[str, int]) -> tuple[int, int]:
    """FLOP of a run, and bytes of the parameters of which every element is needed for it: those of sums of products."""
    known = dict[Node, Cost]()
    better = optimize(graph, level)[0]
    flops = graph_cost(better, sizes, known).flops
    products = [node for node, cost in known.items() if cost.macs]
    weights = {operand: operand.typed.nbytes for node in products for operand in node.inputs if operand.weights is not None}
    return flops, sum(size for size in weights.values() if isinstance(size, int))


def _at_once(how: Measuring) -> int:
    """Threads that compute at a time."""
    return max(how.threads, min(how.threads * how.streams, os.cpu_count() or 1))


def _ready(
    stack: ExitStack,
    contenders: Sequence[Contender],
    how: Measuring,
    sizes: Mapping[str, int],
    folder: Path,
    left_out: Callable[[str], None] | None,
) -> dict[str, Worker]:
    workers: dict[str, Worker] = {}
    for contender in each("engines get ready", contenders):
        task = Assignment(contender.engine, contender.level, how.threads, sizes, str(folder), how.streams, how.warmup, not how.duration)
        worker = stack.enter_context(Worker(task))
        try:
            worker.wait()
        except (BackendMissing, UnsupportedOp) as error:
            if left_out is None:
                raise
            left_out(f"{contender.name} is left out: {error}")
            continue
        workers[contender.name] = worker
    return workers


def _turns(how: Measuring, workers: Sequence[Worker]) -> Iterator[None]:
    if not how.duration:
        for _ in each("turns of all engines", range(how.turns)):
            yield
        return
    with progress("seconds of each engine", how.duration) as advance:
        done = 0.0
        while done < how.duration:
            yield
            now = min((worker.seconds for worker in workers), default=how.duration)
            advance(min(now, how.duration) - done)
            done = now


def _again(workers: Mapping[str, Worker], roofs: Roofs, least: Callable[[MachineLimits], float]) -> dict[str, int]:
    """Turns that this machine cannot do are taken again, once the limits were; how many that were, by engine. What is beyond them then is
    left, since it is the limits that are wrong.
    """
    dropped = Counter[str]()
    for _ in range(AGAIN):
        if not any(_beyond(worker, roofs.limits, least) for worker in workers.values()):
            break
        for _ in range(TURNS):
            roofs.turn()
        for name, worker in workers.items():
            wrong = _beyond(worker, roofs.limits, least)
            worker.turns = [turn for turn in worker.turns if turn not in wrong]
            dropped[name] += len(wrong)
            for _ in wrong:
                worker.turn()
    return dict(+dropped)


def _beyond(worker: Worker, limits: MachineLimits | None, least: Callable[[MachineLimits], float]) -> list[Turn]:
    return [turn for turn in worker.turns if limits is not None and min(turn.milliseconds) < 1e3 * least(limits)]


def profiles_of(workers: Mapping[str, Worker], roofs: Roofs) -> dict[str, list[LayerTime]]:
    """The kernels of each engine that can time them, in the faster of its rounds; rounds that this machine cannot do are taken again. Where
    a kernel is still beyond the limits, they are wrong, and none is held to them.
    """
    timed = {name: worker for name, worker in workers.items() if measurable()[worker.task.engine].start_profiled}
    rounds: dict[str, list[list[LayerTime]]] = {name: [] for name in timed}
    for _ in each("rounds of kernels", range(ROUNDS)):
        for name, worker in timed.items():
            rounds[name].append(worker.profile(PROFILED_RUNS))
    for _ in range(AGAIN):
        if not any(_cannot_be(layers, roofs.limits) for found in rounds.values() for layers in found):
            break
        for _ in range(TURNS):
            roofs.turn()
        for name, found in rounds.items():
            rounds[name] = [timed[name].profile(PROFILED_RUNS) if _cannot_be(layers, roofs.limits) else layers for layers in found]
    profiles = {name: steadiest(found) for name, found in rounds.items()}
    if roofs.limits is None or any(_cannot_be(layers, roofs.limits) for layers in profiles.values()):
        return profiles
    limits = roofs.limits
    if faster_than_memory(chain(*profiles.values()), limits) is not None:
        limits = replace(limits, bandwidth=None)
    return {name: [layer.held_to(limits) for layer in layers] for name, layers in profiles.items()}


def _cannot_be(layers: Sequence[LayerTime], limits: MachineLimits | None) -> bool:
    return limits is not None and any(layer.is_beyond(limits) for layer in layers)


def _timing(name: str, worker: Worker, flops: int, limits: MachineLimits | None, how: Measuring) -> Timing:
    taken = worker.taken
    parts = statistics.quantiles(taken, n=100, method="inclusive") if len(taken) > 1 else taken * 99
    a_second = len(taken) / worker.seconds
    gflops = flops / 1e9 * (1e3 / parts[49] if how.streams == 1 else a_second)
    known = [turn.bytes for turn in worker.turns if turn.bytes is not None]
    return Timing(
        engine=name,
        ready_seconds=worker.ready.start,
        runs=len(taken),
        p10_ms=parts[9],
        p50_ms=parts[49],
        p90_ms=parts[89],
        p99_ms=parts[98] if len(taken) >= TAIL else None,
        images_per_second=how.batch * a_second,
        gflops=gflops,
        peak_share=gflops * 1e9 / limits.flops if limits is not None else None,
        arena_bytes=worker.ready.arena,
        process_bytes=max(known, default=None),
        quiet=all(turn.quiet for turn in worker.turns),
    )
