"""A processor, this machine's or another by name: kernels of our own, weights packed for them, and what a C program needs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from ...ir.binding import specialize
from ...ir.donation import following
from ...ir.errors import ArtifactError
from ...ir.graph import Graph
from ...ir.types import DTYPES
from ...ir.usual_sizes import usual_sizes
from .fields import are_names, are_names_if_any, are_pairs, are_tiles, has_numbers, is_packing, is_text, is_text_if_any, refuse_wrong
from .options import FP32, CompileOptions
from .target import LIBRARY, PACKED, Held, Peak, Say, Target, packing_of

if TYPE_CHECKING:
    from ...backends.tvm.library.arena import Arena
    from ...backends.tvm.library.build import CpuBuild
    from ...backends.tvm.library.built import Library
    from ...backends.tvm.library.packed import Packed
    from ...backends.tvm.processor import Processor

__all__ = ["CPU", "CpuBuilt"]

T = TypeVar("T", "Arena", Peak)

WATCHED, MOST_WORDS = 2, 5  # runs that are timed, and rows that are named
RELIED_ON = {
    "library": is_text,
    "needs": are_names,
    "tiles": are_tiles,
    "packed": is_packing,
    "in_place": are_pairs,
    "machine": is_text,
    "system": is_text_if_any,
    "link": are_names_if_any,
}  # other fields are for people


@dataclass(frozen=True, slots=True)
class CpuBuilt:
    """`needs` are the instruction sets that the library may use, `tuned` the forms of its kernels that tuning chose, by kernel.

    `in_place` names outputs that are written over an input, and that input.
    `arena` is the plan of its intermediates, if there is one; `packed` says where weights lie, as Packed.record has it; `peak` is what a
    run takes, if it was measured. Units: `seconds` of the build. `machine` and `system` are those that it is for, as Python's platform has
    them. Where they were not at hand to link for, `library` is an archive of object files, and `link` the commands that make libraries of
    it and of that for a single image.
    """

    library: str
    tvm: str
    tiles: Mapping[str, int]
    needs: tuple[str, ...]
    tuned: Mapping[str, Any]
    arena: Arena | None
    machine: str
    seconds: float
    packed: Mapping[str, Any]
    peak: Peak | None = None
    in_place: Mapping[str, str] = field(default_factory=dict[str, str])
    system: str = ""
    link: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return CPU.name

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def precision(self) -> str:
        return FP32

    def record(self) -> dict[str, Any]:
        record = {"kind": self.kind, **asdict(self), "needs": list(self.needs), "link": list(self.link)}
        peak = record.pop("peak")
        return record | ({"measured": peak} if peak else {})

    def opened(self, held: Held) -> Library:
        from ...backends.tvm.host import lacking
        from ...backends.tvm.library.built import Library, beside
        from ...backends.tvm.library.named_cpu import is_here
        from ...backends.tvm.library.packed import mapped_arguments

        if not is_here(self.machine, self.system):
            there, here = f"{self.machine} {self.system}".rstrip(), f"{platform.machine()} {platform.system()}"
            raise ArtifactError(f"'{held.path}' was compiled for {there}, and this is {here}; run it there, or compile it again here")
        if self.link:
            raise ArtifactError(f"'{held.path}' was not linked, for want of a linker where it was compiled; compile the network again here")
        if missing := lacking(self.needs):
            raise ArtifactError(
                f"'{held.path}' was compiled for a processor with {', '.join(missing)}; compile the network again on this one"
            )
        path = held.file(self.library)
        one = beside(path).name
        single = held.file(one) if one in held.files else None
        graph, arguments = held.structure(), mapped_arguments(held.file(PACKED), packing_of(self.packed, held))
        if not _are_alike(graph, self.in_place):
            raise ArtifactError(f"'{held.path}': the manifest names outputs in place of inputs that the network lacks; compile it again")
        return Library(path, graph, arguments, single=single, in_place=self.in_place)

    def measured(self, measure: Callable[[], Peak | None]) -> CpuBuilt:
        return replace(self, peak=measure())

    def report(self, unit: str) -> list[str]:
        for_others = ["", f"Not linked: {'; '.join(self.link)}"] if self.link else []
        return [*for_others, "", "Memory", *(f"  {line}" for line in self._memory(unit) or ["not planned"])]

    def _memory(self, unit: str) -> list[str]:
        """The plan, for one `unit`, and what was measured."""
        lines: list[str] = []
        if arena := self.arena:
            lines.append(f"arena of {arena.size:,} bytes for {unit}; lower bound {arena.lower_bound:,}")
            lines.append(f"its {arena.values} values apart: {arena.unshared:,}; {arena.in_place} lie in the place of an operand")
            lines.append(f"{arena.views} concatenations and slices are views, for which nothing is copied")
        if self.in_place:
            lines.append(f"{len(self.in_place)} outputs are written over the inputs that they follow, and take no memory")
        if peak := self.peak:
            lines.append(f"measured: a run allocates {peak.run:,}, workspace of kernels and results included")
            lines.append(f"the whole process takes {peak.process:,} at most, packed weights included")
        return lines


def _of(record: Mapping[str, Any]) -> CpuBuilt:
    """What only people read is left out where nobody can have written it."""
    from ...backends.tvm.library.arena import Arena

    refuse_wrong(record, RELIED_ON)
    arena, peak, tuned = record.get("arena"), record.get("measured"), record.get("tuned")
    return CpuBuilt(
        library=record["library"],
        tvm=str(record.get("tvm")),
        tiles=record["tiles"],
        needs=tuple(record["needs"]),
        tuned=cast("dict[str, Any]", tuned) if isinstance(tuned, dict) else {},
        arena=_numbers(Arena, arena),
        machine=record["machine"],
        seconds=record.get("seconds", 0.0),
        packed=record["packed"],
        peak=_numbers(Peak, peak),
        in_place=record.get("in_place") or {},
        system=record.get("system") or "",
        link=tuple(record.get("link") or ()),
    )


def _are_alike(graph: Graph, in_place: Mapping[str, str]) -> bool:
    """Whether each is an output and an input of one type, and no input is taken twice."""
    outputs, inputs = ({node.name: node.typed for node in nodes} for nodes in (graph.outputs, graph.inputs))
    is_each_once = len(set(in_place.values())) == len(in_place)
    return is_each_once and all(output in outputs and outputs[output] == inputs.get(given) for output, given in in_place.items())


def _numbers(kind: type[T], record: Any) -> T | None:
    return kind(**record) if has_numbers(record, [field.name for field in fields(kind)]) else None


def _build(graph: Graph, folder: Path, tiles: Mapping[str, int], options: CompileOptions, say: Say) -> CpuBuilt:
    from ...backends.tvm.library.build import BuildOptions, build_cpu

    donated = following(graph) if options.in_place else {}
    how = BuildOptions(
        tiles, options.mcpu, jobs=options.jobs, cached=options.cached, database=options.database, donated=donated, mtriple=options.mtriple
    )
    built = build_cpu(graph, folder / LIBRARY, how)
    library = built.library.path.name
    say(f"built {library} in {built.seconds:.1f} s, {built.found} of {built.kernels} kernels from the cache")
    if built.no_cache:
        say(f"kernels are not kept: {built.no_cache}")
    if donated:
        say(f"{len(built.library.in_place)} of {len(donated)} outputs are written over the inputs that they follow")
    if built.complaint:
        say(built.complaint)
    if built.tuned:
        say(f"{len(built.tuned)} kernels as convc tune found them fastest")
    if built.machine.runs_here and options.check:
        _warn(built, options, say)
    if not built.machine.runs_here:
        say(f"warning: {built.machine} is not this machine, which cannot run {library}: it was not held to the reference")
    if built.link:
        say(f"warning: no linker for it is here; where one is, in the artifact's directory: {'; '.join(built.link)}")
    machine, system = built.machine.kind
    return CpuBuilt(
        library=library,
        tvm=built.target,
        tiles=built.plan.tiles,
        needs=built.needs,
        tuned=built.tuned,
        arena=built.arena,
        machine=machine,
        seconds=round(built.seconds, 2),
        packed=_pack(built, folder, say).record(),
        in_place=built.library.in_place,
        system=system,
        link=built.link,
    )


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


def _pack(built: CpuBuild, folder: Path, say: Say) -> Packed:
    """Write the weights as the library takes them, and what a C program needs; where they lie."""
    from ...backends.tvm.library.c_interface import c_files, why_no_c
    from ...backends.tvm.library.packed import write_packed

    graph = built.library.graph
    packed = write_packed(built.plan, folder / PACKED, built.needs)
    if complaint := why_no_c(graph):
        say(f"no C files: {complaint}")
        return packed
    for name, text in c_files(built.library, packed, built.needs).items():
        (folder / name).write_text(text, encoding="utf-8")
    return packed


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


CPU = Target("cpu", _build, _of, _is_here, word=_word, processor=_processor, in_memory=True, writes_over=True)
