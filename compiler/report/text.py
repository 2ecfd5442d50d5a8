"""Texts for people: what passes did, and how two graphs differ."""

from __future__ import annotations

from collections import Counter
from difflib import unified_diff
from typing import TYPE_CHECKING

from ...ir.graph import Graph
from ...ir.printer import print_graph
from ...passes.analysis.cost import graph_cost
from ...passes.analysis.prices import duration

if TYPE_CHECKING:
    from ...passes.manager import Stage

__all__ = ["count", "graph_diff", "in_bytes", "rewrites_of", "stage_line", "totals_line"]


def count(number: int) -> str:
    """`3.2M`, `150K`, `4096`: three digits at most, as the tables of the papers print them."""
    for limit, suffix in ((10**9, "G"), (10**6, "M"), (10**4, "K")):
        if number >= limit:
            scaled = number / (1000 if suffix == "K" else limit)
            return f"{scaled:.3g}{suffix}" if scaled < 999.5 else f"{scaled:.0f}{suffix}"
    return str(number)


def in_bytes(number: int) -> str:
    """`394 MiB`, `512 B`: three digits at most, in the units of the page of --html."""
    for limit, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= limit:
            return f"{float(f'{number / limit:.3g}'):g} {unit}"
    return f"{number} B"


def stage_line(before: Graph, stage: Stage) -> str:
    """One pass in one line: rewrites, time; what changed of multiply-adds, parameters, bytes and estimated time of one core, or of the
    machine that is named; ops gone and come.
    """
    return f"{stage.name}: {rewrites_of(stage)}, {stage.seconds * 1e3:.1f} ms{_changed(before, stage)}"


def totals_line(original: Graph, last: Stage) -> str:
    """What all passes did together, the `last` of which left its graph."""
    nodes = f"  nodes {len(original.nodes):,} -> {len(last.graph.nodes):,}"
    return f"in all:{nodes}{_changed(original, last)}"


def rewrites_of(stage: Stage) -> str:
    return f"{len(stage.rewrites)} rewrites" if len(stage.rewrites) != 1 else "1 rewrite"


def _changed(before: Graph, stage: Stage) -> str:
    if stage.graph is before:  # as most passes leave it; costs are a walk over all nodes
        return ""
    changes = _changes(before, stage.graph)
    was, now = graph_cost(before, stage.prices.sizes), graph_cost(stage.graph, stage.prices.sizes)
    macs = f"  MACs {count(was.macs)} -> {count(now.macs)}" if was.macs != now.macs else ""
    params = f"  params {was.params:,} -> {now.params:,}" if was.params != now.params else ""
    moved = f"  bytes {in_bytes(was.bytes_moved)} -> {in_bytes(now.bytes_moved)}" if was.bytes_moved != now.bytes_moved else ""
    before_s, after_s = duration(stage.prices.whole(before)), duration(stage.prices.whole(stage.graph))
    machine = f" on {stage.prices.machine}" if stage.prices.machine else ""
    seconds = f"  estimated {before_s} -> {after_s}{machine}" if before_s != after_s else ""
    return macs + params + moved + seconds + (f"  ops: {changes}" if changes else "")


def graph_diff(before: Graph, after: Graph, context: int = 2) -> list[str]:
    """Unified diff of the two texts, without file names; empty when nothing changed."""
    a, b = print_graph(before).splitlines(), print_graph(after).splitlines()
    return [line for line in unified_diff(a, b, lineterm="", n=context) if not line.startswith(("---", "+++"))]


def _changes(before: Graph, after: Graph) -> str:
    was, now = (Counter(node.kind.name for node in graph.ops) for graph in (before, after))
    names = sorted({*was, *now})
    return ", ".join(f"{name} {was[name]} -> {now[name]}" for name in names if was[name] != now[name])
