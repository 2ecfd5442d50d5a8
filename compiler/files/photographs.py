"""Several photographs: folders and patterns of names, what was converted in which, and what could not be read."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from ...ir.errors import InvalidInput, UsageError
from ...ir.memory import need_bytes
from ...ir.types import Array, TensorType
from .images import AS_THEY_ARE, Preparing, is_image, load_image

__all__ = ["Notes", "Said", "photographs_in", "read_photographs"]

MOST = 100_000  # files of a folder or of a pattern
Said = Callable[[str], None]


def photographs_in(text: str) -> list[Path] | None:
    """The photographs of a folder, or of a pattern such as `photos/*.jpg`, by name; one that is named itself; None for another file.

    Raises: UsageError for a folder or a pattern without any.
    """
    path = Path(text)
    if path.is_dir():
        found = [each for each in path.iterdir() if is_image(each)]
    elif not path.exists() and glob.has_magic(text):
        found = [each for each in map(Path, glob.iglob(text, recursive=True)) if is_image(each)]
    else:
        return [path] if is_image(path) else None
    if not found and (below := _below(text)):
        ways = f"give '{below}', in quotes; `convc run --score` takes a folder of folders, one for each class"
        raise UsageError(f"'{text}' has no photographs itself, and folders in it have; {ways}")
    if not found:
        raise UsageError(f"'{text}' has no photographs, of which names end in .jpg or .png and the like")
    if len(found) > MOST:
        raise UsageError(f"'{text}' has {len(found):,} photographs; at most {MOST:,} are read")
    return sorted(found)


def _below(text: str) -> str:
    """The pattern of photographs one folder further down, or two; empty where there are none either."""
    patterns = (f"{text.rstrip('/')}/*", f"{text.rstrip('/')}/*/*")
    return next((each for each in patterns if any(is_image(Path(found)) for found in islice(glob.iglob(each), MOST))), "")


@dataclass
class Notes:
    """What was done to which photographs; each kind is said once, with how many they were."""

    converted: dict[str, list[Path]] = field(default_factory=dict[str, list[Path]])
    skipped: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    read: int = 0

    def say(self, say: Said) -> None:
        for what, paths in self.converted.items():
            others = f" and {len(paths) - 1} {'others' if len(paths) > 2 else 'other'}" if len(paths) > 1 else ""
            say(f"'{paths[0]}'{others}: {what}")
        for _, why in self.skipped:
            say(f"warning: {why}; skipped")
        if self.skipped:
            say(f"warning: {len(self.skipped)} of {self.read + len(self.skipped)} photographs were skipped")


def read_photographs(
    paths: Sequence[Path], type_: TensorType, preparing: Preparing = AS_THEY_ARE, notes: Notes | None = None, *, skip: bool = False
) -> tuple[Array, list[Path]]:
    """[n,C,H,W] of those that can be read, and which they are. With `skip`, those that cannot be are left out; none may be left then.

    Raises: InvalidInput as `load_image`, unless it is skipped; for photographs of different sizes.
    """
    notes = Notes() if notes is None else notes
    made, kept = list[Array](), list[Path]()
    for path in paths:
        said = list[str]()
        try:
            pixels = load_image(path, type_, preparing, said)
        except InvalidInput as error:
            if not skip:
                raise
            notes.skipped.append((path, str(error)))
            continue
        if made and made[0].shape != pixels.shape:
            first, other = (f"{each.shape[3]}x{each.shape[2]}" for each in (made[0], pixels))
            raise InvalidInput(f"'{path}' is {other} pixels and '{kept[0]}' {first}; a batch has one size; fix it with --input")
        if not made:
            need_bytes(f"{len(paths)} photographs of {type_}", 2 * pixels.nbytes * len(paths))
        made.append(pixels)
        kept.append(path)
        for what in said:
            notes.converted.setdefault(what, []).append(path)
    notes.read += len(kept)
    return np.concatenate(made) if made else np.empty((0,), np.float32), kept
