"""A process that answers questions about files that nobody vouches for: its memory and time have an end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import IO

__all__ = ["Child"]

HEADER = 8  # bytes of a message's length
# isolated (-I), so that no onnx.py is imported from the folder where a model was unpacked; the search path is this process's
BEFORE = """
import json, os, sys
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what an operator prints is no answer
sys.path[:] = json.loads(sys.argv[1])
seconds, most, header = map(int, sys.argv[2:])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
except (ImportError, OSError, ValueError):
    pass
"""
AFTER = """
while size := int.from_bytes(sys.stdin.buffer.read(header), "little"):
    try:
        said = answer(sys.stdin.buffer.read(size))
    except Exception:
        said = b""
    answers.write(len(said).to_bytes(header, "little") + said)
    answers.flush()
"""


class Child:
    """One question after another; the first starts it. `program` defines `answer`, from bytes to at most `most` bytes; it has `seconds`
    for all questions together. It may die `processes` times, and nothing else with it. `close` ends it.
    """

    def __init__(self, program: str, seconds: int, most: int, processes: int) -> None:
        self._program = BEFORE + program + AFTER
        self._seconds, self._most = seconds, most
        self._process: subprocess.Popen[bytes] | None = None
        self._processes_left = processes
        self._seconds_left = float(seconds)

    def ask(self, request: bytes) -> bytes | None:
        """The answer, or None where there is none: no time and no memory are left, or the process died of the question."""
        process = self._running()
        if process is None or self._seconds_left <= 0:
            return None
        begun, alarm = time.monotonic(), threading.Timer(self._seconds_left, process.kill)  # who reads then finds the end of the stream
        alarm.daemon = True
        alarm.start()
        try:
            return self._answer(process, request)
        except (OSError, EOFError, ValueError):
            self.close()
            return None
        finally:
            alarm.cancel()
            self._seconds_left -= time.monotonic() - begun

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _running(self) -> subprocess.Popen[bytes] | None:
        """The process; None once too many have died."""
        if self._process is None and self._processes_left:
            self._processes_left -= 1
            command = [sys.executable, "-I", "-c", self._program, json.dumps([entry for entry in sys.path if entry])]
            command += [str(number) for number in (self._seconds, self._most, HEADER)]
            try:
                pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
                self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing)
            except OSError:
                self._processes_left = 0
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], request: bytes) -> bytes:
        """Raises: OSError, EOFError where the process has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(len(request).to_bytes(HEADER, "little") + request)
        process.stdin.flush()
        size = int.from_bytes(_read(process.stdout, HEADER), "little")
        if size > 2 * self._most:
            raise EOFError
        return _read(process.stdout, size)


def _read(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
