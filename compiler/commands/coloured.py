"""Lines of a difference, coloured by their marks where a terminal shows colours."""

from __future__ import annotations

from collections.abc import Iterable

from .console import tell

__all__ = ["print_changes"]

COLOURS = {"+": "green", "-": "red", "~": "yellow", "@": "cyan"}


def print_changes(lines: Iterable[str], indent: str = "") -> None:
    """Each line's first character is its mark."""
    for line in lines:
        tell(indent + line, fg=COLOURS.get(line[0]) if line else None, hang=6)
