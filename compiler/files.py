"""Files and directories written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from ..ir.errors import UsageError
from ..ir.files import umask, unwritable, write_file

__all__ = ["replace_directory", "write_file"]

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
SHOWN = 3  # foreign files named in a complaint


@contextmanager
def replace_directory(path: Path, foreign: Callable[[Path], list[str]]) -> Generator[Path]:
    """A temporary directory that becomes `path` when the block ends well, and vanishes when it does not.

    A directory that is there gives way only if nothing in it is `foreign`: the names of what convc did not write.

    Raises: UsageError where the path cannot be written or holds something else.
    """
    path = path.resolve()
    if path.exists() and (not path.is_dir() or foreign(path)):
        raise UsageError(
            f"'{path}' exists and holds what convc did not write there{_named(path, foreign)}; choose another path or remove it"
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


def _named(path: Path, foreign: Callable[[Path], list[str]]) -> str:
    """The first foreign files of a directory, for a complaint."""
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
