"""What others did on the machine, by clocks that are made up; and what two rounds agree on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convc.ir import load
from convc.ir.load import ClockReading, LoadWatch, agreed, look


def watched(monkeypatch: pytest.MonkeyPatch, *moments: ClockReading, processors: int = 4, average: float = 0.0) -> load.Load:
    """The load between two looks at clocks."""
    monkeypatch.setattr(load.os, "cpu_count", lambda: processors)
    monkeypatch.setattr(load.os, "getloadavg", lambda: (average, 0.0, 0.0))
    return LoadWatch(iter(moments).__next__).load()


def test_what_is_neither_ours_nor_idle_is_others(monkeypatch: pytest.MonkeyPatch):
    found = watched(monkeypatch, ClockReading(100.0, 50.0, 7.0), ClockReading(110.0, 75.0, 12.0))
    assert (found.seconds, found.processors, found.others) == (10.0, 4, 2.0)
    assert found.doubts == ["the machine is busy: other work took 2.0 of 4 processors meanwhile"]
    assert found.as_json()["processors_of_others"] == 2.0
    assert found.as_json()["is_busy"] is True
    assert watched(monkeypatch, ClockReading(0, 0, 0), ClockReading(9, 0, 0), average=1.5).as_json()["load_average"] == 1.5


@pytest.mark.parametrize(("used", "is_busy"), [(30.0, False), (33.0, False), (35.0, True)])
def test_a_tenth_of_the_machine_is_nothing(monkeypatch: pytest.MonkeyPatch, used: float, is_busy: bool):
    found = watched(monkeypatch, ClockReading(0.0, 0.0, 0.0), ClockReading(10.0, used, 30.0))
    assert (found.is_busy, bool(found.doubts)) == (is_busy, is_busy)


def test_clocks_of_the_system_lag_behind_ours(monkeypatch: pytest.MonkeyPatch):
    assert watched(monkeypatch, ClockReading(0.0, 0.0, 0.0), ClockReading(10.0, 39.9, 40.0)).others == 0.0


@pytest.mark.parametrize(
    "moments", [(ClockReading(0.0, None, 0.0), ClockReading(9.0, None, 1.0)), (ClockReading(0.0, 1.0, 0.0), ClockReading(0.01, 1.02, 0.0))]
)
def test_where_no_clock_tells_the_average_stands_for_it(monkeypatch: pytest.MonkeyPatch, moments: tuple[ClockReading, ClockReading]):
    found = watched(monkeypatch, *moments, average=3.1)
    assert found.others is None
    assert found.doubts == ["the machine is busy: its load average was 3.1 on 4 processors as this began"]
    assert watched(monkeypatch, *moments, average=0.2).doubts == []


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("cpu  100 20 30 4000 500 6 7 8 90 0\ncpu0 1\n", 1.71),
        ("cpu 0 0 0 0 0 0 0 0 0 0\n", None),
        ("cpu 1\n", None),
        ("", None),
        (None, None),
    ],
)
def test_what_the_system_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, used: float | None):
    """Neither idle nor waiting for a disk, nor guests, which are among the users; a sandbox says nothing."""
    monkeypatch.setattr(load, "PROC", tmp_path)
    monkeypatch.setattr(load, "_ticks", lambda: 100)
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert look().used == used


def burn(seconds: float) -> str:
    return f"import time\nwhile time.process_time() < {seconds}: pass\nprint('done', flush=True)\ninput()"


def test_what_our_children_use_is_ours():
    """While they are at work, and when they have ended."""
    before = look().own
    with subprocess.Popen([sys.executable, "-c", burn(0.1)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        at_work = look().own - before
        child.communicate(b"\n")
    assert at_work >= 0.08
    assert look().own - before >= at_work - 0.02  # of ticks


def test_what_their_children_use_is_ours_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(load, "PROC", tmp_path)
    for pid, below, ticks in ((2, "3 ", "10 20 3 4"), (3, "", "100 0 0 0")):
        (tmp_path / f"{pid}/task/{pid}").mkdir(parents=True)
        (tmp_path / f"{pid}/task/{pid}/children").write_text(below)
        (tmp_path / f"{pid}/stat").write_text(f"{pid} (a) name) R 1 1 1 0 -1 0 0 0 0 0 {ticks} 20 0")
    assert load._of_process(2) == pytest.approx(137 / os.sysconf("SC_CLK_TCK"))


def test_what_nobody_started_here_uses_is_others(monkeypatch: pytest.MonkeyPatch):
    """A process of our own that is not counted as one, for want of another."""
    monkeypatch.setattr(load, "_children", lambda pid: [])
    monkeypatch.setattr(load.os, "cpu_count", lambda: 1)
    watch = LoadWatch()
    with subprocess.Popen([sys.executable, "-c", burn(0.3)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = watch.load()
        child.communicate(b"\n")
    assert found.others is not None
    assert found.others * found.seconds >= 0.25
    assert found.is_busy


@pytest.mark.parametrize(
    ("rounds", "verdict", "asked"),
    [
        ([True, True], True, 2),
        ([False, False], False, 2),
        ([True, False, False], False, 3),
        ([None, True, True], True, 3),
        ([True, None, True, True], True, 4),
        ([True, False, True, False, False], None, 4),
        ([None, None, None, None], None, 4),
        ([True], None, 1),
    ],
)
def test_two_rounds_in_succession_decide(rounds: list[bool | None], verdict: bool | None, asked: int):
    seen: list[bool | None] = []

    def made() -> Iterator[bool | None]:
        for each in rounds:
            seen.append(each)
            yield each

    assert agreed(made()) is verdict
    assert len(seen) == asked
