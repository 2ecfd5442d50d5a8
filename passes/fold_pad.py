"""fold-pad: a border that a window can lay around its input itself. Nothing is copied then."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..ir.graph import Graph, Node
from ..ir.op import OpDef
from ..ir.ops.conv import CONVS, conv_of
from ..ir.ops.pool import AVG_POOL, MAX_POOL, AvgPool, MaxPool
from ..ir.ops.shape import PAD
from ..ir.ops.window import Borders, dilated
from .rewriting.ledger import Ledger
from .rewriting.rewriter import ANY, Match, Pat, Rule, rewrite

__all__ = ["fold_pad"]


def into_conv(conv: Node) -> Node | None:
    """A conv pads with 0."""
    (pad, *_), border = conv.inputs, _border(conv.inputs[0])
    if border is None or PAD.of(pad).value != 0:
        return None
    return _padded(conv, _sum(border, conv_of(conv).pads))


def into_avg_pool(pool: Node) -> Node | None:
    """The zeros count as elements, so the window's own pads must count too; without any there is no conflict."""
    (pad,), op = pool.inputs, AVG_POOL.of(pool)
    border = _border(pad)
    if border is None or PAD.of(pad).value != 0 or (any(op.pads) and not op.count_include_pad):
        return None
    return _padded(pool, _sum(border, op.pads), count_include_pad=True) if _fits_pool(op, border) else None


def into_max_pool(pool: Node) -> Node | None:
    """A pool's own padding is -inf. A border that is nowhere above the image never wins either, but with
    dilations all taps may lie in it."""
    (pad,), op = pool.inputs, MAX_POOL.of(pool)
    (x,), border, value = pad.inputs, _border(pad), PAD.of(pad).value
    if border is None or not value <= x.kind.facts.least(x.op) or (value > -math.inf and max(op.dilations) > 1):
        return None
    return _padded(pool, _sum(border, op.pads)) if _fits_pool(op, border) else None


def _border(pad: Node) -> Borders | None:
    """Before each axis of space and after each of a constant border around them; None for any other padding."""
    op, rank = PAD.of(pad), pad.typed.rank
    before, after = op.pads[:rank], op.pads[rank:]
    return None if op.mode != "constant" or any((*before[:2], *after[:2])) else (*before[2:], *after[2:])


def _fits_pool(op: MaxPool | AvgPool, border: Borders) -> bool:
    """A window may not lie in the padding alone. Rounding up drops a window that starts in the padding after
    the image, but keeps one that starts in the border, as long as that is image."""
    if op.ceil_mode and any(border[len(border) // 2 :]):
        return False
    extents = [dilated(k, d) for k, d in zip(op.kernel, op.dilations, strict=True)]
    return all(pad < extent for pad, extent in zip(_sum(border, op.pads), extents * 2, strict=True))


def _sum(a: Borders, b: Borders) -> Borders:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _padded(window: Node, pads: Borders, **changes: bool) -> Node:
    pad, *others = window.inputs
    return window.like(op=replace(window.op, pads=pads, **changes), inputs=(pad.inputs[0], *others))


INTO: dict[OpDef[Any], Callable[[Node], Node | None]] = {
    **dict.fromkeys(CONVS, into_conv),
    AVG_POOL: into_avg_pool,
    MAX_POOL: into_max_pool,
}


def _needless(graph: Graph) -> set[str]:
    """Padded copies that no other reader needs: each of them lays the border itself."""
    return {
        pad.name
        for pad in graph.ops
        if pad.kind is PAD and pad not in graph.outputs and all(_lays(reader, pad) for reader in graph.readers[pad])
    }


def _lays(reader: Node, pad: Node) -> bool:
    return reader.kind in INTO and reader.inputs[0] is pad and reader.inputs.count(pad) == 1 and INTO[reader.kind](reader) is not None


def _rules(needless: set[str]) -> tuple[Rule, ...]:
    """By name, since pads may be made anew while others fold."""

    def fold(m: Match) -> Node | None:
        return INTO[m.root.kind](m.root) if m["pad"].name in needless or m.uses(m["pad"]) == 1 else None

    bordered = Pat((PAD,), (ANY(),), bind="pad")
    return (
        Rule("into-conv", Pat(CONVS, (bordered, ANY(), Pat(optional=True))), fold),
        Rule("into-avg-pool", Pat((AVG_POOL,), (bordered,)), fold),
        Rule("into-max-pool", Pat((MAX_POOL,), (bordered,)), fold),
    )


def fold_pad(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %p = pad(%x) {pads=[0,0,1,1,0,0,1,1]}; %c = conv2d(%p, %w)    After: %c = conv2d(%x, %w) {pads=[1,1,1,1]}"""
    folded = rewrite(graph, _rules(_needless(graph.live)), ledger)
    while folded is not graph:  # a border of a border may be needless once the outer one is gone
        graph, folded = folded, rewrite(folded, _rules(_needless(folded)), ledger)
    return graph
