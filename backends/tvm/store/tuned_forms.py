"""What tuning found: one line of JSON a kernel, only ever added, so that whatever stops the tuner loses nothing that was finished.

A line holds for one processor, number of threads, release of TVM, and these very kernels: it says by how much a form beat the rule's, and
a rule that has changed since may be faster. The last line about a kernel counts: it was written by somebody who had measured the form of
the one before as well. Nothing in it is executed, and a form that the kernel does not have is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from ....ir.errors import UsageError
from .cache import find_cache

__all__ = ["Found", "find_database", "latest", "read_found", "tuned_forms", "write_found"]

FILE = "tuned.jsonl"
MOST_BYTES = 64 << 20  # far more than all kernels of all networks
TYPES: dict[str, Any] = {"machine": str, "kernel": str, "form": (dict, type(None)), "rule": float, "best": float, "tried": int}


@dataclass(frozen=True, slots=True)
class Found:
    """One finished kernel. `form` is None where the rule's stays; `tried` counts forms.

    Units: `rule` and `best` milliseconds, of the rule's form and of the fastest other.
    """

    machine: str
    kernel: str
    form: dict[str, Any] | None
    rule: float
    best: float
    tried: int


def find_database(asked: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file in the directory that was asked for, or in the cache of kernels; None for `off`. Nothing is created.

    Raises: UsageError as `find_cache`.
    """
    if asked is not None:
        return None if asked == "off" else Path(asked) / FILE
    cache = find_cache(environ)
    return None if cache is None else cache.folder / FILE


def read_found(path: Path) -> tuple[list[Found], str]:
    """All lines that can be read, and a sentence about those that cannot, or empty."""
    try:
        if path.exists() and not path.is_file():
            return [], f"{path} is not a regular file, so it is no database of convc tune; delete it"
        if path.stat().st_size > MOST_BYTES:
            return [], f"{path} is larger than {MOST_BYTES >> 20} MiB, so it is no database of convc tune; delete it"
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        return [], f"{path} cannot be read: {error.strerror}"
    found: list[Found] = []
    bad: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        entry = _parsed(line)
        if entry is not None:
            found.append(entry)
        elif line.strip():
            bad.append(number)
    if not bad:
        return found, ""
    return found, f"{path}: line {bad[0]} cannot be read{f', nor can {len(bad) - 1} others' if bad[1:] else ''}; the rest of it counts"


def tuned_forms(path: Path | None, machine: str) -> tuple[dict[str, Any], str]:
    """Fields of forms by the kernels' keys, for one machine; and a sentence about what cannot be read, or empty."""
    found, complaint = read_found(path) if path is not None else ([], "")
    return {kernel: each.form for kernel, each in latest(found, machine).items() if each.form is not None}, complaint


def latest(found: Iterable[Found], machine: str) -> dict[str, Found]:
    """What counts for one machine, by the kernels' keys."""
    return {each.kernel: each for each in found if each.machine == machine}


def write_found(path: Path, found: Found) -> None:
    """Add a line, on the disk when this returns.

    Raises: UsageError where the file cannot be written.
    """
    line = json.dumps(asdict(found)) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line  # the last one was cut short
            file.write(line.encode())  # in one piece, as other processes may add theirs
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; give another directory with --database") from error


def _parsed(line: str) -> Found | None:
    try:
        fields: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    named = cast("dict[str, Any]", fields)
    is_found = named.keys() == TYPES.keys() and all(isinstance(named[name], kind) for name, kind in TYPES.items())
    return Found(**named) if is_found else None
