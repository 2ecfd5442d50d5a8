"""What is done about times that this machine cannot have, by workers and roofs that only say how long they take."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from convc.compiler.bench import measure as measuring
from convc.compiler.bench import roofs as roofing
from convc.compiler.bench.doubts import doubts_of, is_in_doubt, memory_notes
from convc.compiler.bench.layer_times import LayerTime, faster_than_memory, slowest, steadiest
from convc.compiler.bench.measure import Measured, Measuring, Timing, batch_of
from convc.compiler.bench.roofs import Roofs
from convc.compiler.bench.worker import Assignment, Ready, Turn
from convc.ir.errors import BackendMissing, UsageError
from convc.ir.limits import MachineLimits
from convc.ir.load import Load
from convc.tests.support.graphs import typed_graph

QUIET = Load(1.0, 4, 0.0, 0.0)
ONE = MachineLimits(flops=1e9)


TWICE = """graph @g(%x: f32[N,4,6,6]) {
  %w = param : f32[4,4,3,3]
  %c = conv2d(%x, %w) {pads=[1,1,1,1]}
  %d = conv2d(%c, %w) {pads=[1,1,1,1]}
  %t = param : f32[1,6,6]
  %v = param : f32[4,4,1,1]
  %r = relu(%d)
  %e = conv2d(%r, %v)
  %y = add(%e, %t)
  %z = relu(%y)
  %u = relu(%z)
  return %u
}
"""


def turn(*milliseconds: float, seconds: float | None = None, processors: float = 1.0, nbytes: int | None = None) -> Turn:
    return Turn(list(milliseconds), sum(milliseconds) / 1e3 if seconds is None else seconds, processors, nbytes, True)


@dataclass
class FakeWorker:
    """Its turns take what is in `comes`, in order, and the last of these from then on."""

    comes: list[Turn]
    rounds: list[list[LayerTime]] = field(default_factory=list)
    ready: Ready = field(default_factory=lambda: Ready(0.5, 0, True, 4096))
    task: Assignment = field(default_factory=lambda: Assignment("onnx", 2, 1, {}, ""))
    turns: list[Turn] = field(default_factory=list)

    def turn(self) -> None:
        self.turns.append(self.comes.pop(0) if len(self.comes) > 1 else self.comes[0])

    def profile(self, runs: int) -> list[LayerTime]:
        return self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]

    @property
    def taken(self) -> list[float]:
        return [each for one in self.turns for each in one.milliseconds]

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.turns)


@dataclass
class FakeRoofs:
    """Its peak is the greatest of what its turns found, in GFLOP/s."""

    comes: list[float]
    found: list[float] = field(default_factory=lambda: [1.0])

    def turn(self) -> None:
        self.found.append(self.comes.pop(0) if self.comes else 1.0)

    @property
    def limits(self) -> MachineLimits:
        return MachineLimits(max(self.found) * 1e9)


def taken_again(worker: FakeWorker, roofs: FakeRoofs, turns: int = 3) -> dict[str, int]:
    """Of a network of 1e6 FLOP, which a GFLOP/s does in a millisecond."""
    for _ in range(turns):
        worker.turn()
    return measuring._again({"e": worker}, roofs, lambda limits: limits.least(1e6))


@pytest.mark.parametrize(("level", "batch", "flops"), [(0, 1, 22_464), (0, 2, 44_928), (2, 1, 22_320)])
def test_the_work_of_a_run_is_that_of_its_level_and_batch_and_a_weight_is_read_once(level: int, batch: int, flops: int):
    """Three convolutions of 144 results, a sum and three relus, of which -O2 leaves two; %w and %v must be read whole."""
    assert flops == batch * 144 * (2 * (36 + 36 + 4) + 1 + (3 if level == 0 else 2))
    assert measuring._work(typed_graph(TWICE), level, {"N": batch}) == (flops, 4 * (4 * 4 * 9 + 4 * 4))


def test_a_turn_that_cannot_be_is_dropped_and_taken_again():
    worker = FakeWorker([turn(2.0), turn(2.0, 0.1), turn(2.1), turn(2.2)])
    assert taken_again(worker, FakeRoofs([])) == {"e": 1}
    assert worker.taken == [2.0, 2.1, 2.2]


def test_where_the_peak_was_wrong_nothing_is_dropped():
    worker = FakeWorker([turn(0.2)])
    assert taken_again(worker, FakeRoofs([6.0])) == {}
    assert worker.taken == [0.2] * 3


def test_what_cannot_be_all_the_time_is_left_and_said():
    worker = FakeWorker([turn(0.1)])
    assert taken_again(worker, FakeRoofs([])) == {"e": 6}
    assert worker.taken == [0.1] * 3
    timing = measuring._timing("e", worker, 10**6, ONE, Measuring(1, 3))
    assert doubts_of(Measured([timing], ONE, {}, QUIET, discarded={"e": 6})) == [
        "6 turns of e seemed faster than this machine can be, and were measured again",
        "e at 1000% of the peak is more than any algorithm here saves: the peak is wrong",
    ]


def kernel(microseconds: float, macs: int = 500, share: float = 1.0, saved: int = 1) -> LayerTime:
    """A GFLOP/s does 500 multiply-adds in a microsecond."""
    return LayerTime("direct", ["a"], microseconds, share, macs, macs // saved, 2e-3 * macs / microseconds, 1, 1.0, True)


def test_a_round_of_kernels_that_cannot_be_is_taken_again():
    worker = FakeWorker([turn(1.0)], [[kernel(0.5), kernel(3.0)], [kernel(1.5), kernel(3.0)], [kernel(1.25), kernel(3.3)]])
    (found,) = measuring.profiles_of({"onnx": worker}, FakeRoofs([])).values()
    assert [layer.microseconds for layer in found] == [1.5, 3.0]
    assert [layer.spread for layer in found] == [pytest.approx(1.2), pytest.approx(1.1)]


def test_kernels_are_those_of_the_faster_round():
    rounds = [[kernel(1.0), kernel(9.0)], [kernel(2.0), kernel(3.0)]]
    assert [(layer.microseconds, layer.spread) for layer in steadiest(rounds)] == [(2.0, 2.0), (3.0, 3.0)]


def test_what_disturbs_both_rounds_is_told_by_the_fastest_run():
    """Slices of other processes in most runs of either: the medians agree, and are five times what the kernel takes."""
    rounds = [[replace(kernel(10.0), least_microseconds=least), replace(kernel(3.0), least_microseconds=2.9)] for least in (9.8, 2.0)]
    busy, quiet = steadiest(rounds)
    assert (busy.spread, busy.time_text, busy.is_unsteady, quiet.is_unsteady) == (5.0, "~10.0", True, False)
    assert slowest([busy, quiet]) == (quiet, pytest.approx(2.9 / 4.9))


def test_no_kernel_is_held_to_memory_that_another_has_faster():
    """From caches, or the peak is wrong: so is what others seem to have of it."""
    slow, fast = (LayerTime("dense", [name], 1.0, 1.0, 9, 9, 1.8, 9 << 20, gbytes, True) for name, gbytes in (("a", 4.0), ("b", 36.3)))
    limits = MachineLimits(1e9, 5e9)
    assert faster_than_memory([slow], limits) is None
    assert faster_than_memory([slow, replace(fast, products=0)], limits) is None
    assert faster_than_memory([slow, fast], limits) is fast
    (note,) = memory_notes(Measured([], limits, {"tvm": [slow, fast]}, QUIET))
    assert note.startswith("dense of b had 36.3 GB/s, more than reads of memory (5.0)")
    worker = FakeWorker([turn(1.0)], [[slow, fast]])
    assert [layer.limit for layer in measuring.profiles_of({"onnx": worker}, SimpleNamespace(limits=limits))["onnx"]] == ["products"] * 2


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        ({"slowed": 1.05, "got": 0.97}, []),
        ({"slowed": None, "got": None}, []),
        ({"slowed": 1.8}, ["the machine is busy: the same multiply-adds took 1.8 times as long in a middling turn as in the best"]),
        ({"slowed": 1.1, "got": 0.55}, ["the machine is busy: multiply-adds got 55% of the processor time that they asked for"]),
        ({"load": Load(9.0, 2, 1.2, 0.0)}, ["the machine is busy: other work took 1.2 of 2 processors meanwhile"]),
        (
            {"profiles": {"tvm": [kernel(9.0), LayerTime("pack", ["x"], 4.0, 0.3, 0, 0, 0.0, 1, 1.0, False, True, 2.5)]}},
            ["1 kernel took more than 1.5 times as long in a round's middle run as in the fastest of all, such as pack of x, 2.5 times"],
        ),
        ({"profiles": {"tvm": [LayerTime("pack", ["x"], 0.1, 0.01, 0, 0, 0.0, 1, 1.0, False, True, 2.5)]}}, []),
    ],
)
def test_doubts(timing: dict[str, object], words: list[str]):
    assert doubts_of(Measured([], ONE, **{"profiles": {}, "load": QUIET, **timing})) == words


@pytest.mark.parametrize(
    ("saved", "gflops", "said"),
    [
        (1, 1.92, ["direct of a seems to have 192% of the peak, which cannot be"]),
        (1, 1.07, []),
        (2, 1.92, []),
        (4, 20.0, ["direct of a seems to have 500% of the peak, which cannot be"]),
    ],
)
def test_a_kernel_above_the_peak(saved: int, gflops: float, said: list[str]):
    found = doubts_of(Measured([], ONE, {"tvm": [kernel(1 / gflops, saved=saved)]}, QUIET))
    assert [each.split(":")[0] for each in found] == said


@pytest.mark.parametrize(
    ("products", "gbytes", "mebibytes", "said"),
    [
        (300, 1.0, 9, "60% products"),
        (100, 1.6, 9, "80% memory"),
        (100, 9.0, 9, "20% products"),  # its bytes are in caches
        (100, 1.6, 1, "20% products"),  # and so are these
        (0, 9.0, 9, "-"),
    ],
)
def test_how_near_a_kernel_is_to_the_limit(products: int, gbytes: float, mebibytes: int, said: str):
    layer = LayerTime("winograd", ["a"], 1.0, 1.0, 900, products, 1.8, mebibytes << 20, gbytes, True)
    assert layer.limit_text == "-"
    assert layer.held_to(MachineLimits(1e9, 2e9)).limit_text == said


def test_no_kernel_is_held_to_a_peak_that_one_of_them_exceeds():
    steady, fast = FakeWorker([turn(1.0)], [[kernel(2.0)]]), FakeWorker([turn(1.0)], [[kernel(0.5)]])
    assert [layer.of_limit for layer in measuring.profiles_of({"onnx": steady}, FakeRoofs([]))["onnx"]] == [0.5]
    found = measuring.profiles_of({"onnx": steady, "tvm": fast}, FakeRoofs([]))
    assert [layer.of_limit for layers in found.values() for layer in layers] == [None, None]


@pytest.mark.parametrize(
    ("share", "of_machine", "doubted"),
    [
        (1.22, {}, False),  # by Winograd's form, it may be
        (1.22, {"got": 0.28}, True),
        (1.22, {"load": Load(9.0, 2, 1.2, 0.0)}, True),
        (1.22, {"profiles": {"tvm": [kernel(0.5)]}}, True),
        (1.22, {"profiles": {"tvm": [kernel(0.5, saved=4)]}}, False),
        (1.05, {"got": 0.28}, False),
        (4.5, {}, True),
        (None, {"got": 0.28}, False),
    ],
)
def test_a_share_of_the_peak_that_cannot_be(share: float | None, of_machine: dict[str, object], doubted: bool):
    assert is_in_doubt(share, Measured([], ONE, **{"profiles": {}, "load": QUIET, **of_machine})) is doubted


def test_what_a_timing_says():
    worker = FakeWorker([turn(*map(float, range(1, 101)), seconds=2.0, nbytes=7), turn(50.5, seconds=0.5, nbytes=9)])
    for _ in range(2):
        worker.turn()
    found = measuring._timing("e", worker, 10**9, MachineLimits(100e9), Measuring(1, 2, batch=4))
    assert (found.runs, found.p50_ms, found.ready_seconds) == (101, 50.5, 0.5)
    assert (found.p10_ms, found.p90_ms, found.p99_ms) == (11.0, 90.0, 99.0)
    assert found.images_per_second == pytest.approx(4 * 101 / 2.5)
    assert found.gflops == pytest.approx(1 / 0.0505)
    assert found.peak_share == pytest.approx(found.gflops / 100)
    assert (found.arena_bytes, found.process_bytes) == (4096, 9)
    streams = measuring._timing("e", worker, 10**9, None, Measuring(1, 2, batch=4, streams=3))
    assert streams.gflops == pytest.approx(101 / 2.5)
    assert streams.peak_share is None


def test_threads_that_spin_on_once_are_not_quiet():
    worker = FakeWorker([turn(1.0), Turn([1.0], 1e-3, 1.0, None, quiet=False), turn(1.0)])
    for _ in range(3):
        worker.turn()
    assert not measuring._timing("e", worker, 1, None, Measuring(1, 3)).quiet


PRODUCT = "graph @g(%x: f32[N,8]) { %w = param : f32[4,8] %b = param : f32[4] %y = dense(%x, %w) %z = add(%y, %b) return %z }"


def test_weights_are_those_that_every_run_needs():
    """As many bytes come from memory, where caches hold fewer; what is added needs no more than a cache."""
    assert measuring._work(typed_graph(PRODUCT), 0, {"N": 1}) == (64 + 4, 128)


@pytest.mark.parametrize(("cache", "memory"), [(128, False), (127, True)])
def test_memory_is_measured_where_no_cache_holds_the_weights(cache: int, memory: bool, monkeypatch: pytest.MonkeyPatch):
    asked = list[bool]()

    def roofs(stack: ExitStack, threads: int, *, memory: bool) -> SimpleNamespace:
        asked.append(memory)
        return SimpleNamespace(limits=None, slowed=None, got=None, turn=lambda: None)

    monkeypatch.setattr(measuring, "Roofs", roofs)
    monkeypatch.setattr(measuring, "cache_bytes", lambda: cache)
    monkeypatch.setattr(measuring, "_ready", lambda *given: {"e": FakeWorker([turn(1.0)])})
    measuring.measure(typed_graph(PRODUCT), [], Measuring(1, 1, level=0))
    assert asked == [memory]


def test_of_few_runs_nobody_knows_the_slowest_hundredth():
    worker = FakeWorker([turn(1.0, 2.0)])
    worker.turn()
    assert measuring._timing("e", worker, 1, None, Measuring(1, 1)).p99_ms is None


@pytest.mark.parametrize(("threads", "streams", "at_once"), [(1, 1, 1), (2, 1, 2), (1, 3, 3), (2, 4, 4), (6, 1, 6), (6, 2, 6)])
def test_the_peak_is_of_the_threads_that_compute_at_a_time(threads: int, streams: int, at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measuring.os, "cpu_count", lambda: 4)
    assert measuring._at_once(Measuring(threads, 1, streams=streams)) == at_once


def test_a_duration_is_the_time_of_each_engine():
    fast, slow = FakeWorker([turn(125.0)]), FakeWorker([turn(250.0)])
    for _ in measuring._turns(Measuring(1, 10, duration=1.0), [fast, slow]):
        fast.turn()
        slow.turn()
    assert (len(fast.turns), len(slow.turns)) == (8, 8)
    assert sum(1 for _ in measuring._turns(Measuring(1, 7), [fast])) == 7


@pytest.mark.parametrize(
    ("shape", "asked", "batch"),
    [("8,4", None, 8), ("8,4", 8, 8), ("1,4", None, 1), ("N,4", None, 1), ("N,4", 3, 3), ("", 5, 5), ("2*N,4", None, 1)],
)
def test_images_of_a_run(shape: str, asked: int | None, batch: int):
    assert batch_of(typed_graph(f"graph @g(%x: f32[{shape}]) {{ %y = relu(%x) return %y }}"), asked) == batch


@pytest.mark.parametrize(("shape", "asked"), [("8,4", 1), ("8,4", 4), ("1,4", 8), ("2*N,4", 2)])
def test_a_batch_is_never_ignored(shape: str, asked: int):
    with pytest.raises(UsageError, match=f"of no batch of {asked}; try --input x:N,4"):
        batch_of(typed_graph(f"graph @g(%x: f32[{shape}]) {{ %y = relu(%x) return %y }}"), asked)


def roofs_of(monkeypatch: pytest.MonkeyPatch, *workers: FakeWorker, memory: bool = False, missing: bool = False) -> Roofs:
    made = iter(workers)

    def start(task: Assignment) -> SimpleNamespace:
        def wait() -> None:
            if missing:
                raise BackendMissing("no TVM")

        worker = next(made)
        worker.wait = wait
        return worker

    monkeypatch.setattr(FakeWorker, "__enter__", lambda self: self, raising=False)
    monkeypatch.setattr(FakeWorker, "__exit__", lambda self, *error: None, raising=False)
    monkeypatch.setattr(roofing, "Worker", start)
    return Roofs(ExitStack(), 2, memory=memory)


def test_roofs_are_those_of_the_fastest_turn(monkeypatch: pytest.MonkeyPatch):
    peak = FakeWorker([turn(4.0, processors=1.9), turn(2.0, processors=1.5), turn(6.0, processors=0.8)], ready=Ready(0.0, 10**9, True))
    memory = FakeWorker([turn(100.0), turn(50.0)], ready=Ready(0.0, 10**9, True))
    found = roofs_of(monkeypatch, peak, memory, memory=True)
    assert found.limits is None
    for _ in range(3):
        found.turn()
    assert found.limits is not None
    assert (found.limits.flops, found.limits.bandwidth) == (pytest.approx(500e9), pytest.approx(20e9))
    assert found.slowed == 2.0
    assert found.got == pytest.approx(0.7)


def test_without_tvm_there_are_no_roofs(monkeypatch: pytest.MonkeyPatch):
    found = roofs_of(monkeypatch, FakeWorker([turn(1.0)]), memory=True, missing=True)
    found.turn()
    assert (found.limits, found.slowed, found.got) == (None, None, None)


def test_a_timing_has_units_in_its_names():
    plain = {"engine", "runs", "gflops", "peak_share", "quiet", "images_per_second"}
    assert {name.rpartition("_")[2] for name in set(Timing.__dataclass_fields__) - plain} == {"ms", "seconds", "bytes"}
