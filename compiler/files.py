"""Files written whole or not at all: temporary beside the target, fsync, rename."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from ..ir.errors import UsageError

__all__ = ["replace_directory", "write_file"]


def write_file(path: Path, data: bytes) -> None:
    """Write through links, keep the mode of a file that is there, and write into a pipe or device as it is.

    Raises: UsageError where the path cannot be written; what was there before stays.
    """
    path = path.resolve()
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # /dev/stdout, a FIFO: nothing to replace
            return
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextmanager
def replace_directory(path: Path, is_ours: Callable[[Path], bool]) -> Generator[Path]:
    """A temporary directory that becomes `path` when the block ends well, and vanishes when it does not.

    A directory that is there gives way only if it is empty or `is_ours`, which must know every file in it.

    Raises: UsageError where the path cannot be written or holds something else.
    """
    path = path.resolve()
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or is_ours(path))):
        raise UsageError(f"'{path}' exists and holds what convc did not write there; choose another path or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        _swap(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
        raise _unwritable(path, error) from error
    finally:
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write '{path}': {error.strerror}")
