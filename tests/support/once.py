"""What takes seconds to make, and every worker of a run wants as it collects, is made by one process and read by the others."""

from __future__ import annotations

import fcntl
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
FOLDER = "CONVC_TESTS"  # of a run, nobody else's: what lies there is trusted


def once(name: str, make: Callable[[], T]) -> T:
    """Made anew where no run has a folder."""
    if FOLDER not in os.environ:
        return make()
    path = Path(os.environ[FOLDER], name)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            path.write_bytes(pickle.dumps(make(), pickle.HIGHEST_PROTOCOL))
    return pickle.loads(path.read_bytes())


def ahead(module: str) -> subprocess.Popen[bytes]:
    """Import a module in a process beside this one: what it makes once is then there, or on its way."""
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", f"import {module}"], stdin=subprocess.DEVNULL)
