"""Which nodes of a graph each operator computes that onnxruntime made of its file: it appends, melts, renames, and changes layouts.

What it optimized keeps names: of a value that is still stored, or of the operator that stands for it. The others are found from these. What
leads to a node that its operator does not mean by itself is in that operator, as a convolution is in the one that is named after its
activation; and what comes after one and has no name any more was appended to it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.graph import Graph, Node
from ...ir.ops.leaf import INPUT, PARAM

__all__ = ["FusedOperator", "parts_of"]

MOVES = frozenset({"ReorderInput", "ReorderOutput", "Reshape", "Transpose", "Cast", "Squeeze", "Unsqueeze", "Identity"})
PREFIXES = ("Fused", "QLinear", "Skip")
SAME = {"Gemm": "MatMul"}


@dataclass(frozen=True, slots=True)
class FusedOperator:
    """An operator of the optimized file, and in the graph's order what it computes; or the one value that it `moves`, if that is known."""

    op: str
    nodes: tuple[Node, ...]
    moves: bool


def parts_of(graph: Graph, written: Any, optimized: Any) -> list[FusedOperator]:
    """A part for each operator of the model `optimized`, in its order, which onnxruntime made of `written`, the graph's own.

    Every node is in one part at least, but for those that were computed while the model was loaded.
    """
    return _Fusion(graph, written, optimized).parts()


class _Fusion:
    def __init__(self, graph: Graph, written: Any, optimized: Any) -> None:
        self.graph = graph
        self.operators: list[Any] = list(optimized.graph.node)
        self.owners: dict[str, Node] = {}  # by the names of operators
        self.values: dict[str, Node] = {}
        self.meant: defaultdict[Node, set[str]] = defaultdict(set)  # the operators that say a node
        self._read(written)
        self.covers: list[set[Node]] = [set() for _ in self.operators]
        self.covered: set[Node] = set()
        self.makers = {value: place for place, operator in enumerate(self.operators) for value in operator.output if value}

    def parts(self) -> list[FusedOperator]:
        behind = {each.input[0]: each.output[0] for each in self.operators if self._only_moves(each)}
        for place, operator in enumerate(self.operators):
            self._cover(place, self._named(operator, behind))
        named = [bool(nodes) for nodes in self.covers]
        for place, operator in enumerate(self.operators):
            if named[place] and not any(_family(operator.op_type) in map(_family, self.meant[node]) for node in self.covers[place]):
                self._cover(place, self._before(operator, self.covers[place]))
        for place, operator in enumerate(self.operators):
            if not named[place] and not self._only_moves(operator):
                self._cover(place, self._within(operator, self._next_named(operator, named)))
        self._append()
        return [self._part(place) for place in range(len(self.operators))]

    def _read(self, written: Any) -> None:
        """Operators are written node by node: those of a node end with the one that has its value."""
        nodes = {node.name: node for node in self.graph.nodes}
        waiting: list[Any] = []
        for operator in written.graph.node:
            waiting.append(operator)
            owner = next((nodes[name] for name in operator.output if name in nodes), None)
            if owner is None:
                continue
            if owner.kind not in (PARAM, INPUT):
                for each in waiting:
                    self.owners[each.name] = owner
                    self.meant[owner].add(each.op_type)
                    self.values |= {name: nodes.get(name, owner) for name in each.output if name}
            waiting = []

    def _only_moves(self, operator: Any) -> bool:
        """Whether it brings a value into another layout, and is not the one that a node of the graph means."""
        if operator.op_type not in MOVES:
            return False
        called = [*self._called(operator), *(self.values[name] for name in operator.output if name in self.values)]
        return not any(operator.op_type in self.meant[node] for node in called)

    def _named(self, operator: Any, behind: dict[str, str]) -> set[Node]:
        """Those that its outputs are, also where they are named `behind` another layout only, and the one that it is called after."""
        if self._only_moves(operator):
            return set()
        outputs = [name for output in operator.output for name in (output, behind.get(output, ""))]
        return {self.values[name] for name in outputs if name in self.values} | set(self._called(operator))

    def _called(self, operator: Any) -> list[Node]:
        name = operator.name.removeprefix("fused ").removesuffix("_nchwc")
        return [self.owners[name]] if name in self.owners else []

    def _cover(self, place: int, nodes: Iterable[Node]) -> None:
        self.covers[place] |= set(nodes)
        self.covered |= self.covers[place]

    def _before(self, operator: Any, ends: Iterable[Node]) -> set[Node]:
        """What leads from the nearest node that means such an operator; or where none does, all that leads to `ends` alone."""
        return set(self._way(operator, ends)) or self._alone(ends)

    def _within(self, operator: Any, ends: set[Node]) -> set[Node]:
        """For an operator whose name says nothing: it leads to `ends`, and where nothing is before them it is a piece of them."""
        return self._before(operator, ends) or ends

    def _alone(self, ends: Iterable[Node]) -> set[Node]:
        """What nobody computes yet, and only `ends` need."""
        inside = set(ends)
        waiting = list(inside)
        while waiting:
            for operand in self._free(waiting.pop()):
                if operand not in self.graph.outputs and all(reader in inside for reader in self.graph.readers[operand]):
                    inside.add(operand)
                    waiting.append(operand)
        return inside - set(ends)

    def _way(self, operator: Any, ends: Iterable[Node]) -> list[Node]:
        """From the nearest node that nobody computes yet and that means such an operator, to before `ends`."""
        after: dict[Node, Node | None] = dict.fromkeys(ends)
        waiting = deque(after)
        while waiting:
            node = waiting.popleft()
            for operand in self._free(node):
                if operand in after:
                    continue
                after[operand] = node
                waiting.append(operand)
                if _family(operator.op_type) in map(_family, self.meant[operand]):
                    return list(_along(after.get, operand))[:-1]
        return []

    def _free(self, node: Node) -> list[Node]:
        return [operand for operand in node.inputs if operand.kind not in (PARAM, INPUT) and operand not in self.covered]

    def _next_named(self, operator: Any, named: Sequence[bool]) -> set[Node]:
        readers: defaultdict[str, list[int]] = defaultdict(list)
        for place, each in enumerate(self.operators):
            for value in each.input:
                readers[value].append(place)
        waiting, seen = deque(operator.output), set(operator.output)
        while waiting:
            for place in readers[waiting.popleft()]:
                if named[place]:
                    return self.covers[place]
                fresh = [value for value in self.operators[place].output if value not in seen]
                waiting.extend(fresh)
                seen.update(fresh)
        return set()

    def _append(self) -> None:
        """What is left is in the last of the operators that have its operands: it could not be computed before."""
        last: dict[Node, int] = {}
        for place, nodes in enumerate(self.covers):
            last |= dict.fromkeys(nodes, place)
        for node in self.graph.ops:
            places = [last[operand] for operand in node.inputs if operand in last]
            if node not in last and places:
                last[node] = max(places)
                self._cover(last[node], [node])

    def _part(self, place: int) -> FusedOperator:
        operator = self.operators[place]
        op = f"{operator.op_type} (nchwc)" if operator.domain.endswith("nchwc") and operator.op_type not in MOVES else operator.op_type
        if self.covers[place]:
            return FusedOperator(op, self._sorted(self.covers[place]), False)
        return FusedOperator(op, self._moved(operator), True)

    def _moved(self, operator: Any) -> tuple[Node, ...]:
        known = self.values | {node.name: node for node in self.graph.inputs}
        for value in (*operator.output[:1], *operator.input[:1]):
            if value in known:
                return (known[value],)
        maker = self.makers.get(operator.input[0]) if operator.input else None
        return self._sorted(self.covers[maker])[-1:] if maker is not None else ()

    def _sorted(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        return tuple(sorted(nodes, key=self.graph.positions.__getitem__))


def _family(op: str) -> str:
    for prefix in PREFIXES:
        op = op.removeprefix(prefix)
    return SAME.get(op, op)


def _along(after: Callable[[Node], Node | None], node: Node | None) -> Iterator[Node]:
    while node is not None:
        yield node
        node = after(node)
