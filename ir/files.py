"""Files and directories written whole or not at all: temporary beside the target, fsync, rename."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import UsageError

__all__ = ["replace_directory", "scratch_folder", "umask", "unwritable", "write_file", "write_together"]

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
SHOWN = 3  # foreign files named in a complaint


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
def replace_directory(path: Path, foreign: Callable[[Path], list[str]]) -> Generator[Path]:
    """A temporary directory that becomes `path` when the block ends well, and vanishes when it does not.

    A directory that is there gives way only if nothing in it is `foreign`: the names of what convc did not write.

    Raises: UsageError where the path cannot be written or holds something else.
    """
    path = path.resolve()
    if path.exists() and (not path.is_dir() or foreign(path)):
        raise UsageError(
            f"'{path}' exists and holds what convc did not write there{_first_names(path, foreign)}; choose another path or remove it"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~umask())
        _swap(temporary, path)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise unwritable(path, error) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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


def _first_names(path: Path, foreign: Callable[[Path], list[str]]) -> str:
    """The first of what is foreign in a directory, for a complaint."""
    names = sorted(foreign(path)) if path.is_dir() else []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f" ({', '.join(names[:SHOWN])}{more})" if names else ""


def _swap(new: Path, path: Path) -> None:
    """Put `new` in the place of `path`; what was there comes back if that fails."""
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    try:
        if path.exists():
            os.replace(path, old)  # onto the empty directory just made
        try:
            os.replace(new, path)
        except BaseException:
            if not path.exists() and any(old.iterdir()):
                os.replace(old, path)
            raise
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
