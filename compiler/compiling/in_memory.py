"""A step of training in less memory: values computed again, and outputs over the inputs that they follow."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...ir.donation import following, in_order
from ...ir.errors import UsageError
from ...ir.graph import Graph
from ...passes.manager import Stage
from ...passes.pipelines import MEMORY
from ...passes.recompute import step_within, words_of
from ...passes.rewriting.ledger import Rewrite
from ..engines.tvm import TVM
from ..targets.options import CompileOptions
from ..targets.target import Say, Target

__all__ = ["as_step", "need_step"]


def need_step(graph: Graph, options: CompileOptions, target: Target) -> None:
    """Raises: UsageError for options of a step of training where there is none, or that the target does not know."""
    if not options.in_place:
        return
    if not following(graph):
        raise UsageError(
            f"@{graph.name} has no output NAME.next beside an input NAME, so nothing can be computed in place; give a step of training"
        )
    if not target.writes_over:
        raise UsageError(f"--in-place is for a CPU; a library for {target.name} leaves its inputs as they are")


def as_step(graph: Graph, trace: Sequence[Stage], options: CompileOptions, say: Say) -> tuple[Graph, list[Stage]]:
    """The optimized graph in such an order, and within such a share of its memory, as was asked for; and the trace with what that took.

    Raises: InvalidModel where an input is read after what takes its place; UsageError for a share that cannot be reached.
    """
    donated = following(graph) if options.in_place else {}
    graph = in_order(graph, donated)
    if options.memory is None:
        return graph, list(trace)
    start = time.perf_counter()
    found = step_within(graph, options.memory, donated=donated)
    say(words_of(found, graph))
    rewrites = tuple(Rewrite(MEMORY.name, names[0], names, ()) for names in found.groups)
    stage = Stage(MEMORY.name, MEMORY.why, found.graph, rewrites, time.perf_counter() - start, trace[-1].prices if trace else TVM.prices)
    return found.graph, [*trace, stage]
