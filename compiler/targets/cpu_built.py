"""What a build for a processor leaves in the manifest of an artifact: which library, what it needs, where its weights lie."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ...ir.errors import ArtifactError
from ...ir.graph import Graph
from .fields import are_names, are_names_if_any, are_pairs, are_tiles, has_numbers, is_packing, is_text, is_text_if_any, refuse_wrong
from .options import FP32
from .target import PACKED, Held, Peak, packing_of

if TYPE_CHECKING:
    from ...backends.tvm.library.arena import Arena
    from ...backends.tvm.library.built import Library

__all__ = ["KIND", "CpuBuilt", "cpu_built_of"]

T = TypeVar("T", "Arena", Peak)

KIND = "cpu"
RELIED_ON = {
    "library": is_text,
    "needs": are_names,
    "tiles": are_tiles,
    "packed": is_packing,
    "in_place": are_pairs,
    "machine": is_text,
    "system": is_text_if_any,
    "link": are_names_if_any,
    "mcpu": is_text_if_any,
    "weights": is_text_if_any,
}  # other fields are for people


@dataclass(frozen=True, slots=True)
class CpuBuilt:
    """`needs` are the instruction sets that the library may use, `tuned` the forms of its kernels that tuning chose, by kernel.

    `in_place` names outputs that are written over an input, and that input.
    `arena` is the plan of its intermediates, if there is one; `packed` says where weights lie, as Packed.record has it; `peak` is what a
    run takes, if it was measured. Units: `seconds` of the build. `machine` and `system` are those that it is for, as Python's platform has
    them. Where they were not at hand to link for, `library` is an archive of object files, and `link` the commands that make libraries of
    it and of that for a single image. Among libraries for several processors it is that for `mcpu`; `weights` is the file that it reads.
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
    mcpu: str = ""
    weights: str = PACKED

    @property
    def kind(self) -> str:
        return KIND

    @property
    def why_not_here(self) -> str:
        """Why this machine cannot run it; empty if it can."""
        from ...backends.tvm.host import lacking
        from ...backends.tvm.library.named_cpu import is_here

        if not is_here(self.machine, self.system):
            there, here = f"{self.machine} {self.system}".rstrip(), f"{platform.machine()} {platform.system()}"
            return f"was compiled for {there}, and this is {here}; run it there, or compile it again here"
        missing = lacking(self.needs)
        return f"was compiled for a processor with {', '.join(missing)}; compile the network again on this one" if missing else ""

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
        from ...backends.tvm.library.built import Library
        from ...backends.tvm.library.packed import mapped_arguments

        if why := self.why_not_here:
            raise ArtifactError(f"'{held.path}' {why}")
        path, single = self._code(held)
        graph, arguments = held.structure(), mapped_arguments(held.file(self.weights), packing_of(self.packed, held))
        if not _are_alike(graph, self.in_place):
            raise ArtifactError(f"'{held.path}': the manifest names outputs in place of inputs that the network lacks; compile it again")
        return Library(path, graph, arguments, single=single, in_place=self.in_place)

    def _code(self, held: Held) -> tuple[Path, Path | None]:
        """The library and that for a single image, if there is one: those of the manifest, or what was linked by hand of its object files.

        Raises: ArtifactError where nobody has linked them.
        """
        from ...backends.tvm.library.built import beside

        if not self.link:
            path = held.file(self.library)
            one = beside(path).name
            return path, held.file(one) if one in held.files else None
        linked = held.linked(Path(self.library).with_suffix(".so").name)
        if linked is None:
            how = f"link it in its directory, by {' and '.join(self.link)}"
            raise ArtifactError(f"'{held.path}' was not linked, for want of a linker where it was compiled; {how}")
        return linked, held.linked(beside(linked).name)

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


def cpu_built_of(record: Mapping[str, Any]) -> CpuBuilt:
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
        mcpu=record.get("mcpu") or "",
        weights=record.get("weights") or PACKED,
    )


def _are_alike(graph: Graph, in_place: Mapping[str, str]) -> bool:
    """Whether each is an output and an input of one type, and no input is taken twice."""
    outputs, inputs = ({node.name: node.typed for node in nodes} for nodes in (graph.outputs, graph.inputs))
    is_each_once = len(set(in_place.values())) == len(in_place)
    return is_each_once and all(output in outputs and outputs[output] == inputs.get(given) for output, given in in_place.items())


def _numbers(kind: type[T], record: Any) -> T | None:
    return kind(**record) if has_numbers(record, [field.name for field in fields(kind)]) else None
