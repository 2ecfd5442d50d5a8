"""Workers of a bench, forked from a command that has imported what they import, which would take most of their time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from dataclasses import asdict

from convc.backends.tvm.host import home_process
from convc.compiler.bench import process, worker
from convc.compiler.bench.worker import Assignment

MOST_FILES = 1024  # that a command has open


class ForkedWorker:
    """As much of a Popen as is asked of one."""

    def __init__(self, task: Assignment) -> None:
        theirs, told = os.pipe()
        heard, said = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            _work(task, theirs, said)
        os.close(theirs)
        os.close(said)
        self.stdin, self.stdout = os.fdopen(told, "w"), os.fdopen(heard)
        self.returncode: int | None = None

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self) -> None:
        self.wait()
        self.stdin.close()
        self.stdout.close()


def fork_workers() -> None:
    """In a command that starts some. One that uses an engine itself has threads that a fork would lack: there they start from nothing."""
    from_nothing = process.start_process

    def start(task: Assignment) -> subprocess.Popen[str] | ForkedWorker:
        is_used = "onnxruntime" in sys.modules or home_process.cache_info().currsize
        return from_nothing(task) if is_used else ForkedWorker(task)

    process.start_process = start


def _work(task: Assignment, asked: int, said: int) -> None:
    """In the fork, of which nothing returns to what its parent was about."""
    code = 1
    try:
        os.dup2(asked, 0)
        os.dup2(said, 1)
        os.closerange(3, MOST_FILES)  # the ends of other workers' pipes: they must see that who asks hangs up
        sys.stdin = os.fdopen(0, closefd=False)
        sys.argv = ["worker", json.dumps(asdict(task))]
        worker.main()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
