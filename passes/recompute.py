"""recompute: what is kept long is computed again where it is read again, so that less is live at once. Chen et al. 2016; Griewank &
Walther 2008, ch. 12.

A step of training keeps what its forward half computes until the backward half reads it. Most of that is cheap to have again: a relu and a
batch norm of a convolution's result take a few operations a number, where the convolution took hundreds. One result is kept for all that
follows from it. A copy computes what its original computed, of the same operands, so that no bit changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

from ..ir.binding import batch_names
from ..ir.errors import InvalidModel, UsageError
from ..ir.graph import Graph, Node, fresh_name
from ..ir.usual_sizes import counting_sizes
from .analysis.cost import node_cost
from .analysis.liveness import Buffer, Liveness, holders, live_under, node_bytes
from .rewriting.ledger import Ledger

__all__ = ["Recomputed", "recompute", "recompute_within", "step_within", "words_of"]

RULE = "again"
FEW = 256  # a value so many times smaller than the peak stays
BATCH = 16  # images of a step of training, where nobody says how many; `convc train` takes as many at a time
DEEPEST = 24  # ops that are computed again for one value
MORE = 4  # times as many images, of which a refusal says what share they come to
SMALL = 16  # a value so many times smaller than what is gained is kept rather than computed again


@dataclass(frozen=True)
class Recomputed:
    """What a budget came to. Units: `before` and `after` bytes live at once, without inputs and parameters; `flops` of a run before, and
    `paid` on top of them. `groups` are the values that are computed again, those together that share what is kept for them.
    """

    graph: Graph
    before: int
    after: int
    flops: int
    paid: int
    groups: tuple[tuple[str, ...], ...]

    @property
    def share(self) -> float:
        return self.after / self.before if self.before else 1.0

    @property
    def line(self) -> str:
        """For people."""
        values = sum(map(len, self.groups))
        more = f"{100 * self.paid / self.flops:.2f} % more FLOPs" if self.flops else "no FLOPs"
        return f"{values} values are computed again: peak {self.before:,} -> {self.after:,} bytes ({self.share:.3f}), for {more}"


def recompute(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %r = relu(%x); %y = long(%r); %z = add(%y, %r)    After: %r = relu(%x); %y = long(%r); %r.again = relu(%x); add(%y, %r.again)

    The least peak that ops without products reach, at usual sizes; a rewrite is what it takes to lower the peak once.
    """
    try:
        search = _Descent(graph, counting_sizes(graph) | dict(ledger.prices.sizes))
    except InvalidModel as error:
        ledger.decline(RULE, graph.name, str(error))
        return graph
    while ledger.is_open and (groups := search.lower(products=False)):
        ledger.record(RULE, groups[0].names[0], tuple(name for group in groups for name in group.names), ())
    return search.graph


def recompute_within(
    graph: Graph, share: float, sizes: Mapping[str, int] | None = None, donated: Mapping[str, str] | None = None
) -> Recomputed:
    """The graph with a peak of at most this share of its own. Products are computed again only where all else does not do. A named size
    without a number counts as 1. Of passes it is the last: equal nodes would become one again. Outputs that are `donated` an input's
    memory, in an order that allows it, take none.

    Raises: UsageError for a share that cannot be reached, with the one that can, and with a batch for which that is less, if there is.
    """
    if not 0 < share <= 1:
        raise UsageError(f"a share of memory is {share}, expected more than 0 and at most 1")
    search = _Descent(graph, sizes or {}, donated or {})
    before, flops, budget = search.live.peak, search.flops, int(search.live.peak * share)
    groups = search.descend(budget)
    if (after := search.live.peak) > budget:
        raise UsageError(_out_of_reach(graph, search, share))
    return Recomputed(search.graph, before, after, flops, search.flops - flops, tuple(group.names for group in groups))


def step_within(step: Graph, share: float, batch: int | None = None, donated: Mapping[str, str] | None = None) -> Recomputed:
    """The step, its peak at most that share of what it is for so many images; outputs that are `donated` an input's memory take none.

    Raises: as `recompute_within`.
    """
    return recompute_within(step, share, dict.fromkeys(batch_names(step), batch or BATCH), donated)


def words_of(found: Recomputed, step: Graph) -> str:
    """For people; of how many images, where the network leaves that open."""
    return f"for batches of {BATCH}: {found.line}" if batch_names(step) else found.line


@dataclass(frozen=True)
class _Again:
    """`values` of one buffer, whose `readers` read copies of them: `chain` computes these, operands first, just before the first reader.
    `kept` are the values that live longer for it.
    """

    buffer: Buffer
    values: tuple[Node, ...]
    readers: frozenset[Node]
    first: Node
    chain: tuple[Node, ...]
    kept: frozenset[Node]


@dataclass(frozen=True)
class _Group:
    """Values that share what is kept for them. Units: `gain` bytes at the fullest step, `cost` FLOPs."""

    members: tuple[_Again, ...]
    gain: int
    cost: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(value.name for member in self.members for value in member.values)


class _Descent:
    """A graph on its way to a lower peak."""

    def __init__(self, graph: Graph, sizes: Mapping[str, int], donated: Mapping[str, str] | None = None) -> None:
        self.donated = donated or {}
        self.sizes = dict.fromkeys((*graph.symbols, *graph.found_symbols), 1) | dict(sizes)
        self._take(graph)

    def _take(self, graph: Graph) -> None:
        self.graph = graph
        holder = holders(graph)
        given = {graph.by_name[name]: graph.by_name[output] for output, name in self.donated.items()}
        self.overwritten = {node: given[holder[node]] for node in graph.nodes if holder[node] in given}
        self.nbytes = node_bytes(graph, self.sizes) | {holder[output]: 0 for output in given.values()}
        self.live = live_under(graph, self.nbytes.__getitem__)

    @property
    def flops(self) -> int:
        return sum(_flops(node, self.sizes) for node in self.graph.ops)

    @property
    def _height(self) -> tuple[int, int]:
        """The peak, and how many steps reach it: what falls with every group that is taken."""
        return self.live.peak, self.live.live_bytes.count(self.live.peak)

    def descend(self, budget: int) -> list[_Group]:
        """Groups taken until the peak is within the budget, or can fall no further."""
        groups = list[_Group]()
        for products in (False, True):
            while self.live.peak > budget and (taken := self.lower(products=products)):
                groups += taken
        return groups

    def lower(self, *, products: bool) -> list[_Group]:
        """Groups by which the peak falls, taken; none, and the graph as it was, where it cannot fall. Products are computed again where
        they may be."""
        graph, peak, tried = self.graph, self.live.peak, set[frozenset[str]]()
        taken: list[_Group] = []
        while self.live.steps and (group := self._best(tried, products)) is not None:
            tried.add(frozenset(group.names))
            before, height = self.graph, self._height
            self._take(_with_copies(before, group.members))
            if self._height >= height:
                self._take(before)
                continue
            taken.append(group)
            if self.live.peak < peak:
                return taken
        self._take(graph)
        return []

    def _best(self, tried: set[frozenset[str]], products: bool) -> _Group | None:
        """The group that costs least for each byte that it frees at the fullest step."""
        allowed = {node for node in self.graph.ops if self._is_allowed(node, products)}
        full = _Fullest(self.graph, self.live, self.nbytes, allowed, self.overwritten)
        members = [member for buffer in full.idle() if (member := full.again(buffer)) is not None]
        costs = {member: sum(_flops(node, self.sizes) for node in member.chain) for member in members}
        found: list[_Group] = []
        for kept in dict.fromkeys(member.kept for member in members):
            together = tuple(member for member in members if member.kept <= kept)
            gain = sum(member.buffer.nbytes for member in together) - sum(self.nbytes[node] for node in kept)
            group = _Group(together, gain, sum(costs[member] for member in together))
            if gain > 0 and frozenset(group.names) not in tried:
                found.append(group)
        return min(found, key=lambda group: group.cost / group.gain, default=None)

    def _is_allowed(self, node: Node, products: bool) -> bool:
        return not node.kind.facts.opaque and (products or not node_cost(node, self.sizes).macs)


@dataclass(frozen=True, eq=False)
class _Fullest:
    """The fullest step of a run, and what is live in it that it does not read."""

    graph: Graph
    live: Liveness
    nbytes: Mapping[Node, int]
    allowed: set[Node]
    overwritten: Mapping[Node, Node]  # inputs, and views of them, by what takes their place

    @cached_property
    def at(self) -> dict[Node, int]:
        return {node: step for step, node in enumerate(self.live.steps)}

    @cached_property
    def step(self) -> int:
        return self.live.peak_step

    def idle(self) -> Iterator[Buffer]:
        """Buffers that were written before the step and are read after it, and neither in it nor by the caller."""
        returned = set(self.graph.outputs)
        for buffer in self.live.live_at(self.step):
            reads = {self.at[reader] for value in buffer.values for reader in self.graph.readers[value]}
            writes = {self.at[value] for value in buffer.values}
            if self.step not in reads | writes and returned.isdisjoint(buffer.values) and buffer.nbytes * FEW > self.live.peak:
                yield buffer

    def again(self, buffer: Buffer) -> _Again | None:
        """How the values of a buffer that are read later are had again; None where they are not."""
        later = {value: [each for each in self.graph.readers[value] if self.at[each] > self.step] for value in buffer.values}
        values = tuple(value for value in buffer.values if later[value] and self.at[value] < self.step)
        if not values:
            return None
        readers = {each for value in values for each in later[value]}
        first = min(readers, key=self.at.__getitem__)
        made = self._chain(values, self.at[first], buffer.nbytes)
        return None if made is None else _Again(buffer, values, frozenset(readers), first, *made)

    def _chain(self, values: Sequence[Node], when: int, nbytes: int) -> tuple[tuple[Node, ...], frozenset[Node]] | None:
        """Ops that compute the values from what is there at the step `when` anyway, or is kept until then."""
        chain, kept, todo = set[Node](), set[Node](), list(values)
        while todo:
            node = todo.pop()
            if node in chain:
                continue
            if node not in self.allowed or len(chain) == DEEPEST:
                return None
            chain.add(node)
            for operand in node.inputs:
                if operand in self.overwritten and self.at[self.overwritten[operand]] < when:
                    return None
                if operand not in self.at or (operand not in values and self.live.intervals[operand][1] >= when):
                    continue  # the caller's, or live at that time
                if operand in values or (operand in self.allowed and self.nbytes[operand] * SMALL > nbytes):
                    todo.append(operand)
                elif self.nbytes[operand] * SMALL > nbytes and self.live.intervals[operand][1] < self.step:
                    kept.add(operand)
        return tuple(sorted(chain, key=self.at.__getitem__)), frozenset(kept)


def _out_of_reach(graph: Graph, search: _Descent, share: float) -> str:
    """With the way out: a share for which the search ends where it ended, or more images, where those come to less."""
    least, batch = _reached(graph, search), {name: search.sizes[name] for name in batch_names(graph)}
    more = {name: MORE * size for name, size in batch.items()}
    ways = [f"give a share of {least:g} or more" if least < 1 else "leave the share out"]
    if more:
        larger = _Descent(graph, search.sizes | more, search.donated)
        larger.descend(0)
        if (reached := _reached(graph, larger)) < least:
            ways.append(f"a larger batch, which with {_sizes(more)} comes to {reached:g}")
    fullest = search.live.steps[search.live.peak_step]
    of = f"{share:g} of its memory{f' with {_sizes(batch)}' if batch else ''}"
    return (
        f"@{graph.name} cannot be computed in {of}: {least:g} is as little as it comes to by computing values again, "
        f"{search.live.peak:,} bytes at {fullest.where}; {', or '.join(ways)}"
    )


def _reached(graph: Graph, search: _Descent) -> float:
    """The share that a search has come to, rounded up to a thousandth of which it does not fall short."""
    before, after = _Descent(graph, search.sizes, search.donated).live.peak, search.live.peak
    return next(places for places in count(math.ceil(1000 * after / before)) if int(before * (places / 1000)) >= after) / 1000


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _with_copies(graph: Graph, members: Sequence[_Again]) -> Graph:
    """The graph in which later readers read copies."""
    taken = {node.name for node in graph.nodes}
    new: dict[Node, Node] = {}
    order: list[Node] = []
    starting: dict[Node, list[_Again]] = {}
    for member in members:
        starting.setdefault(member.first, []).append(member)
    copies: dict[Node, dict[Node, Node]] = {}  # for a reader, what it reads instead
    for node in graph.nodes:
        for member in starting.get(node, ()):
            made: dict[Node, Node] = {}
            for each in member.chain:
                origin = replace(each.origin, made_from=(each.name,))
                operands = tuple(made.get(operand, new[operand]) for operand in each.inputs)
                made[each] = each.like(name=fresh_name(f"{each.name}.{RULE}", taken), inputs=operands, origin=origin)
            order += made.values()
            for reader in member.readers:
                copies.setdefault(reader, {}).update({value: made[value] for value in member.values})
        instead = copies.get(node, {})
        new[node] = node.reading(tuple(instead.get(operand, new[operand]) for operand in node.inputs))
        order.append(new[node])
    return Graph.of(graph.name, (new[node] for node in graph.inputs), (new[node] for node in graph.outputs), order)


def _flops(node: Node, sizes: Mapping[str, int]) -> int:
    flops = node_cost(node, sizes).flops
    assert isinstance(flops, int)  # every named size has a number by now
    return flops
