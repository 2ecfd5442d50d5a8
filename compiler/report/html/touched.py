"""What a rewrite changed besides the nodes that it took and made: readers that go other ways, and what was put between.

A rule records what it is about; a stride that is hoisted also makes pools on a skip, and takes strides from the convs that read. Each
value that came or changed, and that no rewrite names, is counted to the nearest one along the edges of both graphs.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from ....ir.graph import Graph, Node
from ....passes.rewriting.ledger import Rewrite

__all__ = ["Touched", "touched"]

Touched = tuple[list[str], list[str]]  # the names of what else came, and of what else changed


def touched(before: Graph, after: Graph, rewrites: Sequence[Rewrite]) -> list[Touched]:
    """Of each rewrite, in the order of the graph after it. Linear in both graphs."""
    found: list[Touched] = [([], []) for _ in rewrites]
    of = _named(rewrites)
    new, old = ({node.name: node for node in graph.nodes if node.weights is None} for graph in (after, before))
    loose = {name for name, node in new.items() if name not in of and (name not in old or _differs(old[name], node))}
    if not loose or not rewrites:
        return found
    beside = _neighbours(old, new)
    waiting = deque(of)
    while waiting:
        name = waiting.popleft()
        for other in beside[name]:
            if other in loose and other not in of:
                of[other] = of[name]
                waiting.append(other)
    for name in new:
        if name in loose and name in of:
            found[of[name]][name in old].append(name)
    return found


def _named(rewrites: Sequence[Rewrite]) -> dict[str, int]:
    of: dict[str, int] = {}
    for place, rewrite in enumerate(rewrites):
        for name in (rewrite.root, *rewrite.made, *rewrite.took):
            of.setdefault(name, place)
    return of


def _differs(old: Node, new: Node) -> bool:
    """Whether it is computed otherwise than before, or of others."""
    names = ([operand.name for operand in node.inputs] for node in (old, new))
    return (old.kind, old.op, old.type) != (new.kind, new.op, new.type) or next(names) != next(names)


def _neighbours(*graphs: Mapping[str, Node]) -> Mapping[str, list[str]]:
    """Operands and readers of each name, in any of the graphs."""
    beside: defaultdict[str, list[str]] = defaultdict(list)
    for nodes in graphs:
        for name, node in nodes.items():
            for operand in node.inputs:
                beside[name].append(operand.name)
                beside[operand.name].append(name)
    return beside
