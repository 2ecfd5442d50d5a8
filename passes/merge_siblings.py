"""merge-siblings: convolutions of one tensor, alike but for their filters, become one with the filters stacked. Exact.

The tensor is read once, and one larger product replaces several small ones; each old result is a slice of its
channels. Results that go side by side into one concat are not even cut: the slices vanish (two convs joined by a
concat are one conv). An activation that all of them share is computed before the cut, where the engine takes it into the conv.

Source: Jia et al. 2019 (MetaFlow), of whose substitutions it is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..ir.graph import Graph, Node, fresh_name, given_param
from ..ir.ops.conv import CONVS, conv_of
from ..ir.ops.shape import CONCAT, SLICE, Slice
from ..ir.types import Array, TensorType
from ..ir.verifier import infer_type
from ..ir.weights import Weights
from .analysis.prices import Prices, duration
from .flatten_concat import flatten_concat
from .rewriting.ledger import Ledger
from .rewriting.products import wide

__all__ = ["merge_siblings"]


@dataclass(frozen=True)
class Family:
    """Convs that may become one. `tails` are their results: the convs, or the activations that alone read them."""

    convs: tuple[Node, ...]
    tails: tuple[Node, ...]

    @property
    def starts(self) -> list[int]:
        """Where the channels of each begin, and where the last end."""
        return [0, *np.cumsum([_filters(conv) for conv in self.convs]).tolist()]


def merge_siblings(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %a = conv2d(%x, %v); %b = conv2d(%x, %w)

    After: %x.all = conv2d(%x, %x.all.w); %a = slice(%x.all) {axes=[1], ..}; %b = slice(%x.all) {axes=[1], ..}
    """
    merged: list[Family] = []
    live = graph.live
    for family in _families(live, ledger.prices):
        if not ledger.is_open:
            break
        if why := _declined(live, family, ledger.prices):
            ledger.decline("merge", family.convs[0].name, why)
            continue
        names = tuple(node.name for node in (*family.convs, *family.tails))
        ledger.record("merge", family.tails[0].name, tuple(dict.fromkeys(names)))
        merged.append(family)
    return flatten_concat(_Merging(live, merged).run(), ledger) if merged else graph


def _families(graph: Graph, prices: Prices) -> Iterator[Family]:
    """Two convs and more that read one value with the same windows, in the order of the graph."""
    found: dict[object, list[tuple[Node, Node]]] = {}
    for conv in graph.ops:
        if conv.kind in CONVS and conv.typed.is_float and _is_whole(conv):
            tail = _tail(graph, conv, prices)
            follows = None if tail is conv else (tail.kind, repr(tail.op))
            key = (conv.inputs[0], conv.op, conv.inputs[1].typed.shape[2:], follows)
            found.setdefault(key, []).append((conv, tail))
    for members in found.values():
        if len(members) > 1:
            yield Family(tuple(conv for conv, _ in members), tuple(tail for _, tail in members))


def _is_whole(conv: Node) -> bool:
    """Whether its filters are known, and each reads all channels."""
    return conv_of(conv).groups == 1 and all(w.weights is not None for w in conv.inputs[1:])


def _tail(graph: Graph, conv: Node, prices: Prices) -> Node:
    """The activation that alone reads a conv, where the engine takes it in; else the conv itself."""
    if graph.uses[conv] != 1 or conv in graph.outputs:
        return conv
    (reader,) = graph.readers[conv]
    return reader if reader.kind in prices.appends and len(reader.inputs) == 1 else conv


def _declined(graph: Graph, family: Family, prices: Prices) -> str:
    """Why the convs stay apart; "" where one is cheaper."""
    before, whole = prices.seconds(*family.convs), _type(family)
    after = prices.of(family.convs[0].kind, family.convs[0].op, _operand_types(family), whole)
    if not _side_by_side(graph, family):
        after += sum(prices.of(SLICE, _cut(family, i), (whole,), tail.typed) for i, tail in enumerate(family.tails))
    if after < before:
        return ""
    return f"{len(family.convs)} convs of %{family.convs[0].inputs[0].name} take {duration(before)}, one and its slices {duration(after)}"


def _cut(family: Family, i: int) -> Slice:
    return Slice((1,), (family.starts[i],), (family.starts[i + 1],))


def _side_by_side(graph: Graph, family: Family) -> bool:
    """Whether one concat of channels reads the results, each once, in order, and nothing else reads them."""
    readers = {reader for tail in family.tails for reader in graph.readers[tail]}
    if len(readers) != 1 or any(tail in graph.outputs for tail in family.tails):
        return False
    (concat,) = readers
    if concat.kind is not CONCAT or CONCAT.of(concat).axis not in (1, 1 - concat.typed.rank) or family.tails[0] not in concat.inputs:
        return False
    first = concat.inputs.index(family.tails[0])
    own = set(family.tails)
    return concat.inputs[first : first + len(own)] == family.tails and sum(operand in own for operand in concat.inputs) == len(own)


def _filters(conv: Node) -> int:
    return conv.inputs[1].typed.concrete()[0]


def _type(family: Family) -> TensorType:
    first = family.convs[0].typed
    return TensorType(first.dtype, (first.shape[0], family.starts[-1], *first.shape[2:]))


def _operand_types(family: Family) -> tuple[TensorType, ...]:
    x, w = (operand.typed for operand in family.convs[0].inputs[:2])
    count = family.starts[-1]
    bias = (TensorType(x.dtype, (count,)),) if any(len(conv.inputs) > 2 for conv in family.convs) else ()
    return (x, TensorType(w.dtype, (count, *w.shape[1:])), *bias)


class _Merging:
    """Rebuilds a graph with each family as one conv and slices of it."""

    def __init__(self, graph: Graph, families: list[Family]) -> None:
        self.graph = graph
        self.taken = {node.name for node in graph.nodes}
        self.place = {tail: (family, i) for family in families for i, tail in enumerate(family.tails)}
        self.family = {conv: family for family in families for conv in family.convs}
        self.wholes: dict[int, Node] = {}  # by id of the family

    def run(self) -> Graph:
        return self.graph.rebuild(self.visit)

    def visit(self, node: Node, operands: tuple[Node, ...]) -> Node:
        if node in self.family and id(self.family[node]) not in self.wholes:
            self.wholes[id(self.family[node])] = self.whole(self.family[node], operands[0])
        if node not in self.place:
            return node.reading(operands)
        family, i = self.place[node]
        origin = replace(node.origin, made_from=(node.name,))
        return Node(node.name, SLICE, _cut(family, i), (self.wholes[id(family)],), node.type, origin)

    def whole(self, family: Family, x: Node) -> Node:
        """The one conv, and the activation that all have in common."""
        first, tail = family.convs[0], family.tails[0]
        name = fresh_name(f"{x.name}.all", self.taken)
        origin = replace(first.origin, made_from=tuple(conv.name for conv in family.convs))
        types = _operand_types(family)

        def weights() -> Array:
            return np.concatenate([wide(conv.inputs[1]) for conv in family.convs])

        def biases() -> Array:
            return np.concatenate([wide(conv.inputs[2]) if len(conv.inputs) > 2 else np.zeros(_filters(conv)) for conv in family.convs])

        params: list[Node] = []
        for suffix, type_, values in zip("wb", types[1:], (weights, biases), strict=False):  # not all have a bias
            key = fresh_name(f"{name}.{suffix}", self.taken)
            params.append(given_param(key, Weights.derived(type_, key, values), first.origin))
        conv = Node(name, first.kind, first.op, (x, *params), _type(family), origin)
        if tail is first:
            return conv
        act = tail.like(name=fresh_name(f"{name}.{tail.kind.name}", self.taken), inputs=(conv,), type=None, origin=origin)
        return act.like(type=infer_type(act))
