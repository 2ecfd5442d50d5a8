"""compose-linear: two convolutions with nothing in between, one of them 1x1, become one where that is cheaper. Exact up to rounding.

A 1x1 conv is a matrix at every place, so its product with the other's filters is a filter of the other's size. The
bias between them passes through the second conv, but not through its padding: there the second conv reads 0 where
the first one never computed its bias. So a second conv may have pads only if the first one has no bias.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.ops.conv import CONVS, Conv, conv_of
from ..ir.types import Array, TensorType
from .analysis.prices import duration
from .rewriting.ledger import Ledger
from .rewriting.overflow import largest, overflows
from .rewriting.products import is_1x1, takes_fold, wide
from .rewriting.rewriter import ANY, CONST, Match, Pat, Rule, rewrite

__all__ = ["compose_linear"]


def compose(m: Match) -> Node | None:
    """second(first(x)) as one conv. Fewer channels in between than on either side are a bottleneck, which is cheaper as it is."""
    first, second = m["first"], m.root
    if not (takes_fold(first) and takes_fold(second)):
        return None
    if conv_of(first).groups != 1 or conv_of(second).groups != 1:
        return m.decline("one has groups of channels, and both in one would be mostly zeros")
    op = _composed(first, second)
    if isinstance(op, str):
        return m.decline(op)
    v, w = first.inputs[1].typed.concrete(), second.inputs[1].typed.concrete()
    filters = TensorType(second.typed.dtype, (w[0], v[1], *(v[2:] if is_1x1(second) else w[2:])))
    shift = TensorType(second.typed.dtype, (w[0],)) if m.get("b1") or m.get("b2") else None
    operands = (m["x"].typed, filters, *((shift,) if shift else ()))
    before, after = m.prices.seconds(first, second), m.prices.of(second.kind, op, operands, second.typed)
    if after >= before:
        return m.decline(f"both take {duration(before)}, one {duration(after)}")
    sums, known = math.prod(w), [m.get(name) for name in ("w1", "w2", "b1", "b2")]
    most, most_b = sums * largest(m["w1"]) * largest(m["w2"]), sums * largest(m.get("b1")) * largest(m["w2"]) + largest(m.get("b2"))
    if overflows(filters, most, lambda: _filters(m), known) or (shift and overflows(shift, most_b, lambda: _bias(m), known)):
        return m.decline(f"%{first.name} and %{second.name} make weights beyond the range of {second.typed.dtype}")
    bias = (m.param("b", shift, lambda: _bias(m), most_b),) if shift else ()
    weight = m.param("w", filters, lambda: _filters(m).reshape(filters.concrete()), most)
    return Node(second.name, second.kind, op, (m["x"], weight, *bias), second.type)


def _composed(first: Node, second: Node) -> Conv | str:
    """How one conv moves over the input, or why none can: strides of a 1x1 that comes second multiply."""
    one, two = conv_of(first), conv_of(second)
    if is_1x1(second) and not any(two.pads):
        return replace(one, strides=tuple(a * b for a, b in zip(one.strides, two.strides, strict=True)))
    if not is_1x1(first) or any(one.pads) or max(one.strides) > 1:
        return "neither is a 1x1 without pads, or the first one has strides"
    if any(two.pads) and len(first.inputs) > 2:
        return f"%{second.name} pads with 0, where %{first.name} would have its bias"
    return two


def _filters(m: Match) -> Array:
    """[O,M,..] times [M,C,..], one of them 1x1."""
    axes = m["w1"].typed.rank - 2
    here, there = "hij"[-axes:], "gkl"[-axes:]
    return np.einsum(f"om{here},mc{there}->oc{here}{there}", wide(m["w2"]), wide(m["w1"]), optimize=True)


def _bias(m: Match) -> Array:
    """Every place reads the first bias once through each tap of the second."""
    b1, b2 = m.get("b1"), m.get("b2")
    through = wide(m["w2"]).sum(axis=tuple(range(2, m["w2"].typed.rank))) @ wide(b1) if b1 else 0.0
    return through + (wide(b2) if b2 else np.zeros(m["w2"].typed.concrete()[0]))


# uses=1: another reader still needs the value in between
FIRST = Pat(CONVS, (ANY("x"), CONST("w1"), CONST("b1", optional=True)), bind="first", uses=1)
RULES = (Rule("compose", Pat(CONVS, (FIRST, CONST("w2"), CONST("b2", optional=True))), compose),)


def compose_linear(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %a = conv2d(%x, %v); %b = conv2d(%a, %w), one of %v and %w 1x1    After: %b = conv2d(%x, %b.w)"""
    return rewrite(graph, RULES, ledger)
