"""fold-affine: constant arithmetic around a product goes into its weights and bias. Exact up to rounding."""

from __future__ import annotations

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.ops.conv import CONVS
from ..ir.ops.conv_transpose import CONV_TRANSPOSES
from ..ir.ops.elementwise import ADD, DIV, MUL, SUB
from ..ir.ops.linear import DENSE
from ..ir.types import Array, TensorType
from .rewriting.ledger import Ledger
from .rewriting.products import (
    ChannelValues,
    by_input,
    by_output,
    folded_after,
    folded_before,
    product,
    rounding_to_whole,
    takes_fold,
    takes_shift,
    unfit,
    wide,
)
from .rewriting.rewriter import ANY, CONST, Match, Pat, Rule, rewrite

__all__ = ["fold_affine"]


def after(m: Match) -> Node | None:
    """gain * (w x + b) + shift."""
    value = m["product"]
    if not takes_fold(value) or not _per_channel(m.root, m["c"], value.typed):
        return None
    gain, shift = _affine(m.root, m["c"])
    if why := rounding_to_whole(m.root.kind, m["c"]) or unfit(value, gain, m["c"], scaled=by_output):
        return m.decline(why)
    return folded_after(m, value, gain, shift)


def before(m: Match) -> Node | None:
    """w (gain * x + shift) + b: a gain always folds, since padded zeros stay zeros under it."""
    affine, x = m["affine"], m["input"]
    if not takes_fold(m.root) or not _per_channel(affine, m["c"], x.typed):
        return None
    gain, shift = _affine(affine, m["c"])
    if shift is not None and not takes_shift(m.root):
        return None
    if why := rounding_to_whole(affine.kind, m["c"]) or unfit(m.root, gain, m["c"], scaled=by_input):
        return m.decline(why)
    return folded_before(m, m.root, x, gain, shift)


def _per_channel(affine: Node, c: Node, value: TensorType) -> bool:
    """Whether `c` is one value, or one for each channel of `value`, and broadcasting leaves the shape of `value`.

    A constant that varies over rows or columns is not a bias, and one that grows the result is not even its shape.
    """
    if affine.typed != value:
        return False
    aligned = (*(1,) * (value.rank - c.typed.rank), *c.typed.shape)
    return all(size == 1 for axis, size in enumerate(aligned) if axis != 1)


def _affine(node: Node, c: Node) -> tuple[ChannelValues | None, ChannelValues | None]:
    """(gain, shift) of the other operand."""

    def values() -> Array:
        return wide(c).reshape(-1)

    if node.kind is MUL:
        return values, None
    if node.kind is DIV:
        return lambda: 1 / values(), None
    if node.kind is ADD:
        return None, values
    if node.inputs[1] is c:
        return None, lambda: -values()
    return lambda: -np.ones(1), values  # c - x


# uses=1: another reader still needs the raw result. A constant divided by the product is not affine.
PRODUCT = product(*CONVS, *CONV_TRANSPOSES, DENSE, uses=1)
WEIGHTS = (CONST("w"), CONST("b", optional=True))
RIGHT = Pat((ADD, SUB, MUL, DIV), (ANY("input"), CONST("c")), bind="affine", uses=1)
LEFT = Pat((ADD, SUB, MUL), (CONST("c"), ANY("input")), bind="affine", uses=1)
RULES = (
    Rule("fold-into-product", Pat((ADD, SUB, MUL, DIV), (PRODUCT, CONST("c"))), after),
    Rule("fold-into-product", Pat((ADD, SUB, MUL), (CONST("c"), PRODUCT)), after),
    Rule("fold-into-next-product", Pat((*CONVS, *CONV_TRANSPOSES, DENSE), (RIGHT, *WEIGHTS)), before),
    Rule("fold-into-next-product", Pat((*CONVS, *CONV_TRANSPOSES, DENSE), (LEFT, *WEIGHTS)), before),
)


def fold_affine(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %y = mul(conv2d(%x, %w), %c)    After: %y = conv2d(%x, %y.w)

    Before: %y = conv2d(add(%x, %c), %w), no pads    After: %y = conv2d(%x, %w, %y.b)
    """
    return rewrite(graph, RULES, ledger)
