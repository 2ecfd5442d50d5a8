"""A compiled library as a value: what must be known to load it, whether it was built here or a manifest tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ....ir.graph import Graph
from ..cpu.plan import KernelCall
from ..cpu.work import Argument, as_it_is

__all__ = ["Library", "MachineCode", "beside", "of_parameters"]


@dataclass(frozen=True, slots=True)
class MachineCode:
    """For GPUs of `architecture`, in a file beside the library: what the source in the library was compiled to, if it was."""

    architecture: str
    path: Path | None


@dataclass(frozen=True)
class Library:
    """The library at `path` computes `graph`, whose inputs it takes and, after them, `arguments`.

    `single` is one for a single image, which takes the same arguments. `calls` are what it runs, in order, where its plan is known. `code`
    is what it has for a GPU.
    """

    path: Path
    graph: Graph
    arguments: Sequence[Argument]
    calls: Sequence[KernelCall] = ()
    single: Path | None = None
    device: str = "cpu"
    code: MachineCode | None = None


def of_parameters(path: Path, graph: Graph, device: str, code: MachineCode | None = None) -> Library:
    """One that takes the graph's parameters as they are."""
    return Library(path, graph, [as_it_is(node) for node in graph.params], device=device, code=code)


def beside(path: Path) -> Path:
    """Where the library for a single image lies."""
    return path.with_suffix(f".one{path.suffix}")
