"""Graph to shared library for CPUs, by kernels of our own (cpu/)."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ....ir.donation import holds_order
from ....ir.errors import InvalidModel
from ....ir.graph import Graph
from ....ir.other_runtimes import refuse_opaque
from ..cpu.kernels.kernel import TunedForms
from ..cpu.kernels.machine import machine
from ..cpu.lower import lower_plan
from ..cpu.plan import KernelPlan, plan, single_image
from ..host import physical_cores, tvm
from ..processor import Processor
from ..stock.lower import check_sums
from ..store.cache import usable_cache
from ..store.tuned_forms import find_database, tuned_forms
from .arena import Arena
from .built import Library, beside
from .compile_kernels import Compiled, checked_jobs, compile_kernels
from .link import archive, by_hand, compile_or_blame, export
from .named_cpu import NamedCpu, cpu_named
from .pipeline import cpu_pipeline

__all__ = ["BuildOptions", "CpuBuild", "build_cpu"]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """For this machine's processor, or LLVM's `mcpu`, to whose registers the kernels are cut, under the system of `mtriple`.

    `tiles` are those of convolutions that Winograd's way computes, by name (default: those that are fast on the processor). Without
    `single` no library for one image is made. `jobs` kernels are compiled at a time (default: one a core); unless not `cached`, they are
    kept for other builds. They take the forms that `convc tune` found for this machine, as kept in the directory `database` (default: the
    cache; off: none). `donated` are outputs that may lie in an input that is given up, by name; of a graph in such an order
    (`ir.donation.in_order`), and without `single`.
    """

    tiles: Mapping[str, int] | None = None
    mcpu: str | None = None
    single: bool = True
    jobs: int | None = None
    cached: bool = True
    database: str | None = None
    donated: Mapping[str, str] = field(default_factory=dict[str, str])
    mtriple: str | None = None


AS_USUAL = BuildOptions()


@dataclass(frozen=True, slots=True)
class CpuBuild:
    """A library and the plan of its kernels. `needs` are the instruction sets that it may use, `target` is TVM's description, JSON.

    Units: `seconds` for lowering, compiling and linking. Of `kernels` that differ, `found` were compiled before; `no_cache` says why none
    are kept, if so. `tuned` are the forms that tuning chose, by kernel; `complaint` says what of them could not be read.
    `arena` is the plan of its intermediates, where it has any whose sizes can be planned. `machine` is what it is for; without a linker
    for that the library is an archive, and `link` are the commands that make libraries of it and of that for a single image.
    """

    library: Library
    plan: KernelPlan
    needs: tuple[str, ...]
    target: str
    arena: Arena | None
    seconds: float
    tvm: str
    kernels: int
    found: int
    no_cache: str
    tuned: TunedForms
    complaint: str
    machine: NamedCpu
    link: tuple[str, ...]


def build_cpu(graph: Graph, path: str | Path, options: BuildOptions = AS_USUAL) -> CpuBuild:
    """Compile, and write the library at `path`.

    Where the batch is a named size, a second library for a single image is written beside it: its kernels are arranged for one, and know
    all sizes when they are compiled, which together is 1 to 5% faster. Where none is made, one that lies there goes.

    Raises: UnsupportedOp naming the node that TVM cannot compile; BackendMissing without a linker; UsageError for `jobs` below 1 or absurd,
    or where files cannot be written.
    """
    refuse_opaque(graph, "TVM")
    if not holds_order(graph, options.donated):
        raise InvalidModel(f"@{graph.name} writes over an input before all have read it; put it in order first")
    check_sums(graph)
    version = str(tvm().__version__)
    start = time.perf_counter()
    meant = cpu_named(options.mcpu, options.mtriple)
    target = meant.target
    workers = physical_cores() if options.jobs is None else checked_jobs(options.jobs)
    cache, no_cache = usable_cache() if options.cached else (None, "")
    forms, complaint = tuned_forms(find_database(options.database), machine(meant.cpu, physical_cores(), version))
    plans = _plans(graph, options, forms, meant.processor)
    arenas: list[Arena] = []
    outputs, inputs = [node.name for node in graph.outputs], [node.name for node in graph.inputs]
    donated = {outputs.index(output): inputs.index(given) for output, given in options.donated.items()}
    kept_there: list[tuple[int, ...]] = []

    def compiled(module: Any) -> Compiled:
        with target:
            return compile_kernels(cpu_pipeline(target, arenas.append, donated, kept_there.append)(module), target, workers, cache)

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    made = [compile_or_blame(each.graph, functools.partial(lower_plan, each), compiled) for each in plans]
    in_place = {outputs[place]: options.donated[outputs[place]] for place in (kept_there[-1] if kept_there else ())}
    triple = meant.triple if meant.is_foreign else ""
    library, link = _linked(Path(path), plans, made, target, triple)
    library = replace(library, in_place=in_place)
    kernels, found = sum(each.kernels for each in made), sum(each.found for each in made)
    tuned = {kernel: form for each in plans for kernel, form in each.chosen(forms).items()}
    seconds = time.perf_counter() - start
    arena = arenas[-1] if arenas else None
    timed = (arena, seconds, version, kernels, found, no_cache, tuned, complaint)
    return CpuBuild(library, plans[0], meant.needs, str(target), *timed, meant, link)


def _plans(graph: Graph, options: BuildOptions, forms: TunedForms, processor: Processor) -> list[KernelPlan]:
    """That of the network, and that of a single image where it has one of its own."""
    whole = plan(graph, options.tiles, forms, processor)
    whole = whole.waiting(options.donated) if options.donated else whole
    one = single_image(whole, forms, processor) if options.single and not options.donated else None
    return [whole, one] if one else [whole]


def _linked(path: Path, plans: Sequence[KernelPlan], made: Sequence[Compiled], target: Any, triple: str) -> tuple[Library, tuple[str, ...]]:
    """And what is left to do by hand, where this machine cannot link for the triple."""
    places = (path, beside(path))
    for left in (places[1], *map(archive, places)):
        left.unlink(missing_ok=True)  # that of an older build would compute a single image by its own network
    for each, place in zip(made, places, strict=False):
        export(each.executable, place, target, triple)
    whole, made_at = plans[0], places[: len(made)]
    link = tuple(by_hand(place, triple) for place in made_at if archive(place).exists())
    lie = [archive(place) if link else place for place in made_at]
    return Library(lie[0], whole.graph, whole.arguments, whole.calls, lie[1] if len(lie) > 1 else None), link
