"""The process of a worker, as seen by who started it: it is told what to do, and what it answers is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, fields
from typing import Any, TypeVar

from ...ir import errors
from ...ir.errors import ConvcError
from .layer_times import LayerTime
from .worker import Asked, Assignment, Profiled, Ready, Refused, Turn

__all__ = ["Worker", "start_process"]

T = TypeVar("T")


def start_process(task: Assignment) -> subprocess.Popen[str]:
    """The process of a worker, which reads its standard input and writes to its standard output."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(task.threads))  # the reference's, and torch's
    return subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.worker", json.dumps(asdict(task))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | threads,
    )


class Worker:
    """A process with one engine, which ends with the block that it was started for."""

    def __init__(self, task: Assignment) -> None:
        self.task = task
        self.ready = Ready(0.0, 0, True)
        self.turns: list[Turn] = []
        self.process = start_process(task)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def taken(self) -> list[float]:
        """Milliseconds of every counted run."""
        return [taken for turn in self.turns for taken in turn.milliseconds]

    @property
    def seconds(self) -> float:
        """Of all turns, as far as runs were counted."""
        return sum(turn.seconds for turn in self.turns)

    def wait(self) -> None:
        """Until the engine is ready."""
        self.ready = self._answer(Ready)

    def turn(self) -> None:
        self.turns.append(self._ask(Asked(), Turn))

    def profile(self, runs: int) -> list[LayerTime]:
        return [LayerTime(**layer) for layer in self._ask(Asked(runs), Profiled).layers]

    def _ask(self, what: Asked, answer: type[T]) -> T:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has gone, and its last words say why
            print(json.dumps(asdict(what)), file=self.process.stdin, flush=True)
        return self._answer(answer)

    def _answer(self, answer: type[T]) -> T:
        """Raises: the worker's own refusal; ConvcError if it died without one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ConvcError(f"the process that ran {self.task.engine} ended with {self.process.wait()}")
        said: dict[str, Any] = json.loads(line)
        if said.keys() == {field.name for field in fields(Refused)}:
            refused = Refused(**said)
            kind: type[ConvcError] = getattr(errors, refused.error)
            raise kind(refused.message)
        return answer(**said)
