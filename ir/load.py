"""How busy a machine was with other work while something was timed on it, so that times can be said to be in doubt, or taken again.

A load average is of minutes, and knows nothing of who it is. So processor time is taken from the clocks of the system, and what this
process and those that it started have used is taken off; the rest was others', and what a host took from its guests is among that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TypeVar

__all__ = ["ROUNDS", "ClockReading", "Clocks", "Load", "LoadWatch", "agreed", "look"]

BUSY_SHARE = 0.1  # of the machine for others: as much as a desktop that nobody touches, and less than what moves a median
LEAST = 20.0  # ticks of all processors together, below which their clocks say nothing
ROUNDS = 4  # in which two in succession should agree
PROC = Path("/proc")
USED = (1, 2, 3, 6, 7, 8)  # of the fields of /proc/stat: user, nice, system, irq, softirq, steal; what guests use is in the first two

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What the clocks show. Units: seconds. `wall` since anything, `used` of processors by everybody, None where the system does not say;
    `own` of these by this process and its children.
    """

    wall: float
    used: float | None
    own: float


Clocks = Callable[[], ClockReading]


@dataclass(frozen=True, slots=True)
class Load:
    """What others did meanwhile. `others` is how many of the `processors` they kept busy, None where nothing tells; `average` is the
    system's load average as it began, which stands for that. Unit: `seconds` in which it was looked at.
    """

    seconds: float
    processors: int
    others: float | None
    average: float | None

    @property
    def is_busy(self) -> bool:
        busy = self.others if self.others is not None else self.average
        return busy is not None and busy > BUSY_SHARE * self.processors

    @property
    def doubts(self) -> list[str]:
        """A sentence, or none where the machine was quiet."""
        if not self.is_busy:
            return []
        if self.others is not None:
            return [f"the machine is busy: other work took {self.others:.1f} of {self.processors} processors meanwhile"]
        return [f"the machine is busy: its load average was {self.average:.1f} on {self.processors} processors as this began"]

    def as_json(self) -> dict[str, float | bool | None]:
        return {
            "seconds": self.seconds,
            "processors": self.processors,
            "processors_of_others": self.others,
            "load_average": self.average,
            "is_busy": self.is_busy,
        }


class LoadWatch:
    """Looks at the clocks when it is made; `load` says what others did since."""

    def __init__(self, clocks: Clocks | None = None) -> None:
        self._clocks = clocks or look
        self._begun = self._clocks()
        self._average = _load_average()

    def load(self) -> Load:
        now, begun, processors = self._clocks(), self._begun, os.cpu_count() or 1
        seconds = now.wall - begun.wall
        others = None
        if now.used is not None and begun.used is not None and seconds * processors * _ticks() >= LEAST:
            others = max(0.0, (now.used - begun.used) - (now.own - begun.own)) / seconds
        return Load(seconds, processors, others, self._average)


def look() -> ClockReading:
    """The clocks of this machine."""
    return ClockReading(time.perf_counter(), _used(), _own())


def agreed(rounds: Iterator[T | None]) -> T | None:
    """The verdict of two rounds in succession; None where no two of the first few agree, or none of them has a verdict.

    Rounds are asked for one by one, so that an iterator can lie in wait between them.
    """
    return next((now for before, now in pairwise(islice(rounds, ROUNDS)) if now is not None and now == before), None)


def _used() -> float | None:
    try:
        fields = (PROC / "stat").read_text().split("\n", 1)[0].split()
        used = sum(int(fields[place]) for place in USED) / _ticks()
    except (OSError, ValueError, IndexError):
        return None
    return used or None  # sandboxes write zeros


def _own() -> float:
    """Of this process, of children that have ended, and of those at work."""
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system + sum(map(_of_process, _children(os.getpid())))


def _of_process(pid: int) -> float:
    """Of a process and those below it."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _ticks() + sum(map(_of_process, _children(pid)))
    except (OSError, ValueError):
        return 0.0  # it has ended meanwhile


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in (PROC / str(pid) / "task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue
    return found


def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
