"""The command line before a real pseudo-terminal, of any width."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
import threading
from pathlib import Path

from convc.tests.support.shell import FORKS, LONGEST, Result, command_before

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(*words: str | Path, width: int, cwd: Path | None = None, out: Path | None = None, **environment: str) -> Result:
    """`convc` with these words before a terminal of `width` columns: all that it showed is the result's `out`, line ends as they were
    written. With a file `out` standard output goes there, and what is shown is standard error alone. `environment` is beside that of this
    process, TERM=xterm-256color among it and neither COLUMNS nor NO_COLOR.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST  # no \r before \n
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    seen: list[bytes] = []
    reader = threading.Thread(target=_read, args=(ours, seen))
    reader.start()
    screen = Path(os.ttyname(theirs))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")} | {"TERM": "xterm-256color"}
    streams = [screen, out or screen, screen]
    process = FORKS.Process(target=command_before, args=(tuple(map(str, words)), cwd or Path.cwd(), kept | environment, streams))
    process.start()
    process.join(LONGEST)
    os.close(theirs)
    reader.join(LONGEST)
    os.close(ours)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"convc {' '.join(map(str, words))}")
    return Result(process.exitcode, b"".join(seen).decode(), "")


def _read(terminal: int, seen: list[bytes]) -> None:
    """Until the last that could write to it has gone."""
    while True:
        try:
            some = os.read(terminal, 1 << 16)
        except OSError:  # EIO: nobody is left at the other end
            return
        if not some:
            return
        seen.append(some)
