"""How much of a labelled folder a network gets right: it has a folder of photographs for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.errors import InvalidInput, UsageError
from ...ir.graph import Graph
from ...ir.legible import legible
from ...ir.suggest import did_you_mean, not_there
from ...ir.types import Array
from ..files.photographs import photographs_in
from .console import Console, print_table, tell

__all__ = ["ClassFolders", "RightShares", "labelled"]

BEST = 5


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """The number of each class by the folder that its photographs lie in, and the `output` that has a score for each class."""

    folders: Mapping[Path, int]
    output: str

    @property
    def files(self) -> tuple[str, ...]:
        """As -i takes them."""
        return tuple(map(str, self.folders))

    def score(self, names: Sequence[str], results: Mapping[str, Array]) -> RightShares:
        """Of results [n,classes] for the photographs of these names. Of equal scores the first class goes before, as in what is printed."""
        given = [str(each) for folder in self.files for each in photographs_in(folder) or ()]
        names = names or given  # a single one is not named
        truth = np.array([self.folders[Path(name).parent] for name in names])
        best = np.argsort(np.negative(results[self.output]), axis=1, kind="stable")[:, :BEST]
        right = best == truth[:, None]
        own = {folder.name: truth == number for folder, number in self.folders.items()}
        classes = {name: (int(rows.sum()), int(right[rows, 0].sum())) for name, rows in own.items()}
        return RightShares(self.output, len(names), len(given) - len(names), int(right[:, 0].sum()), int(right.any(1).sum()), classes)


@dataclass(frozen=True, slots=True)
class RightShares:
    """How many of so many `photographs` have their class first, and among the first five; by class, how many there are and are right.
    Those that were `skipped`, since they could not be read, are not among them."""

    output: str
    photographs: int
    skipped: int
    first: int
    among: int
    classes: Mapping[str, tuple[int, int]]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        classes = [{"name": name, "photographs": count, "top1": right / count} for name, (count, right) in self.classes.items() if count]
        shares = {"top1": self.first / self.photographs, "top5": self.among / self.photographs}
        return {"output": self.output, "photographs": self.photographs, "skipped": self.skipped, **shares, "classes": classes}

    def show(self, console: Console) -> None:
        """A line, and with -v one for each class."""
        if console.verbosity > 0:
            rows = [(name, f"{count:,}", f"{right / count:.4f}") for name, (count, right) in self.classes.items() if count]
            print_table(rows, ("class", "photographs", "top-1"))
        rights = (("top-1", self.first), ("top-5", self.among))
        shares = [f"{word} {right / self.photographs:.4f} ({right:,} of {self.photographs:,})" for word, right in rights]
        photographs = f"{self.photographs:,} photograph{'s' * (self.photographs != 1)}"
        tell(f"{self.output}: {photographs} of {len(self.classes)} class{'es' * (len(self.classes) != 1)}: {', '.join(shares)}")


def labelled(given: Sequence[str], graph: Graph, classes: Sequence[str]) -> ClassFolders:
    """The one folder that is `given`; `classes` are the names of the network's, in order, where they are known.

    Raises: UsageError where it is no folder; InvalidInput where it has no folders, or they cannot be told to be the network's classes.
    """
    if len(given) != 1 or not Path(given[0]).is_dir():
        if len(given) == 1 and not Path(given[0]).exists():
            raise UsageError(not_there(Path(given[0]), "folder"))
        raise UsageError("--score takes one -i: a folder with a folder of photographs for each class")
    folder = Path(given[0])
    found = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not found:
        raise InvalidInput(f"'{legible(folder)}' has no folders; each class is a folder of its photographs")
    output, count = _scores(graph)
    if classes:
        numbers = {name: number for number, name in enumerate(classes)}
        if (odd := next((each.name for each in found if each.name not in numbers), None)) is not None:
            hint = did_you_mean(odd, classes, f"some are {', '.join(classes[:3])}", widely=True)
            raise InvalidInput(f"'{legible(folder)}' has a folder '{legible(odd)}', which is no class of the network{legible(hint)}")
        return ClassFolders({each: numbers[each.name] for each in found}, output)
    if len(found) != count:
        raise InvalidInput(
            f"'{legible(folder)}' has {len(found)} folders and output '{legible(output)}' {count} classes; "
            "say by --labels what each is called, and name the folders so"
        )
    return ClassFolders({each: number for number, each in enumerate(found)}, output)


def _scores(graph: Graph) -> tuple[str, int]:
    """The output with a score for each class, and how many these are."""
    found = [(node.name, node.typed.shape[1]) for node in graph.outputs if node.typed.rank == 2]
    rows = [(name, count) for name, count in found if isinstance(count, int) and count > 1]
    if len(rows) != 1:
        have = ", ".join(f"{node.name} {node.type}" for node in graph.outputs)
        raise InvalidInput(f"--score needs one output [N,classes], and @{legible(graph.name)} has {legible(have)}")
    return rows[0]
