"""TVM as an engine: the network compiled for this machine's processor, by the kernels of our own plan."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...backends.tvm.host import host_processor
from ...ir.files import scratch_folder
from ...ir.graph import Graph
from ...ir.types import Array
from ...ir.version import release
from ..targets.prices import CPU_PRICES
from .engine import Engine, Kernel, KernelTime, Run, Watched, capture_by

if TYPE_CHECKING:
    from ...backends.tvm.library.built import Library
    from ...backends.tvm.library.run import LoadedLibrary
    from ..files.artifact import Artifact

__all__ = ["TVM", "loaded", "tvm_engine"]

Tiles = Mapping[str, int]  # of convolutions that Winograd's way computes, by name


def tvm_engine(tiles: Tiles | None = None) -> Engine:
    """The engine whose convolutions take these tiles (default: for each network those that are fast on this machine's processor)."""
    start = functools.partial(_start, tiles)
    return Engine(
        name="tvm",
        about="compiled by Apache TVM",
        start=start,
        open=_open,
        capture=capture_by(start),
        kernels=functools.partial(_kernels, tiles),
        prices=CPU_PRICES,
        word=_word,
        start_profiled=functools.partial(_start_profiled, tiles),
        start_over=functools.partial(_start_over, tiles),
        open_over=_open_over,
        compiles=True,
        of_artifact=lambda artifact: tvm_engine(artifact.target.tiles),
    )


def _kernels(tiles: Tiles | None, graph: Graph) -> list[Kernel]:
    from ...backends.tvm.cpu.plan import plan

    made = plan(graph, processor=host_processor()) if tiles is None else plan(graph, tiles)
    ours = [Kernel(work.covers, work.kernel.tile) for work in made.works.values()]
    return ours + [Kernel((node,)) for node in graph.ops if graph.uses[node] and node not in made.covered]


def _start(tiles: Tiles | None, graph: Graph, threads: int | None) -> Run:
    return _built(tiles, graph, threads)[0].run


def _start_over(tiles: Tiles | None, graph: Graph, threads: int | None, donated: Mapping[str, str]) -> Run:
    return _built(tiles, graph, threads, donated)[0].run_over


def _start_profiled(tiles: Tiles | None, graph: Graph, threads: int | None) -> Watched:
    loaded, arena = _built(tiles, graph, threads)
    return Watched(loaded.run, functools.partial(_kernel_times, loaded), arena)


def _kernel_times(loaded: LoadedLibrary, inputs: Mapping[str, Array], runs: int) -> list[KernelTime]:
    from ...backends.tvm.library.profile import call_times

    return [
        KernelTime(of.kernel, tuple(node.name for node in of.nodes), of.microseconds, of.macs, of.products, of.bytes, of.moves, of.least)
        for of in call_times(loaded, inputs, runs)
    ]


def _built(
    tiles: Tiles | None, graph: Graph, threads: int | None, donated: Mapping[str, str] | None = None
) -> tuple[LoadedLibrary, int | None]:
    """Compiled and loaded, and the bytes of its arena, if it has one; nothing of it stays on disk.

    Raises: as `build_cpu` and `LoadedLibrary.load`.
    """
    from ...backends.tvm.library.build import BuildOptions, build_cpu
    from ...backends.tvm.library.run import LoadedLibrary

    with scratch_folder() as folder:
        built = build_cpu(graph, folder / "model.so", BuildOptions(tiles, donated=donated or {}))
        # the file may go once it is mapped
        return LoadedLibrary.load(built.library, threads=threads), built.arena.size if built.arena is not None else None


def _open(artifact: Artifact, threads: int | None) -> Run:
    return loaded(artifact.library(), threads)


def _open_over(artifact: Artifact, threads: int | None) -> Run:
    from ...backends.tvm.library.run import LoadedLibrary

    return LoadedLibrary.load(artifact.library(), threads=threads).run_over


def loaded(library: Library, threads: int | None) -> Run:
    """A library for any machine, as it runs here. Raises: as `LoadedLibrary.load`."""
    if library.fixed:
        from ...backends.tvm.library.fixed import FixedLibrary

        return FixedLibrary.load(library).run
    from ...backends.tvm.library.run import LoadedLibrary

    return LoadedLibrary.load(library, threads=threads).run


def _word() -> str:
    from ...backends.tvm.host import host_cpu, thread_count, tvm

    host: Any = tvm()
    return f"TVM {host.__version__}, tvm-ffi {release('apache-tvm-ffi')}, {host_cpu()}, {thread_count()} threads"


TVM = tvm_engine()
