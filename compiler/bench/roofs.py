"""What this machine does at most, measured by processes that take their turns with whatever is held to it."""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from ...ir.errors import BackendMissing
from ...ir.limits import MachineLimits, cache_bytes
from .process import Worker
from .worker import BANDWIDTH, PEAK, Assignment

__all__ = ["TURNS", "Roofs", "bandwidth"]

TURNS = 5  # of a measurement of its own


class Roofs:
    """Independent multiply-adds on so many threads and, where they are asked for, reads of memory beyond all caches. Without TVM there are
    none, and `limits` knows no limit.
    """

    def __init__(self, stack: ExitStack, threads: int, *, memory: bool = False) -> None:
        self.threads = threads
        self.peak = _started(stack, PEAK, threads)
        self.memory = _started(stack, BANDWIDTH, threads) if memory and self.peak is not None else None

    def turn(self) -> None:
        for worker in (self.peak, self.memory):
            if worker is not None:
                worker.turn()

    @property
    def limits(self) -> MachineLimits | None:
        """By the fastest turn so far; None before the first."""
        if self.peak is None or not self.peak.turns:
            return None
        return MachineLimits(_rate(self.peak), _rate(self.memory) if self.memory is not None else None, cache_bytes())

    @property
    def slowed(self) -> float | None:
        """How much longer than the fastest turn of multiply-adds the middle one took."""
        return None if self.peak is None else statistics.median(self.peak.taken) / min(self.peak.taken)

    @property
    def got(self) -> float | None:
        """The share of the processors that its threads asked for, all the time, and got: processor time against that of the wall."""
        if self.peak is None:
            return None
        return min(1.0, statistics.fmean(turn.processors for turn in self.peak.turns) / self.threads)


def bandwidth(threads: int) -> float:
    """The fastest read of memory beyond all caches, GB/s.

    Raises: BackendMissing without TVM.
    """
    with Worker(Assignment(BANDWIDTH, 0, threads, {}, "")) as worker:
        worker.wait()
        for _ in range(TURNS):
            worker.turn()
        return _rate(worker) / 1e9


def _started(stack: ExitStack, what: str, threads: int) -> Worker | None:
    worker = stack.enter_context(Worker(Assignment(what, 0, threads, {}, "")))
    try:
        worker.wait()
    except BackendMissing:
        return None
    return worker


def _rate(worker: Worker) -> float:
    """FLOP or bytes a second in the fastest run."""
    return worker.ready.amount / min(worker.taken) * 1e3
