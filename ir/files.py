"""Files written whole or not at all: temporary beside the target, fsync, rename."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import UsageError

__all__ = ["scratch_folder", "umask", "unwritable", "write_file", "write_together"]


def write_file(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write bytes, or chunks of them, through links, keep the mode of a file that is there, and write into a pipe or device as it is.

    Raises: UsageError where the path cannot be written; what was there before stays.
    """
    chunks = [data] if isinstance(data, bytes) else data
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(b"".join(chunks))  # a FIFO, or /dev/stdout, whose link may lead to no name: nothing to replace
            return
        path = path.resolve()
        temporary = _temporary(path, chunks)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_together(folder: Path, files: Mapping[str, Iterable[bytes]]) -> None:
    """Write several files of one folder, all or none. Links are not followed but refused. Chunks are asked for in the order of the files.

    Raises: UsageError where one cannot be written, or is there and is not a plain file; what was there before stays.
    """
    made: dict[Path, Path] = {}
    try:
        for name in files:
            _check_replaceable(folder / name)
        for name, chunks in files.items():
            made[folder / name] = _temporary(folder / name, chunks)
        _rename(made)
    except OSError as error:
        raise unwritable(Path(error.filename or folder), error) from error
    finally:
        for temporary in made.values():
            temporary.unlink(missing_ok=True)


@contextmanager
def scratch_folder(room: int = 0) -> Generator[Path]:
    """A folder for temporary files, gone when the block ends. Of other files the block may let no OSError out.

    Raises: UsageError where the system has no room for them, or fewer bytes than `room`.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="convc.") as folder:
            if shutil.disk_usage(folder).free < room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield Path(folder)
    except OSError as error:
        where = f" in '{tempfile.tempdir}'" if tempfile.tempdir else ""  # where the system has none at all, the error says so
        raise UsageError(f"cannot write temporary files{where}: {error.strerror}; set TMPDIR to a folder with room for them") from error


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write '{path}': {error.strerror}")


def _temporary(path: Path, chunks: Iterable[bytes]) -> Path:
    """A new file beside `path` with the mode that it has or would get; gone again if that fails."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~umask())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _rename(made: Mapping[Path, Path]) -> None:
    """Put every temporary in its place; if one fails, those before it give way to what was there."""
    olds: list[tuple[Path, Path | None]] = []
    try:
        for path, temporary in made.items():
            old = temporary.with_name(f"{temporary.name}.old") if path.exists() else None
            if old:
                os.replace(path, old)
            olds.append((path, old))
            os.replace(temporary, path)
    except BaseException:
        for path, old in reversed(olds):
            path.unlink(missing_ok=True)
            if old:
                os.replace(old, path)
        raise
    for _, old in olds:
        if old:
            old.unlink(missing_ok=True)


def _check_replaceable(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise UsageError(f"cannot write '{path}': it is {'a link' if stat.S_ISLNK(mode) else 'not a plain file'}; remove it first")
