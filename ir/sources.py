"""Convc's own sources: what is kept from process to process was made by them, and is known by them.

Python loads a file when it is first wanted, and what lies on disk may be replaced meanwhile, as by an upgrade. So nobody can say by which
sources a process made something, unless all of them were there, as they are, before it loaded any.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from .version import BEGAN

__all__ = ["hash_of"]


def hash_of(root: Path, sources: Sequence[str], began: float = BEGAN) -> str | None:
    """Of Python files, by their places under `root` and their bytes; `sources` are files there, or folders of them. None where one was
    written after the process `began` to load them, in seconds since the epoch, or cannot be read.
    """
    try:
        found = _hash(root, tuple(sources))
        return None if any(_written(path) > began for path in _files(root, sources)) else found
    except OSError:
        return None


@functools.cache
def _hash(root: Path, sources: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for path in _files(root, sources):
        content = Path(path).read_bytes()
        digest.update(f"{Path(path).relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(root: Path, sources: Sequence[str]) -> Iterator[str]:
    """As text: every compilation asks for their dates, and hundreds of objects of pathlib take longer than that."""
    for source in sources:
        if source.endswith(".py"):
            yield os.path.join(root, source)
        for folder, folders, names in os.walk(os.path.join(root, source)):
            folders.sort()
            yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))


def _written(path: str) -> float:
    """When it came to be as it is: an archive may bring a file with a date of its own, but Linux dates that, too."""
    about = os.stat(path)
    return about.st_ctime if os.name == "posix" else about.st_mtime
