"""What counts as faster, and who measures: benches opened when needed, and workers that fail, on kernels that only say how long they take."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.kernel import Tunable
from convc.backends.tvm.store.tuned_forms import Found
from convc.backends.tvm.tuning import compiling, crew, search
from convc.backends.tvm.tuning import survey as surveying
from convc.backends.tvm.tuning.peak import MachinePeak
from convc.backends.tvm.tuning.survey import Served, TunableLayer
from convc.ir.errors import BackendMissing
from convc.tests.support.tuning import found

LATER = math.inf  # than anything


@dataclass
class FakeBench:
    """Times of forms that are numbers: a form takes so many milliseconds."""

    log: list[str]
    forms: list[float] = field(default_factory=list)

    def prepare(self, libraries: list[tuple[Path, int]], function: float, weights: int) -> None:
        self.log.append("prepare")
        self.forms = [float(form) for path, _ in libraries for form in path.read_text().split()]

    def times(self, prepared: None, chosen: list[int], rounds: int) -> np.ndarray:
        return np.array([[self.forms[at] for at in chosen]] * rounds)

    def roofs(self, threads: int) -> tuple[float, float]:
        return self.peak(threads), 1.0

    def peak(self, threads: int) -> float:
        return 1.0


@dataclass(frozen=True)
class FakeForm:
    takes: float


def fake_layer(name: str, rule: float = 2.0, *others: float) -> TunableLayer:
    forms = [FakeForm(takes) for takes in others]
    return TunableLayer(Tunable(name, 1, 1, 0, lambda: forms, lambda form: form.takes if form else rule), (name,))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened: a bench was opened, something compiled or prepared."""
    log: list[str] = []

    def fake_library(functions: list[float], path: Path) -> Path:
        log.append("compile")
        path.write_text(" ".join(map(str, functions)))
        return path

    monkeypatch.setattr(compiling, "library", fake_library)
    monkeypatch.setattr(search.time, "sleep", lambda seconds: log.append(f"wait {seconds:.0f}"))
    return log


def opener(log: list[str], *refusals: int) -> Callable[[], FakeBench]:
    """Opens benches, but not the nth of each n in `refusals`."""

    def open_bench() -> FakeBench:
        log.append("open")
        if log.count("open") in refusals:
            raise BackendMissing("this server is dead")
        return FakeBench(log)

    return open_bench


def test_a_form_that_is_no_faster_loses():
    noise = np.random.default_rng(0).uniform(1.0, 1.2, (4, 40))
    assert search.wins(noise[0], noise[1]) is False
    assert search.wins(noise[0], noise[1] / 1.01) is False
    assert search.wins(noise[0], noise[1] / 1.2) is True
    assert search.wins(np.where(np.arange(40) < 20, 2.0, 1.0), np.ones(40)) is None, "the machine was busy in the first half"
    stalled = np.ones(40)
    stalled[::3] = 9.0
    assert search.wins(stalled, np.ones(40)) is False, "a stall is no gain"


@dataclass
class MoodyBench(FakeBench):
    """Whose rule takes another time in each round of the last comparison, and which does other multiply-adds each time that is asked."""

    moods: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)

    def times(self, prepared: None, chosen: list[int], rounds: int) -> np.ndarray:
        taken = super().times(prepared, chosen, rounds)
        if rounds == search.DECIDING:
            self.log.append("compare")
            taken[:, 0] = self.moods.pop(0)
        return taken

    def peak(self, threads: int) -> float:
        self.log.append("peak")
        return self.peaks.pop(0)


@pytest.mark.parametrize(
    ("moods", "verdict"),
    [
        ([2.0, 2.0], Found("m", "a", {"takes": 1.0}, 2.0, 1.0, 1)),
        ([1.0, 1.01], Found("m", "a", None, 1.005, 1.0, 1)),
        ([2.0, 1.0, 1.0], Found("m", "a", None, 1.0, 1.0, 1)),
        ([2.0, 1.0, 2.0, 1.0], crew.Unconfirmed("a", (2.0, 1.0, 2.0, 1.0), "rounds apart do not agree")),
    ],
)
def test_two_rounds_apart_say_the_same_or_nothing_is_kept(log: list[str], moods: list[float], verdict: object):
    kernel = fake_layer("a", 2.0, 1.0).kernel
    found = search.tune_kernel(lambda: MoodyBench(log, moods=list(moods)), kernel, kernel.forms(), "m", lambda: False, MachinePeak(1))
    assert found == verdict
    assert log[log.index("compare") :] == ["compare", *["wait 1", "compare"] * (len(moods) - 1)]


@pytest.mark.parametrize(
    ("peaks", "rounds", "verdict"),
    [
        ([1.0], 2, Found("m", "a", {"takes": 1.0}, 2.0, 1.0, 1)),
        ([0.4, 1.0], 2, Found("m", "a", {"takes": 1.0}, 2.0, 1.0, 1)),
        ([0.4, 0.6, 0.3, 0.5], 4, "in 4 of 4 rounds it was faster than the peak of this machine allows, which was measured again in each"),
    ],
)
def test_what_seems_faster_than_the_machine_has_it_measured_again(log: list[str], peaks: list[float], rounds: int, verdict: object):
    """A kernel of one multiply-add, which a form does in a millisecond: at a peak of half as much that cannot be. The greatest counts, for
    rounds before it too.
    """
    kernel = fake_layer("a", 2.0, 1.0).kernel
    peak = MachinePeak(1)
    peak.see(0.5)
    bench = MoodyBench(log, moods=[2.0] * rounds, peaks=list(peaks))
    found = search.tune_kernel(lambda: bench, kernel, kernel.forms(), "m", lambda: False, peak)
    assert (found.why if isinstance(found, crew.Unconfirmed) else found) == verdict
    assert peak.macs == max(peaks)
    assert (log.count("peak"), log.count("compare")) == (len(peaks), rounds)


def test_a_peak_that_nobody_measured_doubts_nothing():
    kernel = fake_layer("a").kernel
    peak = MachinePeak(1)
    assert peak.least(kernel) == 0.0
    for macs in (2.0, 1.0):
        peak.see(macs)
    assert peak.least(kernel) == pytest.approx(0.5 / 1.1)


def test_what_seems_faster_than_the_machine_is_measured_again_and_so_is_the_machine(log: list[str]):
    """A rule that takes half of what its multiply-adds do at the peak, and a fifth more once that is twice as high."""

    @dataclass
    class Doubtful(FakeBench):
        def peak(self, threads: int) -> float:
            self.log.append("peak")
            return 1.0 * self.log.count("peak")

        def times(self, prepared: None, chosen: list[int], rounds: int) -> np.ndarray:
            return super().times(prepared, chosen, rounds) * (1.2 if "peak" in self.log else 1)

    peak = MachinePeak(1)
    served = surveying.survey(lambda: Doubtful(log), peak, [fake_layer("a", 0.5), fake_layer("b", 4.0)], LATER)
    assert [log.count(each) for each in ("peak", "compile", "prepare")] == [2, 3, 3]
    assert {each.layer.nodes[0]: (each.taken, each.share) for each in served} == {"a": (0.6, 1.0), "b": (4.0, 0.25)}
    assert peak.macs == 2.0


def test_a_session_begins_when_all_is_compiled(log: list[str]):
    kernel = fake_layer("a", 2.0, 3.0, 1.0, 4.0, 5.0).kernel
    result = search.tune_kernel(opener(log), kernel, kernel.forms(), "m", lambda: False, MachinePeak(1))
    assert result == Found("m", "a", {"takes": 1.0}, 2.0, 1.0, 4)
    assert log == ["compile", "compile", "open", "prepare", "wait 1"]


def test_what_was_found_before_is_tried_again():
    kernel = fake_layer("a", 2.0, *map(float, range(1, 30))).kernel
    for form in kernel.forms():
        before = Found("m", "a", {"takes": form.takes}, 2.0, 1.0, 64)
        assert search.candidates(kernel, 1, before) == [form]
        assert sorted(search.candidates(kernel, 64, before), key=lambda each: each.takes) == kernel.forms()
    drawn = search.candidates(kernel, 64, None)
    assert search.candidates(kernel, 3, Found("m", "a", {"takes": 99.0}, 2.0, 1.0, 64)) == drawn[:3], "it has no such form any more"
    assert search.candidates(kernel, 3, Found("m", "a", None, 2.0, 1.0, 64)) == drawn[:3]


def test_a_shorter_search_keeps_what_a_longer_one_found(log: list[str]):
    layer = fake_layer("a", 2.0, *([3.0] * 20), 1.0)
    known = {"a": Found("m", "a", {"takes": 1.0}, 2.0, 1.0, 21)}
    (result,) = search.tune([Served(layer, 2.0, 0.5)], opener(log), MachinePeak(1), 1, "m", 2, LATER, known)
    assert result[1] == Found("m", "a", {"takes": 1.0}, 2.0, 1.0, 2)


def test_a_survey_has_a_session_every_few_layers(log: list[str]):
    few = surveying.LAYERS
    served = surveying.survey(opener(log), MachinePeak(1), [fake_layer(f"layer{i}", 1.0 + i) for i in range(few + 1)], LATER)
    assert [each.taken for each in served] == [1.0 + i for i in reversed(range(few + 1))]
    assert log == [*["compile"] * few, "open", *["prepare"] * few, "compile", "open", "prepare", "open"]


def test_a_survey_goes_on_with_another_server(log: list[str]):
    assert len(surveying.survey(opener(log, 1), MachinePeak(1), [fake_layer("a")], LATER)) == 1
    with pytest.raises(BackendMissing, match="this server is dead"):
        surveying.survey(opener([], 1, 2), MachinePeak(1), [fake_layer("a")], LATER)


def test_a_survey_ends_in_time(log: list[str], monkeypatch: pytest.MonkeyPatch):
    clock = itertools.count()  # a second passes with every question
    monkeypatch.setattr(surveying, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    monkeypatch.setattr(compiling, "physical_cores", lambda: 1)
    given = [fake_layer(f"layer{i}", 1.0 + i) for i in range(3 * surveying.LAYERS)]
    served = surveying.survey(opener(log), MachinePeak(1), given, surveying.LAYERS + 2.0)
    assert sorted(each.layer.nodes[0] for each in served) == sorted(layer.kernel.key for layer in given[: surveying.LAYERS + 2])
    assert log.count("compile") == surveying.LAYERS + 2
    assert surveying.survey(opener([]), MachinePeak(1), given, 0.0) == []


def heard_of_two(behave: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is heard of two workers, each with a layer of its own at first, `a` or `b`, about which it behaves so."""
    both = threading.Barrier(2)
    tries: list[str] = []

    def fake_tune(open_bench: object, kernel: Tunable, *rest: object) -> Found | crew.Unconfirmed:
        tries.append(kernel.key)
        if len(tries) <= 2:
            both.wait(10)
        if tries.count(kernel.key) == 1:
            behave(kernel.key)
        return found(kernel.key)

    monkeypatch.setattr(search, "tune_kernel", fake_tune)
    given = [Served(fake_layer(each), 1.0, 0.5) for each in ("a", "b")]
    heard = search.tune(given, lambda: None, MachinePeak(1), 2, "m", 1, LATER, {})
    return [(each.layer.nodes[0], type(result).__name__) for each, result in heard]


def test_a_layer_of_a_worker_that_fails_is_tuned_by_another(monkeypatch: pytest.MonkeyPatch):
    def behave(key: str) -> None:
        if key == "a":
            time.sleep(0.5)  # the other has found nothing waiting by now
            raise BackendMissing("this server is dead")

    assert heard_of_two(behave, monkeypatch) == [("b", "Found"), ("a", "BackendMissing"), ("a", "Found")]


def test_what_is_not_confirmed_is_heard_and_not_tuned_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "tune_kernel", lambda *given: crew.Unconfirmed(given[1].key, (1.1, 0.9), "so"))
    heard = search.tune([Served(fake_layer("a"), 1.0, 0.5)], lambda: None, MachinePeak(1), 1, "m", 1, LATER, {})
    assert [result for _, result in heard] == [crew.Unconfirmed("a", (1.1, 0.9), "so")]


def test_no_worker_is_left(monkeypatch: pytest.MonkeyPatch):
    def behave(key: str) -> None:
        raise BackendMissing("all servers are dead")

    with pytest.raises(BackendMissing, match="all servers are dead"):
        heard_of_two(behave, monkeypatch)


def test_who_compiles_is_heard(monkeypatch: pytest.MonkeyPatch):
    """A silence is as long as a session at most, but compiling is not: there every chunk is heard."""
    monkeypatch.setattr(crew, "SESSION", 0.5)
    monkeypatch.setattr(crew, "PATIENCE", 0.5)
    monkeypatch.setattr(search, "PATIENCE", 0.5)
    steps = [True] * 8

    def fake_tune(
        open_bench: object, kernel: Tunable, forms: list[object], machine: str, stop: Callable[[], bool], peak: MachinePeak
    ) -> Found:
        while steps and not stop():
            steps.pop()
            time.sleep(0.3)
        time.sleep(2.0 if kernel.key == "silent" else 0.0)
        return found(kernel.key)

    monkeypatch.setattr(search, "tune_kernel", fake_tune)
    given = [Served(fake_layer(name), 1.0, 0.5) for name in ("heard", "silent")]
    heard = search.tune(given, lambda: None, MachinePeak(1), 1, "m", 1, LATER, {})
    assert next(heard)[0].layer.nodes == ("heard",)
    with pytest.raises(BackendMissing, match="nothing was heard of 1 measuring processes for 1 s"):
        next(heard)
