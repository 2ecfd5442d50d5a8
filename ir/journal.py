"""Several files that take their names together: what is written down before the first does, and what is finished by it after a kill.

It is believed only of files that are still the very ones that it describes. Whoever has written there since has given the file another time
or inode; and no archive, checkout or copy that is put beside somebody's files knows what inodes it will get, and they have.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Renaming", "SameFile", "finish", "identity", "journal_text", "read_journal"]

LONGEST = 1 << 16  # bytes of one that is read: convc writes two files together


class SameFile(NamedTuple):
    """What stays of a file that is renamed, and does not of one that is written or copied."""

    inode: int
    nbytes: int
    written: int  # nanoseconds since 1970


class Renaming(NamedTuple):
    """A file of a group: what comes to its name, and what had it before, if anything."""

    name: str
    new: SameFile
    old: SameFile | None


def identity(path: Path) -> SameFile | None:
    """None where there is none. Raises: OSError where that is not to be found out."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return SameFile(status.st_ino, -1, -1)  # none that a journal can name
    return SameFile(status.st_ino, status.st_size, status.st_mtime_ns)


def journal_text(members: Iterable[Renaming]) -> bytes:
    return json.dumps(list(members)).encode()


def read_journal(path: Path) -> list[Renaming]:
    """Empty for what cannot be one. Raises: OSError."""
    with path.open("rb") as file:
        text = file.read(LONGEST + 1)
    try:
        return [_member(*entry) for entry in json.loads(text)] if len(text) <= LONGEST else []
    except (ValueError, TypeError, RecursionError):
        return []


def finish(folder: Path, drafts: dict[str, Path], members: list[Renaming]) -> bool:
    """Give every draft of a group its name, if some have theirs already and nobody has written to any of the names since.

    Returns whether all of the group are there now. If none has its name yet, what was there before stays: nobody has seen anything else.
    Raises: OSError.
    """
    homes = {member: identity(folder / member.name) for member in members}
    if not any(home == member.new for member, home in homes.items()):
        return False
    waiting = [member for member, home in homes.items() if home != member.new]
    for member in waiting:
        if homes[member] not in (None, member.old) or member.name not in drafts or identity(drafts[member.name]) != member.new:
            return False
    for member in waiting:
        os.replace(drafts[member.name], folder / member.name)
    return True


def _member(name: object, new: Iterable[object], old: Iterable[object] | None) -> Renaming:
    """Raises: ValueError, TypeError."""
    if not isinstance(name, str) or Path(name).name != name or b"\0" in os.fsencode(name):
        raise ValueError(name)
    return Renaming(name, _identity(*new), None if old is None else _identity(*old))


def _identity(*numbers: object) -> SameFile:
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise TypeError(numbers)
    return SameFile(*numbers)  # pyright: ignore[reportArgumentType]  # as was just looked at
