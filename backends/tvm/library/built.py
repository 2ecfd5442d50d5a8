"""A compiled library as a value: what must be known to load it, whether it was built here or a manifest tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ....ir.graph import Graph
from ..cpu.laid import Argument

if TYPE_CHECKING:
    from ..cpu.plan import KernelCall

__all__ = ["FixedBatches", "Library", "MachineCode", "beside", "function_of"]


@dataclass(frozen=True, slots=True)
class MachineCode:
    """For GPUs of `architecture`, in a file beside the library: what the source in the library was compiled to, if it was."""

    architecture: str
    path: Path | None


@dataclass(frozen=True, slots=True)
class FixedBatches:
    """For a GPU, a library may have a function for each of some batches, all of whose sizes are numbers.

    `memory` are the bytes that a run takes by the batch, its inputs left out; the batch is 0 where none has a name. With `cuda_graph` a run
    is launched as a whole.
    """

    memory: Mapping[int, int]
    cuda_graph: bool = True


def function_of(batch: int) -> str:
    """The function of a library for a batch."""
    return f"main_{batch}" if batch else "main"


@dataclass(frozen=True)
class Library:
    """The library at `path` computes `graph`, whose inputs it takes and, after them, `arguments`.

    `single` is one for a single image, which takes the same arguments. `calls` are what it runs, in order, where its plan is known. `code`
    is what it has for a GPU; `fixed` the batches that it was made for, None where it takes any. `in_place` names outputs that are
    written over an input, and that input.
    """

    path: Path
    graph: Graph
    arguments: Sequence[Argument]
    calls: Sequence[KernelCall] = ()
    single: Path | None = None
    device: str = "cpu"
    code: MachineCode | None = None
    fixed: FixedBatches | None = None
    in_place: Mapping[str, str] = field(default_factory=dict[str, str])


def beside(path: Path) -> Path:
    """Where the library for a single image lies."""
    return path.with_suffix(f".one{path.suffix}")
