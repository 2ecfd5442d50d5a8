"""What two laps decide about a split, and what is done about those that cannot be, with races that only say how long they take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from convc.compiler.planning import certificate, race
from convc.compiler.planning.certificate import _disagreeing, _laps
from convc.compiler.planning.race import Lap, Races, splits_slower
from convc.compiler.planning.search import _words
from convc.ir.limits import MachineLimits
from convc.tests.support.graphs import typed_graph

NET = """graph @g(%x: f32[N,8,8,8]) {
  %v = param : f32[8,8,1,1]
  %w = param : f32[8,8,1,1]
  %a = conv2d(%x, %v)
  %b = conv2d(%a, %w)
  return %b
}"""
FLOPS = 2 * 8 * 8 * 64  # of one of the layers


def slower(monkeypatch: pytest.MonkeyPatch, a: list[Lap], b: list[Lap], limits: Callable[[], MachineLimits | None] = lambda: None):
    """Of layers whose races end so, in the order in which they are run; which were run, too."""
    waiting, run = {"a": list(a), "b": list(b)}, list[str]()

    def raced(name: str, *rest: object) -> Lap:
        run.append(name)
        return waiting[name].pop(0)

    monkeypatch.setattr(race, "started", lambda before, *rest: before.outputs[0].name)
    monkeypatch.setattr(race, "race", raced)
    graph = typed_graph(NET)
    return splits_slower(graph, graph, {"a": "x", "b": "a"}, {"N": 1}, Races([], 1, 1, limits)), run


def test_a_split_is_faster_by_two_rounds_and_slower_by_one(monkeypatch: pytest.MonkeyPatch):
    """Between rounds of one are those of all others that may be kept."""
    found, run = slower(monkeypatch, [Lap(2.0, 1.0), Lap(2.1, 1.1)], [Lap(1.0, 1.0)])
    assert list(found) == ["b"]
    assert run == ["a", "b", "a"]
    assert _words(found["b"]) == "takes 1.000 ms, the layer as it is 1.000 ms"
    found, run = slower(monkeypatch, [Lap(2.0, 1.0), Lap(2.1, 1.1)], [Lap(2.0, 1.0), Lap(1.0, 2.0), Lap(1.0, 1.0)])
    assert list(found) == ["b"]
    assert run == ["a", "b", "a", "b", "b"]


def test_where_two_rounds_do_not_agree_others_follow(monkeypatch: pytest.MonkeyPatch):
    won, lost = Lap(2.0, 1.0), Lap(1.0, 1.5)
    found, run = slower(monkeypatch, [won, lost, won, won], [won, lost, won, lost])
    assert list(found) == ["b"], "what is not confirmed to be faster is none"
    assert run == ["a", "b"] * 4
    assert (
        _words(found["b"])
        == "takes 0.50, 1.50, 0.50, 1.50 times as long as the layer in rounds apart, which do not confirm that it is faster"
    )


def test_a_lap_that_cannot_be_says_nothing(monkeypatch: pytest.MonkeyPatch):
    """A machine of 1 GFLOP/s needs 8 us, or a quarter of that; the limit is asked for only where a thread were faster than any."""
    asked: list[int] = []

    def limits() -> MachineLimits:
        asked.append(1)
        return MachineLimits(1e9)

    wild, sound = Lap(1e-4, 5e-5), Lap(2.0, 1.0)
    found, run = slower(monkeypatch, [wild, wild, sound, sound], [sound, sound], limits)
    assert (found, run) == ({}, ["a", "b", "a", "b", "a", "a"])
    assert asked
    found, _ = slower(monkeypatch, [wild] * 4, [sound] * 2, limits)
    assert list(found) == ["a"]
    comes = [MachineLimits(flops) for flops in (1e9, 1e14, 1e9)]
    found, run = slower(monkeypatch, [wild] * 2, [sound] * 2, lambda: comes.pop(0))
    assert (found, run) == ({}, ["a", "b", "a", "b"]), "the machine was found faster, which counts for the lap before"
    assert len(comes) == 1
    slower(monkeypatch, [sound] * 2, [sound] * 2, lambda: pytest.fail("nothing is suspicious"))


def test_what_so_many_threads_may_do_is_not_suspicious():
    graph = typed_graph(NET.replace("N", "1"))
    taken = 2 * FLOPS / (race.MOST_SAVED * race.UNDOUBTED) / 2  # as much as two threads may do
    assert Races([], 4, 1, lambda: pytest.fail("nothing is suspicious")).least(graph, taken) == 0
    assert Races([], 1, 1, lambda: MachineLimits(1e9)).least(graph, taken) == pytest.approx(1e3 * 2 * FLOPS / 4 / 1e9 / 1.1)


def test_the_limits_are_those_of_multiply_adds_here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(race, "PEAK_RUNS", 3)
    found = race.measured_limits(1)
    assert found is not None
    assert 1e9 < found.flops < 1e13
    monkeypatch.setitem(sys.modules, "tvm.relax", None)
    assert race.measured_limits(1) is None


def test_latency_is_measured_in_two_rounds_engine_by_engine(monkeypatch: pytest.MonkeyPatch):
    graph = typed_graph(NET)
    comes = {"one": [Lap(2.0, 1.0), Lap(2.2, 1.2)], "other": [Lap(1e-4, 1e-4), Lap(2.0, 1.0), Lap(1.0, 1.0)]}
    run: list[tuple[str, int]] = []
    begun: list[str] = []

    def raced(runs: tuple[str, str], inputs: object, name: str, turns: int) -> Lap:
        assert runs == (name, name)
        run.append((name, turns))
        return comes[name].pop(0)

    def engine(name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, start=lambda graph, threads: begun.append(name) or name)

    monkeypatch.setattr(certificate, "race", raced)
    races = Races([engine("one"), engine("other")], 1, 5, lambda: MachineLimits(1e9))
    monkeypatch.setattr(certificate, "match_inputs", lambda graph, inputs: {"N": 1})
    laps, doubts = _laps(SimpleNamespace(before=graph, after=graph), {}, races)
    assert doubts == []
    assert laps == {"one": [Lap(2.0, 1.0), Lap(2.2, 1.2)], "other": [Lap(2.0, 1.0), Lap(1.0, 1.0)]}
    assert run == [("one", 3), ("other", 3), ("other", 3), ("one", 3), ("other", 3)]
    assert begun == ["one", "one", "other", "other"], "a network is compiled once for all rounds"
    assert list(_disagreeing(laps)) == ["in other the planned network took 0.50 and 1.00 of the time in two rounds"]
