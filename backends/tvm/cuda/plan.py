"""Which kernel computes what on a GPU: the graph as work for kernels of ours, with stock rows for the rest. No TVM is needed to plan.

Values of 16 bits lie with their channels innermost from the first kernel that wants them so to the last. Those of float32 do where factors
may be rounded to tf32; else their kernels are the stock ones.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from ....ir.graph import Graph, Node
from ....ir.types import HALVES
from ..cpu.laid import STOCK, LaidPlan, PlannedCall
from ..gpus.architectures import USUAL, Architecture
from .casts import moved_casts
from .in_place import written_in_place
from .kernels.kernel import VIEW
from .rules import GPU_MAKERS
from .why_stock import why_stock
from .wide_rules import in_float32, is_read_narrow
from .work import TYPES, Around, GpuWork

__all__ = ["ENTER", "LEAVE", "GpuCall", "GpuPlan", "gpu_plan"]

ENTER, LEAVE = "enter", "leave"


GpuCall = PlannedCall[GpuWork]


@dataclass(frozen=True)
class GpuPlan(LaidPlan[GpuWork]):
    """A plan of which the layout is channels innermost, padded."""

    tf32: bool = False
    arch: Architecture = USUAL

    @functools.cached_property
    def calls(self) -> list[GpuCall]:
        """Everything that runs, in order; a concatenation for which nothing is moved is a view of what was written."""
        return [replace(call, kernel=VIEW) if call.work and not call.work.operands else call for call in self.steps(ENTER, LEAVE)]

    def lines(self, *, reasons: bool = False) -> list[str]:
        """What runs, a line each, for people; with `reasons` also why a row is stock."""
        return [self._line(call, reasons) for call in self.calls]

    def _line(self, call: GpuCall, reasons: bool) -> str:
        names = ", ".join(node.name for node in (call.work.covers if call.work else (call.node,)))
        is_asked = reasons and call.kernel == STOCK and not call.node.kind.facts.is_view
        return f"{_words(call)}: {names}" + (f" ({why_stock(call.node, tf32=self.tf32)})" if is_asked else "")


def _words(call: GpuCall) -> str:
    return f"{call.kernel} {call.work.kernel.arranged}".rstrip() if call.work else call.kernel


def gpu_plan(graph: Graph, *, tf32: bool = False, arch: Architecture = USUAL) -> GpuPlan:
    """Kernels for what they can compute, in the graph's order, and that GPUs of `arch` can launch: of float32 too, where its factors may
    be rounded to tf32.
    """
    graph = moved_casts(graph)
    works: dict[Node, GpuWork] = {}
    covered, padded = set[Node](), set[Node]()
    around = Around(graph, covered, padded, arch, TYPES if tf32 else HALVES)
    for node in graph.ops:
        if node in covered or not graph.uses[node]:
            continue
        if is_read_narrow(around, node):
            covered.add(node)
            continue
        maker = GPU_MAKERS.get(node.kind)
        work = in_float32(around, node) or (maker(around, node) if maker is not None else None)
        if work is not None:
            works[work.result] = work
            covered.update(work.covers)
            padded.update([work.result] if work.is_laid else [])
    in_order = dict(sorted(works.items(), key=lambda item: graph.positions[item[0]]))
    return GpuPlan(graph, written_in_place(graph, in_order), frozenset(covered), tf32, arch)
