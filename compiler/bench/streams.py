"""Runs of one network, in one thread or in several at once, as a server has them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Streams"]

WAKE = 0.03  # seconds of uncounted runs, at least one
COUNT, MOST = 0.1, 100  # seconds of counted runs, at least one; and at most so many, where they are one after another and turns short
T = TypeVar("T")


class Streams:
    """So many threads, each of which runs the network again and again while the others do. They stay, since an engine may make what it
    needs for each thread.
    """

    def __init__(
        self, run: Callable[[], object], count: int, clock: Callable[[], float] = time.perf_counter, *, short: bool = True
    ) -> None:
        self.count = count
        self._most = MOST if short and count == 1 else math.inf
        self._run, self._clock = run, clock
        self._gate = threading.Barrier(count)
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def warm(self, seconds: float) -> None:
        """Runs that do not count, at least one in each stream."""
        self._all(lambda: self._until(seconds))

    def turn(self) -> tuple[list[float], float]:
        """Milliseconds of every counted run of all streams, and the seconds from the first one's begin to the last one's end."""
        streams = self._all(self._stream)
        taken = [taken for times, _, _ in streams for taken in times]
        return taken, max(end for _, _, end in streams) - min(begin for _, begin, _ in streams)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _stream(self) -> tuple[list[float], float, float]:
        self._until(WAKE)
        self._gate.wait()
        begun = self._clock()
        taken: list[float] = []
        end = begun
        while not taken or (end - begun < COUNT and len(taken) < self._most):
            start = self._clock()
            self._run()
            end = self._clock()
            taken.append((end - start) * 1e3)
        return taken, begun, end

    def _until(self, seconds: float) -> None:
        begun = self._clock()
        self._run()
        while self._clock() - begun < seconds:
            self._run()

    def _all(self, work: Callable[[], T]) -> list[T]:
        """What each stream makes, of which none begins before the others: two that one thread took in turn would be no streams."""
        if self._pool is None:
            return [work()]
        asked = [self._pool.submit(self._together, work) for _ in range(self.count)]
        failed = [error for each in asked if (error := each.exception()) is not None]
        if failed:  # where one fails the others are told by the gate, which is no reason
            raise next((error for error in failed if not isinstance(error, threading.BrokenBarrierError)), failed[0])
        return [each.result() for each in asked]

    def _together(self, work: Callable[[], T]) -> T:
        try:
            self._gate.wait()
            return work()
        except BaseException:
            self._gate.abort()  # or the others would wait for it
            raise
