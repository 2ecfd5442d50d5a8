"""The command line as a user has it: one process a call."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convc.__main__ import main
from convc.tests.support.forked_workers import fork_workers

LONGEST = 240  # seconds
TVM_SETTINGS = {"TVM_NUM_THREADS": "2", "TVM_BIND_THREADS": "0"}  # that convc gives TVM where it imports it, which here has been done
PYTHONPATH = os.environ.get("PYTHONPATH")
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["convc.tests.support.warm"])
RELU = "graph @g(%x: f32[N,4]) {\n  %y = relu(%x)\n  return %y\n}\n"  # a file to give to commands


@dataclass(frozen=True)
class Result:
    """What a command printed and returned."""

    code: int
    out: str
    err: str


def convc(*words: str | Path, stdin: str | None = None, cwd: Path | None = None, fresh: bool = False) -> Result:
    """`convc` with these words. Its process is forked from one that has imported what commands import, which takes most of their time;
    a `fresh` one, or one with a PYTHONPATH of its own, starts from nothing. What it answers as JSON is held to its schema.
    """
    done = _done(words, stdin, cwd, fresh=fresh)
    if "--json" in words and done.out.startswith("{"):
        from convc.tests.support.answers import check_answer

        check_answer(json.loads(done.out))
    return done


def _done(words: Sequence[str | Path], stdin: str | None, cwd: Path | None, *, fresh: bool) -> Result:
    if fresh or os.environ.get("PYTHONPATH") != PYTHONPATH:
        return _from_nothing(words, stdin, cwd)
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("in", "out", "err")]
        streams[0].write_text(stdin or "")
        process = FORKS.Process(target=command_before, args=(tuple(map(str, words)), cwd or Path.cwd(), dict(os.environ), streams))
        process.start()
        process.join(LONGEST)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"convc {' '.join(map(str, words))}")
        return Result(process.exitcode, *(path.read_text() for path in streams[1:]))


def _from_nothing(words: Sequence[str | Path], stdin: str | None, cwd: Path | None) -> Result:
    command = [sys.executable, "-m", "convc", *map(str, words)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=cwd, timeout=LONGEST)
    return Result(done.returncode, done.stdout, done.stderr)


def command_before(words: Sequence[str], cwd: Path, environment: dict[str, str], streams: Sequence[Path]) -> None:
    """In the fork: the process that a shell would have started."""
    os.environ.clear()
    os.environ.update(TVM_SETTINGS | environment)
    os.chdir(cwd)
    for number, (path, mode) in enumerate(zip(streams, (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT), strict=True)):
        os.dup2(os.open(path, mode), number)
    sys.stdin = os.fdopen(0, closefd=False)  # multiprocessing has closed the one there was
    sys.argv = ["convc", *words]
    fork_workers()
    main()


def refused(done: Result, code: int, *words: str) -> None:
    """The refusal is one line on stderr, with these words and no traceback."""
    assert done.code == code, (done.out, done.err)
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1, done.err
    for word in words:
        assert word in done.err


def without_tvm_settings() -> dict[str, str]:
    """The environment of a program that nobody has told of TVM."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TVM_")}


def array_header(shape: str, dtype: str = "<f4") -> bytes:
    """The head of an .npy file."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
