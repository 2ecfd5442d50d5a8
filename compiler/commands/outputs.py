"""What a command is told to write: refused before the work where it cannot be written, for the work may be long."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ...ir.errors import UsageError
from ...ir.legible import legible

__all__ = ["OUTPUT_FILE", "OUTPUT_FOLDER", "Output"]


class Output(click.Path):
    """A path to write a file to, or a folder, whose parents are made. It is given as a Path.

    Raises: UsageError in a folder that is not there or may not be written to, for a folder in place of a file, and the other way round.
    """

    def __init__(self, *, is_folder: bool) -> None:
        super().__init__(readable=False, path_type=Path)
        self.is_folder = is_folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path: Any = super().convert(value, param, ctx)
        label = f"{param.opts[0]} '{legible(path)}'" if isinstance(param, click.Option) else f"'{legible(path)}'"
        try:
            why = _why_no_folder(path) if self.is_folder else _why_no_file(path)
        except OSError as error:  # such as a name that is too long
            why = error.strerror or str(error)
        if why:
            raise UsageError(f"{label}: {why}")
        return path


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return "that is a folder, and a file is wanted; name one in it"
    if path.exists() and not path.is_file():  # a pipe or a device is written as it is
        return "" if os.access(path, os.W_OK) else "it cannot be written to"
    place = path.resolve().parent  # of a link: where the file lies
    if not place.exists():
        return f"there is no folder '{legible(path.parent)}'; make it first"
    return _why_not_in(place)


def _why_no_folder(path: Path) -> str:
    if path.exists() and not path.is_dir():
        return "that is a file, and a folder is wanted; choose another path or remove it"
    return _why_not_in(next(each for each in (path.resolve(), *path.resolve().parents) if each.exists()))


def _why_not_in(place: Path) -> str:
    if not place.is_dir():
        return f"'{legible(place)}' is no folder; choose another path"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"the folder '{legible(place)}' cannot be written to; choose another path"


OUTPUT_FILE, OUTPUT_FOLDER = Output(is_folder=False), Output(is_folder=True)
