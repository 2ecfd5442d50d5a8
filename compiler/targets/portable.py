"""An artifact with a library for each of several processors: the first of them is loaded that the machine has the instructions for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...ir.errors import ArtifactError, UsageError
from .cpu_built import KIND, CpuBuilt, cpu_built_of
from .fields import WrongField
from .options import FP32
from .target import Held, Peak

if TYPE_CHECKING:
    from ...backends.tvm.library.built import Library

__all__ = ["CHOICE", "PortableBuilt", "file_of", "libraries_of", "portable_of"]

CHOICE = "CONVC_CPU"  # the name of the library that is loaded whatever else would be


def file_of(name: str, mcpu: str) -> str:
    """What a file of one library is called among those of others."""
    path = Path(name)
    return f"{path.stem}.{mcpu}{path.suffix}" if mcpu else name


@dataclass(frozen=True, slots=True)
class PortableBuilt:
    """`libraries` for processors of one kind, those with the most instruction sets first. What is asked of it is answered by the one that
    is loaded here, by the first where none can be.
    """

    libraries: tuple[CpuBuilt, ...]

    @property
    def chosen(self) -> CpuBuilt:
        wanted = os.environ.get(CHOICE)
        named = next((each for each in self.libraries if each.mcpu == wanted), None)
        return named or next((each for each in self.libraries if not each.why_not_here), self.libraries[0])

    @property
    def kind(self) -> str:
        return KIND

    @property
    def library(self) -> str:
        return self.chosen.library

    @property
    def tvm(self) -> str:
        return self.chosen.tvm

    @property
    def device(self) -> str:
        return self.chosen.device

    @property
    def tiles(self) -> Mapping[str, int]:
        return self.chosen.tiles

    @property
    def precision(self) -> str:
        return FP32

    @property
    def in_place(self) -> Mapping[str, str]:
        return self.chosen.in_place

    def record(self) -> dict[str, Any]:
        return {"kind": self.kind, "libraries": [each.record() for each in self.libraries]}

    def opened(self, held: Held) -> Library:
        """Raises: UsageError for a choice that there is not; ArtifactError where no library runs here, or the chosen one does not."""
        names = ", ".join(each.mcpu for each in self.libraries)
        wanted, chosen = os.environ.get(CHOICE), self.chosen
        if wanted and chosen.mcpu != wanted:
            raise UsageError(f"{CHOICE} is '{wanted}', and '{held.path}' has libraries for {names}; name one of them, or none")
        if not wanted and (why := chosen.why_not_here):
            least = self.libraries[-1]
            raise ArtifactError(f"'{held.path}' has libraries for {names}, and none runs here: {least.mcpu}'s {least.why_not_here or why}")
        return chosen.opened(held)

    def measured(self, measure: Callable[[], Peak | None]) -> PortableBuilt:
        """What was measured is of the one that runs here."""
        found = self.chosen.measured(measure)
        return PortableBuilt(tuple(found if each.mcpu == found.mcpu else each for each in self.libraries))

    def report(self, unit: str) -> list[str]:
        lines = [f"  {each.mcpu}: {each.library} with {each.weights}, needs {', '.join(each.needs)}" for each in self.libraries]
        links = [f"Not linked: {'; '.join(each.link)}" for each in self.libraries if each.link]
        memory = replace(self.chosen, link=()).report(unit)
        return ["", "Libraries, of which the first is loaded that a processor has the instructions for", *lines, *links, *memory]


def libraries_of(built: CpuBuilt | PortableBuilt) -> tuple[CpuBuilt, ...]:
    return built.libraries if isinstance(built, PortableBuilt) else (built,)


def portable_of(record: Mapping[str, Any]) -> PortableBuilt:
    """Raises: WrongField for what convc cannot have written."""
    listed: Any = record["libraries"]
    found = cast("list[Any]", listed) if isinstance(listed, list) else []
    if len(found) < 2 or not all(isinstance(each, dict) for each in found):
        raise WrongField("libraries")
    libraries = tuple(map(cpu_built_of, found))
    if len({each.mcpu for each in libraries}) < len(libraries):
        raise WrongField("mcpu")
    return PortableBuilt(libraries)
