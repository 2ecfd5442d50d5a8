"""Tensors that keep their data in another file: which file, which bytes, and opening it without being led astray.

A location is a path below the model's own folder. It is walked component by component, each opened relative to the one before and none
through a link, so that nothing can be exchanged between the check and the use (CVE-2022-25882, CVE-2024-27318 and what followed them).
Source: onnx, docs/ExternalData.md.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ....ir.errors import InvalidModel, UsageError
from ....ir.files import unwritable, write_together
from ....ir.legible import quoted
from .limits import Limits

if TYPE_CHECKING:
    from onnx import TensorProto

__all__ = [
    "FileRange",
    "FileState",
    "Parts",
    "check_files",
    "copy_files",
    "is_location",
    "open_below",
    "range_of",
    "read_range",
    "unchanged_files",
]

KEYS = ("location", "offset", "length", "checksum")
MAX_DIGITS = 19  # of a 63-bit number
MAX_PARTS = 32
MAX_PART = 255  # bytes; what file systems allow
CHUNK = 2**20
FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
FILE_FLAGS = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
REPARSE_POINT = 0x400  # Windows: links, junctions and mounts
Parts = tuple[str, ...]


@dataclass(frozen=True)
class FileRange:
    """Bytes `offset` to `offset + length` of a file; without a `length`, to its end. `checksum` is the SHA-1 of the whole file, in hex."""

    parts: Parts
    offset: int = 0
    length: int | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class FileState:
    """Which file was there when the model was read. Units: `size` in bytes, `modified` in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int


def range_of(tensor: TensorProto, where: str) -> FileRange:
    """Where a tensor says that its data are.

    Raises: InvalidModel for unknown, doubled or missing keys, numbers that are not plain digits, and paths that leave the folder.
    """
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key not in KEYS:
            raise InvalidModel(f"{where} has the key {quoted(entry.key)} in its external data; known are {', '.join(KEYS)}")
        if entry.key in entries:
            raise InvalidModel(f"{where} has the key '{entry.key}' twice in its external data")
        entries[entry.key] = entry.value
    if "location" not in entries:
        raise InvalidModel(f"{where} is marked as external but names no location")
    checksum = entries.get("checksum")
    if checksum is not None and not re.fullmatch(r"[0-9a-fA-F]{40}", checksum, re.ASCII):
        raise InvalidModel(f"{where} has the checksum {quoted(checksum)}; a SHA-1 has 40 hexadecimal digits")
    length = _number(entries["length"], f"{where}: length") if "length" in entries else None
    return FileRange(_parts(entries["location"], where), _number(entries.get("offset", "0"), f"{where}: offset"), length, checksum)


def check_files(folder: Path, file: str, ranges: Sequence[tuple[str, FileRange, int]], limits: Limits) -> dict[Parts, FileState]:
    """Open every file that the tensors name, and check that it has their bytes; `ranges` are (where, place, declared bytes).

    Raises: InvalidModel for a file that is missing, is not a plain file of its own, is too short or differs from its checksum.
    """
    states: dict[Parts, FileState] = {}
    sums: dict[Parts, str] = {}
    with_sum = {place.parts for _, place, _ in ranges if place.checksum}
    bytes_declared = bytes_there = 0
    for where, place, declared in ranges:
        if place.parts not in states:
            with os.fdopen(open_below(folder, place.parts, where), "rb", buffering=0) as opened:
                states[place.parts] = _state(opened.fileno())
                bytes_there += states[place.parts].size
                if place.parts in with_sum and bytes_there <= limits.external_bytes:
                    sums[place.parts] = _sha1(opened)
        bytes_declared += declared
        if max(bytes_declared, bytes_there) > limits.external_bytes:
            raise InvalidModel(f"{file}: more than {limits.external_bytes:,} bytes of external data; that is the most that is read")
        _check_extent(place, declared, states[place.parts].size, where)
        if place.checksum and sums[place.parts] != place.checksum.lower():
            raise InvalidModel(f"{where}: {_name(place.parts)} has the SHA-1 {sums[place.parts]}, the model says {place.checksum.lower()}")
    return states


def read_range(folder: Path, place: FileRange, states: Mapping[Parts, FileState], declared: int, where: str) -> bytearray:
    """The bytes at a place whose file is still the one that was checked.

    Raises: InvalidModel where it is another, or has changed.
    """
    if (known := states.get(place.parts)) is None:
        raise InvalidModel(f"{where}: {_name(place.parts)} was not named when the model was read")
    with os.fdopen(open_below(folder, place.parts, where), "rb", buffering=0) as file:
        if _state(file.fileno()) != known:
            raise InvalidModel(f"{where}: {_name(place.parts)} has changed since the model was read; read the model again")
        _check_extent(place, declared, known.size, where)
        data = bytearray(declared)
        file.seek(place.offset)
        view, got = memoryview(data), 0
        while got < declared and (more := file.readinto(view[got:])):
            got += more
    if got < declared:
        raise InvalidModel(f"{where}: {_name(place.parts)} ended after {got:,} of {declared:,} bytes")
    return data


def copy_files(folder: Path, states: Mapping[Parts, FileState], target: Path) -> None:
    """Copy external data from below the model's `folder` to the same places below `target`. What lies there already, byte for byte, stays.

    Raises: UsageError where something else lies there, or where it cannot be written; InvalidModel where a file has changed since the
    model was read.
    """
    for parts, state in states.items():
        place, name = target.joinpath(*parts), _name(parts)
        with os.fdopen(open_below(folder, parts, name), "rb", buffering=0) as file:
            if _state(file.fileno()) != state:
                raise InvalidModel(f"{name} has changed since the model was read; read the model again")
            if place.is_file() and place.stat().st_size == state.size and _holds(place, file):
                continue
            if os.path.lexists(place):
                raise UsageError(f"'{place}' is there and is not the external data of the model; write into another folder")
            file.seek(0)
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise unwritable(place, error) from error
            write_together(place.parent, {place.name: _chunks(file)})


def unchanged_files(folder: Path, states: Mapping[Parts, FileState]) -> list[Path]:
    """Those of a model's external files that are still what they were when it was read: nothing has been written in their place."""
    found = list[Path]()
    for parts, state in states.items():
        with suppress(OSError, InvalidModel), os.fdopen(open_below(folder, parts, _name(parts)), "rb", buffering=0) as file:
            if _state(file.fileno()) == state:
                found.append(folder.joinpath(*parts))
    return found


def _holds(path: Path, file: io.FileIO) -> bool:
    with path.open("rb") as there:
        return all(there.read(len(chunk)) == chunk for chunk in _chunks(file))


def _chunks(file: io.FileIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def is_location(text: str) -> bool:
    """Whether `read_model` would look for external data there."""
    try:
        _parts(text, "")
    except InvalidModel:
        return False
    return True


def open_below(folder: Path, parts: Parts, where: str) -> int:
    """A descriptor of a plain file below `folder`, reached through plain folders only.

    Raises: InvalidModel for links of either kind, devices, pipes, folders, and files that are not there.
    """
    try:
        handle = _walk(folder, parts) if os.open in os.supports_dir_fd and NO_FOLLOW else _walk_by_path(folder, parts)
    except (OSError, ValueError) as error:
        why = "a link, or below one" if _has_link(folder, parts) else getattr(error, "strerror", None) or str(error)
        raise InvalidModel(f"{where}: the external data in {_name(parts)} cannot be opened: {why}") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(handle)
        what = f"a file with {status.st_nlink} names (hard links); copy it" if stat.S_ISREG(status.st_mode) else "not a plain file"
        raise InvalidModel(f"{where}: the external data in {_name(parts)} are refused: {what}")
    return handle


def _walk(folder: Path, parts: Parts) -> int:
    at = os.open(folder, FOLDER_FLAGS)
    try:
        for part in parts[:-1]:
            below = os.open(part, FOLDER_FLAGS | NO_FOLLOW, dir_fd=at)
            os.close(at)
            at = below
        _check_plain(os.stat(parts[-1], dir_fd=at, follow_symlinks=False))  # opening some devices already does something
        return os.open(parts[-1], FILE_FLAGS | NO_FOLLOW, dir_fd=at)
    finally:
        os.close(at)


def _walk_by_path(folder: Path, parts: Parts) -> int:
    """Where folders cannot be opened: look at every component, open, and see that it is the file that was looked at."""
    for last in range(1, len(parts)):
        status = os.lstat(folder.joinpath(*parts[:last]))
        if not stat.S_ISDIR(status.st_mode) or _is_reparse(status):
            raise OSError("a component is not a plain folder")
    path = folder.joinpath(*parts)
    before = os.lstat(path)
    _check_plain(before)
    handle = os.open(path, FILE_FLAGS)
    if not os.path.samestat(before, os.fstat(handle)):
        os.close(handle)
        raise OSError("the file was exchanged while it was opened")
    return handle


def _check_plain(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) or _is_reparse(status):
        raise OSError("not a plain file")


def _is_reparse(status: os.stat_result) -> bool:
    return bool(getattr(status, "st_file_attributes", 0) & REPARSE_POINT)


def _has_link(folder: Path, parts: Parts) -> bool:
    """Only for the message: whether a component is a link now."""
    return any(os.path.islink(folder.joinpath(*parts[: last + 1])) for last in range(len(parts)))


def _state(handle: int) -> FileState:
    status = os.fstat(handle)
    return FileState(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _sha1(file: io.FileIO) -> str:
    digest = hashlib.sha1(usedforsecurity=False)  # what the format has; it guards against accidents only
    for chunk in _chunks(file):
        digest.update(chunk)
    return digest.hexdigest()


def _check_extent(place: FileRange, declared: int, size: int, where: str) -> None:
    length = size - place.offset if place.length is None else place.length
    if place.offset + max(length, 0) > size or length < 0:
        raise InvalidModel(f"{where} takes {max(length, 0):,} bytes at {place.offset:,} of {_name(place.parts)}, which has {size:,}")
    if length != declared:
        raise InvalidModel(f"{where} has {length:,} bytes in {_name(place.parts)}; its shape and element type take {declared:,}")


def _number(text: str, what: str) -> int:
    if not (isinstance(text, str) and re.fullmatch(rf"[0-9]{{1,{MAX_DIGITS}}}", text, re.ASCII)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidModel(f"{what} is {quoted(text)}; only digits, at most {MAX_DIGITS}, are a number of bytes")
    return int(text)


def _parts(location: str, where: str) -> Parts:
    """The components of a location; `.` is dropped. Backslashes and colons are refused everywhere, for they are separators somewhere."""

    def refuse(why: str) -> InvalidModel:
        return InvalidModel(f"{where} has its data in {quoted(location)}, which {why}; only paths below the model's folder are read")

    if not isinstance(location, str) or not location.isprintable():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise refuse("has characters that cannot be printed")
    if not location:
        raise refuse("is empty")
    if location.startswith("/") or "\\" in location or ":" in location:
        raise refuse("is absolute or has a backslash or colon")
    parts = tuple(part for part in location.split("/") if part != ".")
    if ".." in parts or "" in parts or not parts:
        raise refuse("has '..' or empty components")
    if len(parts) > MAX_PARTS or any(len(part.encode()) > MAX_PART for part in parts):
        raise refuse("is too long or too deep")
    return parts


def _name(parts: Parts) -> str:
    return quoted("/".join(parts))
