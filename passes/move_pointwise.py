"""move-pointwise: a 1x1 conv next to an average over space is computed on the smaller image. Exact up to rounding.

It mixes channels at one place, a resize or an average pool mixes places in one channel, so their order is free;
the shares of an average sum to one, so a bias passes through too. What is left is a fraction of the
multiply-adds: a quarter for doubling (the decoders of U-Nets) and for 2x2 pools (the transitions of DenseNets).
"""

from __future__ import annotations

from ..ir.graph import Graph, Node
from ..ir.ops.conv import CONVS, conv_of
from ..ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL
from ..ir.ops.resize import RESIZE
from .analysis.prices import duration
from .rewriting.ledger import Ledger
from .rewriting.products import is_1x1
from .rewriting.rewriter import ANY, Match, Pat, Rule, rewrite

__all__ = ["move_pointwise"]


def before_resize(m: Match) -> Node | None:
    """resize(conv(x)) for conv(resize(x)): less work where the resize grows the image, unless there are many more channels."""
    conv, resize = m.root, m["resize"]
    if not _is_matrix(conv):
        return None
    if RESIZE.of(resize).roi:
        return m.decline(f"%{resize.name} may take what is not in the image")
    small = m.node("conv", conv.kind, conv.op, (m["x"], *conv.inputs[1:]))
    return _if_cheaper(m, resize, small, Node(conv.name, RESIZE, resize.op, (small,), conv.type))


def after_pool(m: Match) -> Node | None:
    """conv(pool(x)) for pool(conv(x)): less work where the pool shrinks the image, unless there were many more channels."""
    conv, pool = m["conv"], m.root
    if not _is_matrix(conv):
        return None
    op = AVG_POOL.of(pool) if pool.kind is AVG_POOL else None
    if op and any(op.pads) and op.count_include_pad and len(conv.inputs) > 2:
        return m.decline(f"%{pool.name} counts zeros where %{conv.name} would have its bias")
    small = m.node("pool", pool.kind, pool.op, (m["x"],))
    return _if_cheaper(m, conv, small, Node(pool.name, conv.kind, conv.op, (small, *conv.inputs[1:]), pool.type))


def _if_cheaper(m: Match, inner: Node, small: Node, swapped: Node) -> Node | None:
    before, after = m.prices.seconds(inner, m.root), m.prices.seconds(small, swapped)
    if after < before:
        return swapped
    return m.decline(f"%{inner.name} and it take {duration(before)}, the other way round {duration(after)}")


def _is_matrix(conv: Node) -> bool:
    """Whether it computes every place of the image, each from that place alone."""
    op = conv_of(conv)
    return is_1x1(conv) and max(op.strides) == 1 and not any(op.pads)


# uses=1: another reader still needs the value in between
WEIGHTS = (ANY(), Pat(optional=True))
RESIZED = Pat((RESIZE,), (ANY("x"),), bind="resize", uses=1)
MIXED = Pat(CONVS, (ANY("x"), *WEIGHTS), bind="conv", uses=1)
RULES = (
    Rule("before-resize", Pat(CONVS, (RESIZED, *WEIGHTS)), before_resize),
    Rule("after-pool", Pat((AVG_POOL, GLOBAL_AVG_POOL), (MIXED,)), after_pool),
)


def move_pointwise(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %r = resize(%x) {scales=[2.0,2.0]}; %c = conv2d(%r, %w)    After: %c.conv = conv2d(%x, %w); %c = resize(%c.conv)

    Before: %c = conv2d(%x, %w); %p = avg_pool(%c)    After: %p.pool = avg_pool(%x); %p = conv2d(%p.pool, %w)
    """
    return rewrite(graph, RULES, ledger)
