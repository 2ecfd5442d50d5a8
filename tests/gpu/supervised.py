"""Steps in a process of their own, which a kernel may bring down or bring to a halt: it is begun again with the next step.

After a kernel that touches what it may not, CUDA fails all that its process asks for; and a kernel that never ends is waited for.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

__all__ = ["Step", "Work", "supervised"]

S = TypeVar("S")
STARTING = 90.0  # seconds that a process has until it begins a step
BROKEN = 3  # the code of one whose device no longer answers


@dataclass(frozen=True)
class Step(Generic[S]):
    """`run` adds to what was found so far. Units: `seconds` that it has, after which its process is ended."""

    name: str
    seconds: float
    run: Callable[[S], None]


@dataclass(frozen=True)
class Work(Generic[S]):
    """`steps(*given)` has names of their own. `failed(found, step, why)` notes what a step raises, or that its process ended; `answers` says
    whether another may follow in the same process then. All are functions of modules: the process is a new one.
    """

    steps: Callable[..., Sequence[Step[S]]]
    given: tuple[Any, ...]
    failed: Callable[[S, str, str], None]
    answers: Callable[[], bool]


def supervised(work: Work[S], found: S) -> Iterator[S]:
    """What was found, after each step."""
    done = list[str]()
    while True:
        here, there = get_context("spawn").Pipe(duplex=False)
        process = get_context("spawn").Process(target=_work, args=(there, work, found, tuple(done)))
        process.start()
        there.close()
        doing, seconds, why = "", STARTING, ""
        try:
            while here.poll(seconds):
                doing, seconds, told = here.recv()
                if told is not None:
                    found = told
                    done.append(doing)
                    yield found
                    if not seconds:
                        return
                    doing, seconds = "", STARTING
            why = f"not done in {seconds:.0f} s, and ended"
        except EOFError:
            process.join()
            why = f"its process ended with {process.exitcode}"
        finally:
            process.kill()
            process.join()
            here.close()
        if not doing and process.exitcode == BROKEN:
            continue
        work.failed(found, doing or "the next step", why)
        yield found
        if not doing:
            return
        done.append(doing)


def _work(there: Connection, work: Work[S], found: S, done: Sequence[str]) -> None:
    """Tells of each step that begins (name, seconds, None), and that it ended (name, whether another follows, found)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever waits for this process ends it
    left = [step for step in work.steps(*work.given) if step.name not in done]
    for i, step in enumerate(left):
        there.send((step.name, step.seconds, None))
        is_broken = False
        try:
            step.run(found)
        except Exception as error:  # time on a GPU is short: whatever fails is written down, and the next thing tried
            said = str(error).splitlines() or [""]
            work.failed(found, step.name, f"{type(error).__name__}: {said[0]}")
            is_broken = not work.answers()
        there.send((step.name, float(i + 1 < len(left)), found))
        if is_broken:
            os._exit(BROKEN)
