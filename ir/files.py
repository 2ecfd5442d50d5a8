"""Files and directories written whole or not at all: temporary beside the target, fsync, rename. Old or new is there at any moment."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from .errors import UsageError
from .holding import JOURNAL, Hold, exchange, held_folder, new_file, new_folder, new_token, remove, set_aside, sweep, take_away
from .journal import Renaming, identity, journal_text

__all__ = [
    "folder_beside",
    "kept_together",
    "need_plain",
    "replace_directory",
    "scratch_folder",
    "swap",
    "temporary_folder",
    "umask",
    "unwritable",
    "write_file",
    "write_together",
]

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
IN_THE_WAY = (errno.ENOTEMPTY, errno.EEXIST)
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
        sweep(path.parent)
        temporary, hold = _temporary(path, chunks, new_token())
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        hold.close()


def write_together(folder: Path, files: Mapping[str, Iterable[bytes]]) -> None:
    """Write several files of one folder, all or none. Links are not followed but refused. Chunks are asked for in the order of the files.

    Where the process is killed between the first rename and the last, the next write there finishes them, unless somebody else wrote to one
    of the names meanwhile.

    Raises: UsageError where one cannot be written, or is there and is not a plain file; what was there before stays.
    """
    made: dict[Path, tuple[Path, Hold]] = {}
    token = new_token()
    try:
        sweep(folder)
        for name in files:
            _check_replaceable(folder / name)
        for name, chunks in files.items():
            made[folder / name] = _temporary(folder / name, chunks, token)
        _rename(made, token)
    except OSError as error:
        raise unwritable(Path(error.filename or folder), error) from error
    finally:
        for temporary, hold in made.values():
            temporary.unlink(missing_ok=True)
            hold.close()


@contextmanager
def replace_directory(path: Path, foreign: Callable[[Path], list[str]]) -> Generator[Path]:
    """A temporary directory that becomes `path` when the block ends well, and vanishes when it does not.

    A directory that is there gives way only if nothing in it is `foreign`: the names of what convc did not write.

    Raises: UsageError where the path cannot be written or holds something else.
    """
    path, token = path.resolve(), new_token()
    try:
        names = _foreign(path, foreign)
        if names is not None:
            raise UsageError(f"'{path}' exists and holds what convc did not write there{_first(names)}; choose another path or remove it")
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        temporary, hold = new_folder(path, token)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~umask())
        swap(temporary, path, token)
    except OSError as error:
        hold.close()
        remove(temporary)
        if error.errno in NO_ROOM:
            raise unwritable(path, error) from error
        raise
    except BaseException:
        hold.close()
        remove(temporary)
        raise
    hold.close()
    take_away(temporary)  # what was there before has this name now


@contextmanager
def folder_beside(path: Path) -> Generator[Path]:
    """A folder for temporary files beside `path`, gone when the block ends, or when a later one finds that its process was killed.

    Raises: OSError where there is none.
    """
    sweep(path.parent)
    folder, hold = new_folder(path, new_token())
    try:
        yield folder
    finally:
        hold.close()
        remove(folder)


def temporary_folder() -> AbstractContextManager[Path]:
    """The same where the system has temporary files."""
    return folder_beside(Path(tempfile.gettempdir()) / "convc")


@contextmanager
def kept_together() -> Generator[None]:
    """What packages make by `tempfile` in the block lies in one such folder: they tidy up as a process ends, and not where it is killed.

    Raises: OSError where there is none.
    """
    before = tempfile.tempdir
    with temporary_folder() as folder:
        tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before


@contextmanager
def scratch_folder(room: int = 0) -> Generator[Path]:
    """A folder for temporary files, gone when the block ends. Of other files the block may let no OSError out.

    Raises: UsageError where the system has no room for them, or fewer bytes than `room`.
    """
    try:
        with temporary_folder() as folder:
            _need_free(folder, room)
            yield folder
    except OSError as error:
        where = f" in '{tempfile.tempdir}'" if tempfile.tempdir else ""  # where the system has none at all, the error says so
        raise UsageError(f"cannot write temporary files{where}: {error.strerror}; set TMPDIR to a folder with room for them") from error


def _need_free(folder: Path, room: int) -> None:
    """Raises: OSError where a file of so many bytes would not fit: compilers end a process for that."""
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most not in (-1, resource.RLIM_INFINITY) and most < room:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    if shutil.disk_usage(folder).free < room:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def need_plain(path: Path) -> None:
    """Raises: UsageError for a pipe or a device, which has no end and may never answer. What is not there is left to who opens it."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UsageError(f"cannot read '{path}': not a regular file")


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write '{path}': {error.strerror}")


def _temporary(path: Path, chunks: Iterable[bytes], token: str) -> tuple[Path, Hold]:
    """A new file beside `path` with the mode that it has or would get; gone again if that fails."""
    temporary, hold = new_file(path, token)
    try:
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~umask())
    except BaseException:
        temporary.unlink(missing_ok=True)
        hold.close()
        raise
    return temporary, hold


def _rename(made: Mapping[Path, tuple[Path, Hold]], token: str) -> None:
    """Put every temporary in its place; if one fails, those before it give way to what was there."""
    journal, hold = _journal(made, token)
    olds: list[tuple[Path, tuple[Path, Hold | None] | None]] = []
    try:
        for path, (temporary, _) in made.items():
            olds.append((path, set_aside(path, token)))
            os.replace(temporary, path)
    except BaseException:
        for path, old in reversed(olds):
            with suppress(OSError):  # what cannot be put back stays beside it
                if old:
                    os.replace(old[0], path)
                    remove(old[0])  # of two names of one file a rename leaves both
                else:
                    path.unlink(missing_ok=True)
        raise
    else:
        for _, old in olds:
            if old:
                remove(old[0])
    finally:
        remove(journal)
        hold.close()


def _journal(made: Mapping[Path, tuple[Path, Hold]], token: str) -> tuple[Path, Hold]:
    """By which `sweep` finishes the group if this process is killed. Raises: OSError."""
    members: list[Renaming] = []
    for path, (temporary, _) in made.items():
        if (new := identity(temporary)) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        members.append(Renaming(path.name, new, identity(path)))
    journal, hold = new_file(next(iter(made)), token, JOURNAL)
    try:
        with journal.open("wb") as file:
            file.write(journal_text(members))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        remove(journal)
        hold.close()
        raise
    return journal, hold


def _check_replaceable(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise UsageError(f"cannot write '{path}': it is {'a link' if stat.S_ISLNK(mode) else 'not a plain file'}; remove it first")


def _foreign(path: Path, foreign: Callable[[Path], list[str]]) -> list[str] | None:
    """The names of what is foreign, where what lies at `path` may not be replaced; None where it may. Raises: OSError."""
    if not path.is_dir():
        return [] if path.exists() else None
    hold = held_folder(path)
    try:
        return sorted(foreign(hold.place)) or None
    finally:
        hold.close()


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f" ({', '.join(names[:SHOWN])}{more})" if names else ""


def swap(new: Path, path: Path, token: str, exchange: Callable[[Path, Path], bool] = exchange) -> None:
    """Give the folder `new` the name `path`. What had it lies at `new` then, or is gone where two names cannot be exchanged at once.

    Raises: UsageError; what was there before stays.
    """
    try:
        if _is_moved(new, path) or exchange(new, path):
            return
        old = set_aside(path, token)  # for a moment nothing has the name: `held_folder` waits, and `sweep` puts back what was there
        try:
            os.rename(new, path)
        except BaseException:
            if old:
                os.rename(old[0], path)
            raise
        if old:
            if old[1]:
                old[1].close()
            take_away(old[0])
    except OSError as error:
        raise unwritable(path, error) from error


def _is_moved(new: Path, path: Path) -> bool:
    """Where nothing has the name, or an empty folder."""
    try:
        os.rename(new, path)
    except OSError as error:
        if error.errno in IN_THE_WAY:
            return False
        raise
    return True
