"""A processor, this machine's or others by name: kernels of our own, weights packed for them, and what a C program needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...backends.tvm.library.built import beside
from ...backends.tvm.library.packed import packed_digest
from ...ir.binding import specialize
from ...ir.donation import following
from ...ir.graph import Graph
from ...ir.types import DTYPES
from ...ir.usual_sizes import usual_sizes
from .cpu_built import KIND, CpuBuilt, cpu_built_of
from .options import CompileOptions
from .portable import PortableBuilt, file_of, libraries_of, portable_of
from .target import LIBRARY, PACKED, Built, Say, Several, Target

if TYPE_CHECKING:
    from ...backends.tvm.library.build import CpuBuild
    from ...backends.tvm.library.packed import Packed
    from ...backends.tvm.processor import Processor

__all__ = ["CPU"]

WATCHED, MOST_WORDS = 2, 5  # runs that are timed, and rows that are named


def _of(record: Mapping[str, Any]) -> Built:
    return portable_of(record) if "libraries" in record else cpu_built_of(record)


def _build(graph: Graph, folder: Path, tiles: Mapping[str, int], options: CompileOptions, say: Say) -> CpuBuilt:
    from ...backends.tvm.library.build import BuildOptions, build_cpu
    from ...backends.tvm.library.named_cpu import cpu_named

    donated = following(graph) if options.in_place else {}
    how = BuildOptions(
        tiles, options.mcpu, jobs=options.jobs, cached=options.cached, database=options.database, donated=donated, mtriple=options.mtriple
    )
    mcpu = cpu_named(options.mcpu, options.mtriple).cpu if options.among else ""
    built = build_cpu(graph, folder / file_of(LIBRARY, mcpu), how)
    library = built.library.path.name
    weights = PACKED if options.mcpu == next(iter(options.among), options.mcpu) else file_of(PACKED, mcpu)
    _tell(built, len(donated), say)
    if built.machine.runs_here and options.check:
        _warn(built, options, say)
    machine, system = built.machine.kind
    made = CpuBuilt(
        library=library,
        tvm=built.target,
        tiles=built.plan.tiles,
        needs=built.needs,
        tuned=built.tuned,
        arena=built.arena,
        machine=machine,
        seconds=round(built.seconds, 2),
        packed=_pack(built, folder / weights, options).record(),
        in_place=built.library.in_place,
        system=system,
        link=built.link,
        mcpu=mcpu,
        weights=weights,
    )
    if not options.among:
        _write_c(graph, folder, [made], say)
    return made


def _tell(built: CpuBuild, donated: int, say: Say) -> None:
    """What was built, and what came in the way; `donated` outputs follow an input."""
    library = built.library.path.name
    say(f"built {library} in {built.seconds:.1f} s, {built.found} of {built.kernels} kernels from the cache")
    if built.no_cache:
        say(f"kernels are not kept: {built.no_cache}")
    if donated:
        say(f"{len(built.library.in_place)} of {donated} outputs are written over the inputs that they follow")
    if built.complaint:
        say(built.complaint)
    if built.tuned:
        say(f"{len(built.tuned)} kernels as convc tune found them fastest")
    if not built.machine.runs_here:
        say(f"warning: {built.machine} is not this machine, which cannot run {library}: it was not held to the reference")
    if built.link:
        say(f"warning: no linker for it is here; where one is, in the artifact's directory: {'; '.join(built.link)}")


def _apart(options: CompileOptions) -> Sequence[CompileOptions]:
    from ...backends.tvm.library.named_cpu import NATIVE, cpus_named

    machines = cpus_named(options.mcpu, options.mtriple)
    if len(machines) == 1:
        return (options,)
    names = tuple(each.mcpu or NATIVE for each in machines)
    return [replace(options, mcpu=name, among=names) for name in names]


def _joined(graph: Graph, folder: Path, built: Sequence[CpuBuilt], say: Say) -> PortableBuilt:
    """Weights that two libraries read alike are kept once."""
    sharing: list[CpuBuilt] = []
    for each in built:
        like = next((other for other in sharing if _read_alike(folder / each.weights, folder / other.weights)), None)
        if like is not None:
            (folder / each.weights).unlink()
        sharing.append(replace(each, weights=like.weights) if like is not None else each)
    files = sorted({each.weights for each in sharing})
    say(f"{len(sharing)} libraries, the best first: {', '.join(each.mcpu for each in sharing)}; weights in {', '.join(files)}")
    if any(each.in_place != built[0].in_place for each in built):
        say("no C files: the libraries write over different inputs, of which a C program knows one answer")
    else:
        _write_c(graph, folder, sharing, say)
    return PortableBuilt(tuple(sharing))


def _read_alike(first: Path, second: Path) -> bool:
    """Whether they have the same bytes, which the digests at their ends tell."""
    if first.stat().st_size != second.stat().st_size:
        return False
    return packed_digest(first) == packed_digest(second)


def _warn(built: CpuBuild, options: CompileOptions, say: Say) -> None:
    """Say which ops without a kernel of ours take a part of the run, by the clock: stock rows can be a hundred times slower.

    A network without any is not run for that.
    """
    from ...backends.tvm.cpu.laid import STOCK
    from ...backends.tvm.library.profile import call_times, slow_rows
    from ...backends.tvm.library.run import LoadedLibrary

    graph = built.library.graph
    if all(call.kernel != STOCK or call.node.kind.facts.is_view for call in built.library.calls):
        return
    loaded = LoadedLibrary.load(built.library, threads=options.threads)
    inputs = specialize(graph, usual_sizes(graph)).inputs  # of ones: kernels take as long whatever the values are
    given = {node.name: np.ones(node.typed.concrete(), DTYPES[node.typed.dtype]) for node in inputs}
    rows = slow_rows(call_times(loaded, given, WATCHED))
    for time, share in rows[:MOST_WORDS]:
        names = ", ".join(f"%{node.name} ({node.kind.name})" for node in time.nodes)
        say(f"warning: {names} {'takes' if len(time.nodes) == 1 else 'take'} {share:.0%} of a run, for want of a kernel of convc's own")
    if left := rows[MOST_WORDS:]:
        say(f"warning: {len(left)} more such take {sum(share for _, share in left):.0%}")


def _pack(built: CpuBuild, path: Path, options: CompileOptions) -> Packed:
    """Write the weights as the library takes them; where they lie. Of several libraries all say what each needs, so that they may share."""
    from ...backends.tvm.library.named_cpu import cpus_named
    from ...backends.tvm.library.packed import write_packed

    among = [f"{each.cpu} {' '.join(each.needs)}" for each in cpus_named(",".join(options.among) or None, options.mtriple)]
    return write_packed(built.plan, path, among if options.among else built.needs)


def _write_c(graph: Graph, folder: Path, built: Sequence[CpuBuilt], say: Say) -> None:
    """What a C program needs."""
    from ...backends.tvm.library.c_interface import CLibrary, c_files, why_no_c
    from ...backends.tvm.library.packed import Packed

    if complaint := why_no_c(graph):
        say(f"no C files: {complaint}")
        return
    libraries = [
        CLibrary(each.mcpu, linked.name, beside(linked).name if has_single else None, each.weights, each.needs, Packed.of(each.packed))
        for each in built
        for linked in [Path(each.library).with_suffix(".so")]
        for has_single in [(folder / beside(Path(each.library))).exists()]
    ]
    for name, text in c_files(graph, libraries, built[0].in_place).items():
        (folder / name).write_text(text, encoding="utf-8")


def _processor(options: CompileOptions) -> Processor:
    from ...backends.tvm.library.named_cpu import cpu_named

    return cpu_named(options.mcpu, options.mtriple).processor


def _is_here(options: CompileOptions) -> bool:
    from ...backends.tvm.library.named_cpu import cpu_named

    return cpu_named(options.mcpu, options.mtriple).runs_here


def _word() -> str:
    """What it takes to compile for other machines. No TVM is needed."""
    from ...backends.tvm.library.link import cross_linker
    from ...backends.tvm.library.named_cpu import foreign_triples

    linkers = {triple: cross_linker(triple) for triple in foreign_triples()}
    others = (f"{triple} {f'linked by {linker}' if linker else 'as object files'}" for triple, linker in linkers.items())
    return f"other processors by --mcpu; {', '.join(others)}"


SEVERAL = Several(_apart, _joined, libraries_of)
CPU = Target(KIND, _build, _of, _is_here, _processor, _word, in_memory=True, writes_over=True, several=SEVERAL)
