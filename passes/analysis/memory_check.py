"""Is a memory plan safe? Follows a run through the arena, apart from the code that makes plans: it counts the reads still
to come and knows no intervals, spans or buffers."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field

from ...ir.errors import InvalidModel
from ...ir.graph import Graph, Node
from .liveness import node_bytes
from .memory import MemoryPlan

__all__ = ["check_plan"]

Region = tuple[int, int]  # first byte, and the one past the last


def check_plan(plan: MemoryPlan, graph: Graph) -> None:
    """No op writes over bytes that are still to be read, but in place where its facts allow it.

    Raises: InvalidModel naming the two values that collide, or the one that lies outside the arena or off its alignment.
    """
    nbytes = node_bytes(graph, plan.sizes)
    left: Counter[Node] = graph.uses.copy()  # reads still to come; being returned counts as one
    arena = _Arena()
    for node in graph.ops:
        region = (plan.offsets.get(node, 0), plan.offsets.get(node, 0) + nbytes[node])
        _check_place(plan, node, region)
        reads = Counter(node.inputs)
        if plan.shares.get(node) != "view":  # a view writes nothing
            for other in arena.touched(region):
                if not (left[other] == reads[other] and _in_place(plan, node, other) and arena.where[other] == region):
                    raise InvalidModel(f"{node.where} is written over %{other.name}, which is still to be read")
        for operand, count in reads.items():
            left[operand] -= count
            if not left[operand]:
                arena.release(operand)
        if left[node] and node in plan.offsets:
            arena.hold(node, region)


@dataclass
class _Arena:
    """Values written and still to be read. Their regions are equal or apart: others would have been refused."""

    where: dict[Node, Region] = field(default_factory=dict[Node, Region])
    residents: dict[Region, list[Node]] = field(default_factory=dict[Region, list[Node]])
    regions: list[Region] = field(default_factory=list[Region])

    def touched(self, region: Region) -> list[Node]:
        start, end = region
        found: list[Node] = []
        at = max(bisect_left(self.regions, (start, start)) - 1, 0)  # one that starts before may reach in
        while at < len(self.regions) and self.regions[at][0] < end:
            if self.regions[at][1] > start:
                found += self.residents[self.regions[at]]
            at += 1
        return found

    def hold(self, node: Node, region: Region) -> None:
        if region[0] == region[1]:
            return
        self.where[node] = region
        if region not in self.residents:
            self.residents[region] = []
            insort(self.regions, region)
        self.residents[region].append(node)

    def release(self, node: Node) -> None:
        region = self.where.pop(node, None)
        if region is None:
            return
        self.residents[region].remove(node)
        if not self.residents[region]:
            del self.residents[region]
            del self.regions[bisect_left(self.regions, region)]


def _in_place(plan: MemoryPlan, node: Node, other: Node) -> bool:
    reuse = node.kind.facts.reuse
    return plan.shares.get(node) == "in place" and reuse is not None and any(node.inputs[p] is other for p in reuse.operands)


def _check_place(plan: MemoryPlan, node: Node, region: Region) -> None:
    """Inside the arena and aligned; a view where its operand lies, which may be the caller's memory."""
    shared, reuse = plan.shares.get(node), node.kind.facts.reuse
    if shared is not None and (reuse is None or reuse.how != shared):
        raise InvalidModel(f"{node.where} cannot lie {'as a view' if shared == 'view' else 'in place'} in its operand's memory")
    if shared == "view" and reuse is not None:
        operand = node.inputs[reuse.operands[0]]
        if plan.offsets.get(node) != plan.offsets.get(operand):
            raise InvalidModel(f"{node.where} is a view of %{operand.name} but lies elsewhere")
    elif node not in plan.offsets:
        raise InvalidModel(f"{node.where} has no place in the arena")
    if region[0] < 0 or region[0] % plan.alignment or (region[1] > plan.arena and node in plan.offsets):
        raise InvalidModel(f"{node.where} lies at bytes {region[0]} to {region[1]} of an arena of {plan.arena}, alignment {plan.alignment}")
