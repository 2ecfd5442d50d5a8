"""Workers that tune a network's layers at once, some of which may fail."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ....ir.errors import BackendMissing, ConvcError
from ..store.tuned_forms import Found
from .survey import Served
from .timing import SESSION

__all__ = ["PATIENCE", "Crew", "Unconfirmed"]

PATIENCE = 60.0  # seconds for a worker to come to an end; an interpreter that ends amid a kernel's compilation crashes
GLANCE = 0.2  # seconds between two looks for a layer that another worker gives back


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A kernel of which no two rounds in succession said the same, and `why`; `gains` are how many times as fast the best form was
    in each.
    """

    kernel: str
    gains: tuple[float, ...]
    why: str


class Crew:
    """Workers that take layers from one queue. A layer comes back to it when its worker fails, so none leaves while others are at work."""

    def __init__(self, given: Sequence[Served], deadline: float) -> None:
        self.waiting = queue.Queue[Served]()  # its unfinished_tasks count those that are being tuned as well
        self.said = queue.SimpleQueue[tuple[Served, Found | Unconfirmed | BaseException] | None]()
        self.stopped = threading.Event()
        self.deadline = deadline
        self.heard = time.monotonic()
        for served in given:
            self.waiting.put(served)

    def is_over(self) -> bool:
        return self.stopped.is_set() or time.monotonic() >= self.deadline

    def asked(self) -> bool:
        """`is_over` for those at work, who are heard by it: compiling many forms takes longer than all that is measured."""
        self.heard = time.monotonic()
        return self.is_over()

    def work(self, tuned: Callable[[Served], Found | Unconfirmed | None]) -> None:
        """One worker, until nothing is left, it fails, or the time is over."""
        while self.waiting.unfinished_tasks and not self.is_over():
            try:
                served = self.waiting.get(timeout=GLANCE)
            except queue.Empty:
                continue
            try:
                found = tuned(served)
            except BaseException as error:
                self.waiting.put(served)
                self.said.put((served, error))
                break
            finally:
                self.waiting.task_done()
            if found is not None:
                self.said.put((served, found))
        self.said.put(None)

    def results(self, workers: int) -> Iterator[tuple[Served, Found | Unconfirmed | ConvcError]]:
        """What so many workers say.

        Raises: BackendMissing when they are silent for too long; why the last of them failed, if layers are left; what is no refusal.
        """
        failed: ConvcError | None = None
        while workers:
            result = self._hear(workers)
            if result is None:
                workers -= 1
            elif isinstance(result[1], Found | Unconfirmed):
                yield result[0], result[1]
            elif isinstance(result[1], ConvcError):
                failed = result[1]
                yield result[0], failed
            else:
                raise result[1]
        if failed is not None and self.waiting.unfinished_tasks and not self.is_over():
            raise failed

    def _hear(self, workers: int) -> tuple[Served, Found | Unconfirmed | BaseException] | None:
        left = most = SESSION + PATIENCE
        while left > 0:
            try:
                return self.said.get(timeout=left)
            except queue.Empty:
                left = self.heard + most - time.monotonic()  # somebody may have asked since
        raise BackendMissing(f"nothing was heard of {workers} measuring processes for {most:.0f} s; what was finished is kept")
