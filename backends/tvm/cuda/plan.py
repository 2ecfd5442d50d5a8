"""Which kernel computes what on a GPU: the graph as work for kernels of ours, with stock rows for the rest. No TVM is needed to plan.

Values of 16 bits lie with their channels innermost from the first kernel that wants them so to the last. Those of float32 do where factors
may be rounded to tf32; else their kernels are the stock ones.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from ....ir.graph import Graph, Node
from ..cpu.work import Argument, as_it_is
from ..gpus.architectures import USUAL, Architecture
from .casts import moved_casts
from .kernels.layout import NARROW
from .rules import GPU_MAKERS, in_float32, is_read_narrow
from .work import Around, GpuWork

__all__ = ["ENTER", "LEAVE", "ROW", "GpuCall", "GpuPlan", "gpu_plan"]

TYPES = NARROW | {"f32"}
ENTER, LEAVE, ROW = "enter", "leave", "stock"


@dataclass(frozen=True)
class GpuCall:
    """One step: the kernel of some work, a change of a value's layout, or a node's stock row."""

    kernel: str
    node: Node
    work: GpuWork | None = None


@dataclass(frozen=True)
class GpuPlan:
    """Work by the node whose value it computes; nodes without work and not covered by any are left to the stock rows."""

    graph: Graph
    works: dict[Node, GpuWork]
    covered: frozenset[Node]
    tf32: bool = False
    arch: Architecture = USUAL

    @functools.cached_property
    def as_they_are(self) -> list[Node]:
        """Parameters that stock rows read, or kernels plainly, or the caller."""
        read = {operand for node in self.graph.ops if node not in self.covered for operand in node.inputs if operand.weights is not None}
        read |= {node for work in self.works.values() for node, _ in work.reads if node.weights is not None}
        read |= {node for node in self.graph.outputs if node.weights is not None}
        return [node for node in self.graph.params if node in read]

    @property
    def arguments(self) -> list[Argument]:
        """Parameters as they are, then what the kernels read, in order."""
        return [*map(as_it_is, self.as_they_are), *(argument for work in self.works.values() for argument in work.arguments)]

    @functools.cached_property
    def calls(self) -> list[GpuCall]:
        """Everything that runs, in order. A value's layout changes when somebody first asks for it in the other one."""
        return list(self._calls())

    def _calls(self) -> Iterator[GpuCall]:
        plain, padded = {*self.graph.inputs, *self.graph.params}, set[Node]()

        def wanted(node: Node, in_padded: bool) -> Iterator[GpuCall]:
            layout = padded if in_padded else plain
            if node not in layout:
                layout.add(node)
                yield GpuCall(ENTER if in_padded else LEAVE, node)

        for node in self.graph.ops:
            work = self.works.get(node)
            if work is not None:
                for operand, in_padded in work.reads:
                    yield from wanted(operand, in_padded)
                (padded if work.is_padded else plain).add(node)
                yield GpuCall(work.kernel.name, node, work)
            elif node not in self.covered and self.graph.uses[node]:
                for operand in node.inputs:
                    yield from wanted(operand, False)
                plain.add(node)
                yield GpuCall(ROW, node)
        for node in self.graph.outputs:
            yield from wanted(node, False)

    def lines(self) -> list[str]:
        """What runs, a line each, for people."""
        return [
            f"{_words(call)}: {', '.join(node.name for node in (call.work.covers if call.work else (call.node,)))}" for call in self.calls
        ]


def _words(call: GpuCall) -> str:
    return f"{call.kernel} {call.work.kernel.arranged}".rstrip() if call.work else call.kernel


def gpu_plan(graph: Graph, *, tf32: bool = False, arch: Architecture = USUAL) -> GpuPlan:
    """Kernels for what they can compute, in the graph's order, and that GPUs of `arch` can launch: of float32 too, where its factors may
    be rounded to tf32.
    """
    graph = moved_casts(graph)
    works: dict[Node, GpuWork] = {}
    covered, padded = set[Node](), set[Node]()
    around = Around(graph, covered, padded, arch.shared, TYPES if tf32 else NARROW)
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
            padded.update([work.result] if work.is_padded else [])
    return GpuPlan(graph, dict(sorted(works.items(), key=lambda item: graph.positions[item[0]])), frozenset(covered), tf32, arch)
