"""The pipelines -O0 to -O3: what runs, in which order, and why."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.graph import Graph
from ..passes.manager import Stage, Step, run_passes

__all__ = ["LEVELS", "optimize"]

O0 = (Step("infer-shapes", why="every later step reads types"),)
O1 = (
    *O0,
    Step("drop-identity", why="before fusion: a dropout or identity in between hides the pattern"),
    Step("fold-constants", why="before fusion: weights must be parameters, not computations on them"),
    Step("eliminate-dead", why="last: earlier passes leave operands that nothing reads"),
)
O2 = (
    *O1[:-1],
    Step("fuse-conv-bn", why="batch norm at inference is a scale and a shift that the weights can carry"),
    O1[-1],
)
O3 = O2  # room for rewrites that cost compile time

LEVELS: tuple[tuple[Step, ...], ...] = (O0, O1, O2, O3)


def optimize(graph: Graph, level: int = 2, limits: Mapping[str, int] | None = None) -> tuple[Graph, list[Stage]]:
    """Run a pipeline; returns the improved graph and the trace of its passes.

    Raises: InvalidModel, naming the pass, if one breaks the graph.
    """
    return run_passes(graph, LEVELS[level], limits)
