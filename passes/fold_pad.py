"""fold-pad: a border that a window can lay around its input itself. Nothing is copied then."""

from __future__ import annotations

import math
from dataclasses import replace

from ..ir.graph import Graph, Node
from ..ir.ops.conv import CONVS, conv_of
from ..ir.ops.pool import AVG_POOL, MAX_POOL, AvgPool, MaxPool
from ..ir.ops.shape import PAD
from ..ir.ops.window import Borders, dilated
from .rewriting.ledger import Ledger
from .rewriting.rewriter import ANY, Match, Pat, Rule, rewrite

__all__ = ["fold_pad"]


def into_conv(m: Match) -> Node | None:
    """A conv pads with 0."""
    border = _border(m["pad"])
    if border is None or PAD.of(m["pad"]).value != 0:
        return None
    return _padded(m, _sum(border, conv_of(m.root).pads))


def into_avg_pool(m: Match) -> Node | None:
    """The zeros count as elements, so the window's own pads must count too; without any there is no conflict."""
    op, border = AVG_POOL.of(m.root), _border(m["pad"])
    if border is None or PAD.of(m["pad"]).value != 0 or (any(op.pads) and not op.count_include_pad):
        return None
    return _padded(m, _sum(border, op.pads), count_include_pad=True) if _fits_pool(op, border) else None


def into_max_pool(m: Match) -> Node | None:
    """A pool's own padding is -inf. A border that is nowhere above the image never wins either, but with
    dilations all taps may lie in it."""
    op, x = MAX_POOL.of(m.root), m["x"]
    border, value = _border(m["pad"]), PAD.of(m["pad"]).value
    if border is None or not value <= x.kind.facts.least(x.op) or (value > -math.inf and max(op.dilations) > 1):
        return None
    return _padded(m, _sum(border, op.pads)) if _fits_pool(op, border) else None


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


def _padded(m: Match, pads: Borders, **changes: bool) -> Node:
    return m.root.like(op=replace(m.root.op, pads=pads, **changes), inputs=(m["x"], *m.root.inputs[1:]))


# uses=1: another reader still needs the padded copy
BORDERED = Pat((PAD,), (ANY("x"),), bind="pad", uses=1)
RULES = (
    Rule("into-conv", Pat(CONVS, (BORDERED, ANY("w"), Pat(bind="b", optional=True))), into_conv),
    Rule("into-avg-pool", Pat((AVG_POOL,), (BORDERED,)), into_avg_pool),
    Rule("into-max-pool", Pat((MAX_POOL,), (BORDERED,)), into_max_pool),
)


def fold_pad(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %p = pad(%x) {pads=[0,0,1,1,0,0,1,1]}; %c = conv2d(%p, %w)    After: %c = conv2d(%x, %w) {pads=[1,1,1,1]}"""
    return rewrite(graph, RULES, ledger)
