"""Lines of a difference, coloured by their marks where a terminal shows colours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import click

from .console import echo

__all__ = ["print_changes"]

COLOURS = {"+": "green", "-": "red", "~": "yellow", "@": "cyan"}


def print_changes(lines: Iterable[str], indent: str = "") -> None:
    """Each line's first character is its mark."""
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in lines:
        echo(indent + (click.style(line, fg=COLOURS.get(line[0])) if coloured else line))
