"""fuse-conv-bn: fold inference batch norm into the product before or after it. Exact up to one rounding of the weights.

Source: Ioffe & Szegedy 2015, sec. 3.1: at inference a norm is linear; Jacob et al. 2018, sec. 3.2: folded into weights.
"""

from __future__ import annotations

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.ops.conv import CONVS
from ..ir.ops.conv_transpose import CONV_TRANSPOSES
from ..ir.ops.linear import DENSE, MATMUL
from ..ir.ops.norm import BATCH_NORM
from ..ir.types import Array
from .rewriting.ledger import Ledger
from .rewriting.products import (
    ChannelValues,
    by_input,
    by_output,
    folded_after,
    folded_before,
    product,
    takes_fold,
    takes_shift,
    unfit,
    wide,
)
from .rewriting.rewriter import ANY, CONST, Match, Pat, Rule, rewrite

__all__ = ["fuse_conv_bn"]

STATS = (CONST("scale"), CONST("shift"), CONST("mean"), CONST("var"))


def after(m: Match) -> Node | None:
    """y = gain * (w x + b) + offset."""
    if not takes_fold(m["product"]):
        return None
    gain, shift = _affine(m)
    if why := unfit(m["product"], gain, m["scale"], m["var"], scaled=by_output):
        return m.decline(why)
    return folded_after(m, m["product"], gain, shift)


def before(m: Match) -> Node | None:
    """y = w (gain * x + offset) + b: the offset of a padded input is none where it is padded, so that stays."""
    if not takes_fold(m.root) or not takes_shift(m.root):
        return None
    gain, shift = _affine(m)
    if why := unfit(m.root, gain, m["scale"], m["var"], scaled=by_input):
        return m.decline(why)
    return folded_before(m, m.root, m["input"], gain, shift)


def _affine(m: Match) -> tuple[ChannelValues, ChannelValues]:
    """The norm as a gain and an offset."""
    scale, shift, mean, var = (m[stat] for stat in ("scale", "shift", "mean", "var"))
    epsilon = BATCH_NORM.of(m["bn"]).epsilon

    def gain() -> Array:
        return wide(scale) / np.sqrt(wide(var) + epsilon)

    return gain, lambda: wide(shift) - wide(mean) * gain()


# uses=1: another reader still needs the raw result
PRODUCT = product(*CONVS, *CONV_TRANSPOSES, DENSE, MATMUL, uses=1)
NORM = Pat((BATCH_NORM,), (ANY("input"), *STATS), bind="bn", uses=1)
RULES = (
    Rule("fold-bn-into-product", Pat((BATCH_NORM,), (PRODUCT, *STATS), bind="bn"), after),
    Rule("fold-bn-into-next-product", Pat((*CONVS, DENSE, MATMUL), (NORM, CONST("w"), CONST("b", optional=True))), before),
)


def fuse_conv_bn(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %n = batch_norm(conv2d(%x, %w), ...)          After: %n = conv2d(%x, %n.w, %n.b)

    Before: %c = conv2d(batch_norm(%x, ...), %w), no pads    After: %c = conv2d(%x, %c.w, %c.b)
    """
    return rewrite(graph, RULES, ledger)
