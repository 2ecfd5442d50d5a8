"""Who uses a file or folder holds it by a shared lock; who takes one away must hold it alone.

So what a reader has open stays whole while its name goes to another, and what a process left behind that was killed is told from what a
living one still writes. The locks are flock's and end with the process. Where a file system has none, nothing is swept, and a reader has
the names alone.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import re
import secrets
import shutil
import stat
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from .journal import finish, read_journal

__all__ = [
    "JOURNAL",
    "Hold",
    "exchange",
    "held_folder",
    "is_being_replaced",
    "new_file",
    "new_folder",
    "new_token",
    "remove",
    "set_aside",
    "shown",
    "sweep",
    "take_away",
]

MARK = re.compile(r"\.(?P<name>.+)\.(?P<token>[0-9a-f]{8})(?P<kind>\.old|\.all)?\.convc")
OLD, JOURNAL = ".old", ".all"  # kinds: what was there before, and what says which files belong together; none for what is being written
OPEN_FILES = Path("/proc/self/fd")
PATIENCE, PAUSE = 2.0, 0.002  # seconds: for readers of what is taken away, and between two looks
TRIES = 1000  # to hold a folder by a name that others give away again and again
CANNOT_LINK = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
CANNOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV)
HERE, SWAP = -100, 2  # AT_FDCWD; RENAME_EXCHANGE of linux/fs.h and RENAME_SWAP of macOS alike


class Hold:
    """An open file or folder that nobody takes away before `close`, or before this is forgotten."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self.handle = path, handle
        self.close = weakref.finalize(self, _released, handle)

    @property
    def place(self) -> Path:
        """Where it lies whatever becomes of its name, for as long as this holds; the name itself where the system has no such place."""
        place = OPEN_FILES / str(self.handle)
        return place if place.exists() else self.path

    def is_still(self, path: Path) -> bool:
        """Whether `path` is the name of it."""
        try:
            return os.path.samestat(os.fstat(self.handle), os.stat(path, follow_symlinks=False))
        except OSError:
            return False


def held_folder(path: Path) -> Hold:
    """The folder of that name, whole for as long as it is held.

    Raises: OSError if there is none.
    """
    for _ in range(TRIES):
        path = path.resolve()
        hold = _hold(path, os.O_DIRECTORY)
        if hold is not None and hold.is_still(path):
            return hold
        time.sleep(PAUSE)  # it was just given away
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))


def shown(path: Path) -> Path:
    """What people call a file in a folder that is held."""
    with suppress(OSError):
        if OPEN_FILES in path.parents:
            return Path(os.readlink(path.parent)) / path.name
    return path


def new_token() -> str:
    """What names have in common that are written together."""
    return secrets.token_hex(4)


def new_file(path: Path, token: str, kind: str = "") -> tuple[Path, Hold]:
    """A new empty file beside `path`, to be written and given its name. Raises: OSError."""
    return _new(_beside(path, token, kind), lambda name: os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)), 0)


def new_folder(path: Path, token: str) -> tuple[Path, Hold]:
    """A new empty folder beside `path`. Raises: OSError."""
    return _new(_beside(path, token), lambda name: os.mkdir(name, 0o700), os.O_DIRECTORY)


def set_aside(path: Path, token: str) -> tuple[Path, Hold | None] | None:
    """Another name for what lies at `path`, held, until what comes in its place is there; None if there is nothing. Raises: OSError.

    A file keeps its own name too, where the file system has links. A folder has it no more.
    """
    old = _beside(path, token, OLD)
    try:
        hold = _hold(path, 0)
        if path.is_dir():
            os.rename(path, old)
            return old, hold
        try:
            os.link(path, old)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            os.rename(path, old)
    except FileNotFoundError:
        return None
    return old, hold


def take_away(path: Path) -> None:
    """Remove a file or folder once nobody holds it; who does for longer leaves it to the next `sweep`."""
    end = time.monotonic() + PATIENCE
    while (alone := _alone(path, or_without_locks=True)) is None:
        if time.monotonic() > end or not path.exists():
            return
        time.sleep(PAUSE)
    remove(path)
    os.close(alone)


def remove(path: Path) -> None:
    """A file or folder of one's own, if it can be."""
    with suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def is_being_replaced(path: Path) -> bool:
    """Whether something was just set aside that had this name: only where a file system cannot exchange two names at once."""
    return any(mark["kind"] == OLD and mark["name"] == path.name for _, mark in _marked(path.parent))


def sweep(folder: Path) -> None:
    """Remove what processes left in a folder that were killed while they wrote, and finish what they had begun: of several files that
    belong together, all get their names if one has.

    Nothing is put over a file but what a journal proves to belong there. What was set aside comes back where nothing has its name; a file
    of which there may be no other copy, as where somebody wrote by hand after the kill, stays beside it.
    """
    groups: dict[str, list[tuple[Path, re.Match[str]]]] = defaultdict(list)
    for path, mark in _marked(folder):
        groups[mark["token"]].append((path, mark))
    for group in groups.values():
        locks = [_alone(path) for path, _ in group]
        if None not in locks:
            _tidy(folder, group)
        for lock in locks:
            if lock is not None:
                os.close(lock)


def _tidy(folder: Path, group: Sequence[tuple[Path, re.Match[str]]]) -> None:
    drafts = {mark["name"]: path for path, mark in group if mark["kind"] is None}
    is_finished = False
    for path, mark in group:
        if mark["kind"] == JOURNAL:
            try:
                is_finished |= finish(folder, drafts, read_journal(path))
            except OSError:
                return  # all of it stays for the next one
    for path, mark in sorted(group, key=lambda entry: entry[1]["kind"] == JOURNAL):  # last, for who is killed in here
        if mark["kind"] != OLD or is_finished or _is_needless(path, folder / mark["name"]):
            remove(path)


def _is_needless(old: Path, home: Path) -> bool:
    """Whether what was set aside may go: it is there under its own name, now if not before, or it is a folder that was replaced."""
    with suppress(OSError):
        if old.is_dir():
            if not os.path.lexists(home):
                os.rename(old, home)
            return True
        with suppress(FileExistsError):
            _put_back(old, home)
        return os.path.samestat(os.lstat(old), os.lstat(home))
    return False


def _put_back(old: Path, home: Path) -> None:
    """A file under its own name too, where nothing has it. Raises: OSError."""
    try:
        os.link(old, home)
    except OSError as error:
        if error.errno not in CANNOT_LINK or os.path.lexists(home):
            raise
        os.rename(old, home)


def exchange(one: Path, other: Path) -> bool:
    """Each gets the other's name, at no moment without one. False where the system or the file system cannot.

    Raises: OSError
    """
    call = _exchange_call()
    if call is None:
        return False
    if call(os.fsencode(one), os.fsencode(other)) == 0:
        return True
    number = ctypes.get_errno()
    if number in CANNOT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


@functools.cache
def _exchange_call() -> Callable[[bytes, bytes], int] | None:
    libc = ctypes.CDLL(None, use_errno=True)
    if (rename := getattr(libc, "renameat2", None)) is not None:
        return lambda one, other: int(rename(HERE, one, HERE, other, SWAP))
    if (rename := getattr(libc, "renamex_np", None)) is not None:
        return lambda one, other: int(rename(one, other, SWAP))
    return None


def _hold(path: Path, flags: int) -> Hold | None:
    """None if somebody has it alone. Raises: OSError if it cannot be opened."""
    hold = Hold(path, os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags))
    try:
        fcntl.flock(hold.handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        hold.close()
        return None
    except OSError:  # no locks here
        pass
    return hold


def _beside(path: Path, token: str, kind: str = "") -> Path:
    """A name that `sweep` knows."""
    return path.with_name(f".{path.name}.{token}{kind}.convc")


def _new(name: Path, make: Callable[[Path], None], flags: int) -> tuple[Path, Hold]:
    make(name)
    for _ in range(TRIES):
        with suppress(FileNotFoundError):  # it was swept before it was held
            if (hold := _hold(name, flags)) is not None and hold.is_still(name):
                return name, hold
        time.sleep(PAUSE)
        with suppress(FileExistsError):  # whose sweep has it alone, and has not removed it yet, or will not
            make(name)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(name))


def _alone(path: Path, *, or_without_locks: bool = False) -> int | None:
    """An open handle with the lock for one; None where others hold it, where it is gone, and mostly where there are no locks."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError) or not or_without_locks:
            os.close(handle)
            return None
    return handle


def _released(handle: int) -> None:
    """A process that was forked meanwhile has the same lock."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def _marked(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            mark = MARK.fullmatch(entry.name)
            if mark and _is_ours(entry):
                yield Path(entry.path), mark


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Not where another user left it, or where it just went: another process sweeps too."""
    with suppress(OSError):
        return entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    return False
