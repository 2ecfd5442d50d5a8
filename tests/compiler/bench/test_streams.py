"""Runs in streams: how many at once, which of them count, and what is said of them; by a clock that is made up where one matters."""

from __future__ import annotations

import itertools
import threading

import pytest

from convc.compiler.bench.streams import COUNT, MOST, Streams


class Clock:
    """A second passes when a run says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("takes", "counted"), [(1.0, 1), (0.04, 3), (1e-6, MOST)])
def test_a_turn_is_a_tenth_of_a_second_or_one_run(takes: float, counted: int):
    clock = Clock()
    taken, seconds = Streams(lambda: clock.passes(takes), 1, clock).turn()
    assert taken == pytest.approx([1e3 * takes] * counted)
    assert seconds == pytest.approx(takes * counted)


def test_a_turn_of_a_duration_is_not_cut_short():
    clock = Clock()
    taken, seconds = Streams(lambda: clock.passes(1e-4), 1, clock, short=False).turn()
    assert (len(taken) > 5 * MOST, seconds) == (True, pytest.approx(COUNT, rel=0.01))


def test_what_wakes_an_engine_does_not_count():
    clock, runs = Clock(), list[float]()

    def run() -> None:
        clock.passes(1.0 if not runs else 0.06)
        runs.append(clock.now)

    streams = Streams(run, 1, clock)
    streams.warm(0.5)
    assert len(runs) == 1
    taken, _ = streams.turn()
    assert taken == pytest.approx([60.0, 60.0])
    assert len(runs) == 4


def test_streams_run_at_once():
    together = threading.Barrier(3, timeout=20)
    threads = set[int]()

    def run() -> None:
        together.wait()  # which one after another never gets past
        threads.add(threading.get_ident())

    clock = Clock()

    def ticking() -> float:
        clock.passes(COUNT)
        return clock.now

    streams = Streams(run, 3, ticking)
    taken, seconds = streams.turn()
    before = set(threads)
    streams.turn()
    streams.close()
    assert len(taken) == 3
    assert seconds > 0
    assert len(before) == 3
    assert threads == before, "an engine's state for each thread is made once"


def test_a_turn_lasts_from_the_first_begin_to_the_last_end():
    streams = Streams(lambda: None, 1)
    streams._all = lambda work: [([1.0], 0.0, 2.0), ([2.0, 3.0], 1.5, 3.0)]
    assert streams.turn() == ([1.0, 2.0, 3.0], 3.0)


def test_no_run_counts_before_all_streams_are_awake():
    log = list[str]()
    streams = Streams(lambda: log.append("run"), 2, itertools.count().__next__)
    streams._gate = threading.Barrier(2, lambda: log.append("gate"), timeout=20)
    streams._until = lambda seconds: log.append("woken")
    streams.turn()
    streams.close()
    assert log == ["gate", "woken", "woken", "gate", "run", "run"]


def test_a_stream_that_fails_says_why():
    def run() -> None:
        if threading.get_ident() == victim[0]:
            raise ValueError("no such weather")

    victim = [0]
    streams = Streams(lambda: victim.__setitem__(0, threading.get_ident()), 2)
    streams.warm(0.0)
    streams._run = run
    with pytest.raises(ValueError, match="no such weather"):
        streams.turn()
    streams.close()
