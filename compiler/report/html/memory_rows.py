"""The memory of a graph over its steps: which buffer lies where in the arena, from when to when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....ir.errors import ConvcError
from ....ir.graph import Graph
from ....passes.analysis.memory import plan_memory

__all__ = ["memory_rows"]


def memory_rows(graph: Graph, sizes: Mapping[str, int], name: Callable[[str], int]) -> dict[str, Any] | None:
    """Slots are [first step, last step, offset, bytes, [names of the values that lie there]]; `name` is a name's place in the page's table.

    Offsets are those of quick placements: a compilation may search on, for seconds, for a smaller arena. None for a graph without types or
    sizes.
    """
    if any(node.type is None for node in graph.nodes):
        return None
    try:
        plan = plan_memory(graph, sizes, searched=False)
    except ConvcError:  # sizes that these numbers make negative
        return None
    slots = [(s.buffer.first, s.buffer.last, s.offset, s.size, [name(value.name) for value in s.buffer.values]) for s in plan.slots]
    return {
        "steps": [name(node.name) for node in graph.ops],
        "slots": slots,
        "arena": plan.arena,
        "bound": plan.lower_bound,
        "unshared": plan.unshared,
        "why": plan.why,
    }
