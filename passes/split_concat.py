"""split-concat: a 1x1 convolution of a concat becomes a sum of convolutions of its parts, where that saves the copy. Exact up to rounding.

Each part has its own columns of the weights. What is saved is reading and writing all channels once; what it costs is that the
parts' results, which have the conv's channels, are read again to be summed. That pays where a conv narrows: the squeeze layers of
SqueezeNet read eight times the channels that they make.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

from ..ir.graph import Graph, Node
from ..ir.ops.conv import CONVS, conv_of
from ..ir.ops.elementwise import ADD, Add
from ..ir.ops.shape import CONCAT
from ..ir.types import TensorType
from .analysis.prices import duration
from .rewriting.ledger import Ledger
from .rewriting.products import is_1x1, takes_fold, wide
from .rewriting.rewriter import CONST, Match, Pat, Rule, rewrite

__all__ = ["split_concat"]


def split(m: Match) -> Node | None:
    """conv(a) + conv(b) + ... for conv(concat(a, b, ...)); the first one has the bias, and padding is 0 in every part."""
    conv, concat, weight = m.root, m["concat"], m["w"].typed
    if not is_1x1(conv) or conv_of(conv).groups != 1 or not takes_fold(conv):
        return None
    if CONCAT.of(concat).axis not in (1, 1 - conv.typed.rank) or len(concat.inputs) < 2:
        return None
    widths = [width for part in concat.inputs if isinstance(width := part.typed.shape[1], int)]
    if len(widths) < len(concat.inputs):
        return None
    types = [TensorType(weight.dtype, (weight.concrete()[0], width, *weight.shape[2:])) for width in widths]
    before, after = m.prices.seconds(concat, conv), _after(m, types)
    if after >= before:
        return m.decline(f"the concat and one conv take {duration(before)}, a sum of {len(types)} convs {duration(after)}")
    total: Node | None = None
    for part, type_, ends in zip(concat.inputs, types, pairwise(accumulate(widths, initial=0)), strict=True):
        bias = () if total else conv.inputs[2:]
        made = m.node("part", conv.kind, conv.op, (part, _columns(m, type_, *ends), *bias))
        total = m.node("sum", ADD, Add(), (total, made)) if total else made
    return total


def _after(m: Match, types: list[TensorType]) -> float:
    """Seconds for the convs and their sums."""
    operands = zip(m["concat"].inputs, types, strict=True)
    convs = sum(m.prices.of(m.root.kind, m.root.op, (part.typed, type_), m.root.typed) for part, type_ in operands)
    return convs + (len(types) - 1) * m.prices.of(ADD, Add(), (m.root.typed, m.root.typed), m.root.typed)


def _columns(m: Match, type_: TensorType, first: int, last: int) -> Node:
    return m.param("w", type_, lambda: wide(m["w"])[:, first:last])


# uses=1: another reader still needs the copy
JOINED = Pat((CONCAT,), None, bind="concat", uses=1)
RULES = (Rule("split", Pat(CONVS, (JOINED, CONST("w"), CONST("b", optional=True))), split),)


def split_concat(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %c = concat(%x, %y); %y = conv2d(%c, %w)

    After: %p = conv2d(%x, %p.w); %q = conv2d(%y, %q.w); %y = add(%p, %q)
    """
    return rewrite(graph, RULES, ledger)
