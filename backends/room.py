"""The memory that is free here, which is looked at before a great value is made: where it is too little, the system ends some process."""

from __future__ import annotations

from pathlib import Path

from ..ir.errors import UsageError
from ..ir.graph import Node

__all__ = ["need_room"]

SMALL = 256 << 20  # bytes of a value that nobody asks for
MEMINFO = Path("/proc/meminfo")
COPIES = 2  # of a value, while it is made


def need_room(node: Node, itemsize: int) -> None:
    """For the value of a node in elements of so many bytes, and for what is beside it while it is made.

    Raises: UsageError with both numbers where less is free.
    """
    count = node.typed.numel
    nbytes = COPIES * count * itemsize if isinstance(count, int) and not node.kind.facts.is_view else 0
    if nbytes > SMALL and (free := _free()) is not None and nbytes > free:
        numbers = f"{nbytes / 2**30:,.1f} GiB to compute, of which {free / 2**30:,.1f} GiB are free"
        raise UsageError(f"{node.where}, a value of {node.type}, takes {numbers}; give smaller sizes with --input")


def _free() -> int | None:
    """Bytes that a process can have without others being swapped out; None where the system does not tell."""
    try:
        lines = MEMINFO.read_text().splitlines()
    except OSError:
        return None
    kibibytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kibibytes is None else 1024 * int(kibibytes)
