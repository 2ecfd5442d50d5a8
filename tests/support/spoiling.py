"""Ways to spoil a file of the cache."""

from __future__ import annotations

from pathlib import Path

__all__ = ["emptied", "flipped", "shortened", "writable_by_others"]


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path: Path) -> None:
    entry = bytearray(path.read_bytes())
    entry[-1] ^= 1
    path.write_bytes(entry)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def writable_by_others(path: Path) -> None:
    path.chmod(0o620)
