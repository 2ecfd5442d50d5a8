"""Calls in a process of their own, whose end is no riddle: a crash is an error at once, and what hangs is not waited for again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


class Apart:
    """One process for all calls, begun with the first, and anew after one that crashed (BrokenProcessPool) or was not waited for to its end,
    as where a test's time is up. `multiprocessing.Pool` waits for ever for what a process that crashed was to answer.
    """

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None
        self.process = 0

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def __call__(self, function: Callable[..., T], *arguments: object) -> T:
        pool = self.pool or self.begin()
        future = pool.submit(function, *arguments)
        try:
            return future.result()
        finally:
            if not future.done() or isinstance(future.exception(), BrokenProcessPool):
                self.end()

    def begin(self) -> ProcessPoolExecutor:
        self.pool = ProcessPoolExecutor(1, get_context("spawn"))
        self.process = self.pool.submit(os.getpid).result()
        return self.pool

    def end(self) -> None:
        """Whatever the process is at."""
        if self.pool is None:
            return
        pool, self.pool = self.pool, None
        with suppress(ProcessLookupError):  # where it crashed
            os.kill(self.process, signal.SIGKILL)
        pool.shutdown()
