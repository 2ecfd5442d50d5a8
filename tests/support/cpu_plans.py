"""What the plan for a CPU makes of a network."""

from __future__ import annotations

from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.cpu.tiles import tiles_by_size
from convc.backends.tvm.processor import AVX512
from convc.ir.graph import Graph


def kernels(graph: Graph, winograd: str = "auto") -> dict[str, str]:
    """The kernel of each result that has work."""
    return {work.result.name: work.kernel.name for work in plan(graph, tiles_by_size(graph, winograd, AVX512)).works.values()}
