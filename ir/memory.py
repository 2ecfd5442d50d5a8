"""Memory that is not there: looked for before much is taken, since where it lacks the system ends some process; and said in one way."""

from __future__ import annotations

import re
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .errors import ConvcError, OutOfMemory

__all__ = ["forget_peak", "free_bytes", "in_units", "memory_sentences", "need_bytes", "out_of_memory", "peak_bytes", "ran_out"]

SMALL = 256 << 20  # bytes that nobody asks for
MEMINFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")  # proc(5): 5 sets the peak to what is resident now
GROUPS = ((Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.stat"), ("anon", "kernel")),)
SMALLER = "give smaller sizes with --input"
# what packages say: NumPy, C++'s allocator, TVM's, onnxruntime's arena, protobuf of a message below its 2 GiB; and the system of a library,
# or a thread's stack, without room
SAID = re.compile(
    r"bad_?alloc|out of memory|cannot allocate memory|failed to allocate|unable to allocate|failed to map segment from shared object$|"
    r"can't start new thread|failed to serialize proto",
    re.IGNORECASE,
)
AMOUNT = re.compile(r"Unable to allocate ([\d.]+ \w+)|requested buffer of size (\d+)")
GIB = 2**30


def need_bytes(what: str, nbytes: int, way_out: str = SMALLER) -> None:
    """For something that will take so many bytes at once.

    Raises: OutOfMemory with both numbers where fewer are free.
    """
    if nbytes > SMALL and (free := free_bytes()) is not None and nbytes > free:
        raise OutOfMemory(f"{what} takes {in_units(nbytes)}, of which {in_units(free)} are free; {way_out}")


def ran_out(error: BaseException) -> OutOfMemory | None:
    """What an error of any package says of memory, as ours; None where it speaks of something else, as of a GPU's."""
    text = str(error)
    if isinstance(error, ConvcError) or not (isinstance(error, MemoryError) or SAID.search(text)) or "cuda" in text.lower():
        return error if isinstance(error, OutOfMemory) else None
    return out_of_memory(text)


def out_of_memory(text: str = "") -> OutOfMemory:
    """Where it was not foreseen; the amount, where the `text` of an error has it. What is free now is no longer what was free then.

    The way out holds for whatever did not fit: a network, weights or an archive.
    """
    amount = AMOUNT.search(text)
    wanted = f" for {amount[1] or in_units(int(amount[2]))}" if amount else ""
    return OutOfMemory(f"memory ran out{wanted}; give it more, or choose something smaller: a batch, a network or a file")


@contextmanager
def memory_sentences() -> Generator[None]:
    """Raises: OutOfMemory for whatever in the block says that memory ran out."""
    try:
        yield
    except Exception as error:
        if (ours := ran_out(error)) is not None and ours is not error:
            raise ours from error
        raise


def free_bytes() -> int | None:
    """That this process can have without others being swapped out; None where nothing tells of a limit."""
    limits = [limit for limit in (_of_system(), _of_group(), _of_process()) if limit is not None]
    return max(min(limits), 0) if limits else None


def peak_bytes() -> int | None:
    """That this process has had in memory at once, since it began or `forget_peak`; None where the system does not say."""
    peak = _field(STATUS, "VmHWM:")
    return None if peak is None else 1024 * peak


def forget_peak() -> bool:
    """Whether `peak_bytes` is from now on of what comes."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _of_system() -> int | None:
    available = _field(MEMINFO, "MemAvailable:")
    return None if available is None else 1024 * available


def _of_process() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _field(STATUS, "VmSize:")
    return None if limit == resource.RLIM_INFINITY or used is None else limit - 1024 * used


def _of_group() -> int | None:
    """Of the container."""
    for most, used, fields in GROUPS:
        limit = _lines(most)
        if limit and limit[0].isdecimal():
            return int(limit[0]) - sum(_field(used, field) or 0 for field in fields)
    return None


def _field(path: Path, name: str) -> int | None:
    return next((int(line.split()[1]) for line in _lines(path) if line.split()[:1] == [name]), None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def in_units(nbytes: int) -> str:
    """In the largest unit of which there is one."""
    units = ((GIB, f"{nbytes / GIB:,.1f} GiB"), (2**20, f"{nbytes / 2**20:,.0f} MiB"), (2**10, f"{nbytes / 2**10:,.0f} KiB"))
    return next((text for unit, text in units if nbytes >= unit), f"{nbytes} bytes")
