"""Compiled kernels, and networks as a whole, on disk, found by content; any number of processes share one directory.

An entry's key holds the hash of all that went into it, so entries never change and need no lock: each is written under another name and
renamed. They will be executed: one is read only if it is whole and if nobody but this user and root can have written it; otherwise it is
made again.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ....ir.errors import UsageError
from ....ir.types import Array

__all__ = ["KINDS", "PLACE", "SIZE", "Cache", "find_cache", "usable_cache"]

PLACE = "CONVC_CACHE"  # an absolute path, or "off"
SIZE = "CONVC_CACHE_MIB"
DEFAULT_MIB = 2048  # kernels of some hundred networks, and a dozen networks whole, with their weights
DIGEST = 64  # hexadecimal digits before a content, which then begins where kernels want memory to
KINDS = ("kernel", "stock", "emulated", "library", "cubin", "network", "packed")  # of contents, as their keys begin
NAME = re.compile(rf"\.?({'|'.join(KINDS)})_[0-9a-f]{{32}}(\..*)?")  # nothing else is touched; unfinished ones begin with a dot
FORGOTTEN = 3600.0  # seconds; what is written takes less, so an older unfinished file is of a process that was killed
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
ROOT = 0  # a user's number, who may write anywhere: an image of a container that was warmed by root serves whoever runs in it


def find_cache(environ: Mapping[str, str] = os.environ) -> Cache | None:
    """The cache that the environment asks for, or None where it says off. Nothing is created or read yet.

    Raises: UsageError for a place that is no absolute path, or a size that is no positive number.
    """
    mib = environ.get(SIZE) or str(DEFAULT_MIB)
    if not mib.isdecimal() or int(mib) < 1:
        raise UsageError(f"{SIZE} is '{mib}'; it is the most that the cache of kernels may hold, in MiB, at least 1")
    place = environ.get(PLACE) or _default_place(environ)
    if place == "off":
        return None
    if not Path(place).is_absolute():
        raise UsageError(f"{PLACE} is '{place}'; it takes an absolute path, or off")
    return Cache(Path(place), int(mib) << 20)


def usable_cache(environ: Mapping[str, str] = os.environ) -> tuple[Cache | None, str]:
    """The cache, its directory made if need be; or None and, unless it is off, why.

    Raises: UsageError as `find_cache`.
    """
    cache = find_cache(environ)
    obstacle = cache.obstacle() if cache is not None else ""
    return (None if obstacle else cache), obstacle


def _default_place(environ: Mapping[str, str]) -> str:
    """By the XDG base directory specification, which has relative paths ignored. Who has no home directory has no cache."""
    base = environ.get("XDG_CACHE_HOME", "")
    base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")
    return os.path.join(base, "convc") if os.path.isabs(base) else "off"


@dataclass(frozen=True, slots=True)
class Cache:
    """Contents by key: one of KINDS, a line and 32 digits. Unit of `most`: bytes; the oldest by use go first."""

    folder: Path
    most: int

    def obstacle(self) -> str:
        """Why the directory will not do, and the way out; empty if it will. It is made if it is not there."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            about = self.folder.stat()
        except OSError as error:
            return f"{self.folder}: {error.strerror}; set {PLACE} to a directory that can be written, or to off"
        if not _is_trusted(about):
            return f"{self.folder} belongs to another user; set {PLACE} to a directory of your own, or to off"
        if about.st_mode & OTHERS_WRITE:
            return f"others can write to {self.folder}, and what is kept gets executed; set {PLACE} to a directory of your own, or to off"
        if not os.access(self.folder, os.R_OK | os.X_OK):  # what cannot be written is read all the same
            return f"{self.folder} cannot be read; have its owner open it (chmod -R a+rX), or set {PLACE} to another directory, or to off"
        return ""

    @property
    def is_read_only(self) -> bool:
        return not os.access(self.folder, os.W_OK)

    def get(self, key: str) -> bytes | None:
        """What was put under `key`; None if nothing was, or if it is not to be trusted any more."""
        try:
            with self._opened(key) as file:
                entry = file.read() if file else b""
        except OSError:  # of a failing disk, or a mount that went away
            return None
        return entry[DIGEST:] if self._is_whole(key, memoryview(entry)) else None

    def mapped(self, key: str) -> Array | None:
        """The same as pages of the file, for what is large: read-only, and there for as long as somebody looks."""
        try:
            with self._opened(key) as file:
                if file is None or os.fstat(file.fileno()).st_size <= DIGEST:
                    return None
                pages = np.asarray(np.memmap(file, np.uint8, "r"))
        except (OSError, ValueError):  # a mount that maps nothing; a file that was emptied meanwhile
            return None
        return pages[DIGEST:] if self._is_whole(key, pages.data) else None

    @contextmanager
    def _opened(self, key: str) -> Generator[IO[bytes] | None]:
        """An entry that nobody else can have written."""
        with ExitStack() as stack:
            file = None
            with suppress(OSError):
                file = stack.enter_context(open(self.folder / key, "rb", opener=_no_link))  # closes the descriptor of what is no file, too
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode) or about.st_mode & OTHERS_WRITE or not _is_trusted(about):
                    file = None
            yield file

    def _is_whole(self, key: str, entry: memoryview) -> bool:
        if bytes(entry[:DIGEST]) != _digest(key, [entry[DIGEST:]]):
            return False
        with suppress(OSError):
            os.utime(self.folder / key)  # a mount may not note when a file was read
        return True

    def put(self, key: str, content: bytes | Iterable[bytes | memoryview]) -> None:
        """Keep `content`, or what its pieces are together; without a word if that fails: it can be made again."""
        pieces = [content] if isinstance(content, bytes) else content
        temporary = ""
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=f".{key}.", delete=False) as file:
                temporary = file.name
                file.write(bytes(DIGEST))
                digest = _digest(key, _written(file, pieces))
                file.seek(0)
                file.write(digest)
            os.replace(temporary, self.folder / key)
        except OSError:
            if temporary:
                Path(temporary).unlink(missing_ok=True)

    def drop(self, key: str) -> None:
        """Have nothing under `key`, if it can be had."""
        with suppress(OSError):
            os.unlink(self.folder / key)

    def trim(self) -> None:
        """Remove what was used longest ago until the rest fits, and what killed processes left behind."""
        files, left = list(self._files()), self.most
        fits = sum(about.st_size for _, about in files) <= left  # as it mostly does, and thousands of files need no order then
        for entry, about in files if fits else sorted(files, key=lambda file: -file[1].st_mtime):
            left -= about.st_size
            abandoned = entry.name.startswith(".") and time.time() - about.st_mtime > FORGOTTEN
            if left < 0 or abandoned:
                with suppress(OSError):  # another process may have been quicker
                    os.unlink(entry)

    def size(self) -> tuple[int, int]:
        """Entries, and their bytes."""
        sizes = [about.st_size for entry, about in self._files() if not entry.name.startswith(".")]
        return len(sizes), sum(sizes)

    def _files(self) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                try:
                    if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        yield entry, entry.stat(follow_symlinks=False)
                except OSError:  # it is gone
                    continue


def _no_link(path: str, flags: int) -> int:
    """Nor a pipe that is waited for."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _digest(key: str, content: Iterable[bytes | memoryview]) -> bytes:
    """Of both, so that an entry under another's name is none."""
    digest = hashlib.sha256(key.encode())
    for piece in content:
        digest.update(piece)
    return digest.hexdigest().encode()


def _written(file: IO[bytes], pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        file.write(piece)
        yield piece


def _is_trusted(about: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or about.st_uid in (os.geteuid(), ROOT)
