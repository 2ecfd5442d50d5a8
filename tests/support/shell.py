"""The command line as a user has it: one process a call."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

RELU = "graph @g(%x: f32[N,4]) {\n  %y = relu(%x)\n  return %y\n}\n"  # a file to give to commands


@dataclass(frozen=True)
class Result:
    """What a command printed and returned."""

    code: int
    out: str
    err: str


def convc(*words: str | Path, stdin: str | None = None, cwd: Path | None = None) -> Result:
    done = subprocess.run(
        [sys.executable, "-m", "convc", *map(str, words)], input=stdin, capture_output=True, text=True, cwd=cwd, timeout=240
    )
    return Result(done.returncode, done.stdout, done.stderr)


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
