"""Rewrite rules: a pattern over operands, a guard in the replacement, and a worklist to a fixed point.

A sweep takes each node once, operands first, and tries the rules of its op on it; what a replacement makes goes
onto a worklist, operands first again, until no rule fits there. So a pattern always sees its operands in their
final form. Reader counts are kept up to date while nodes come and go; a count that fell may let a rule fit
where it was tried already, so sweeps repeat until one changes nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...ir.graph import Graph, Node, fresh_name, given_param
from ...ir.op import OpDef
from ...ir.ops.leaf import PARAM
from ...ir.types import Array, TensorType
from ...ir.verifier import infer_type
from ...ir.weights import Weights
from ..analysis.prices import Prices
from .ledger import Ledger

__all__ = ["ANY", "CONST", "Match", "Pat", "Rule", "rewrite"]

MOST_REWRITES = 50  # for each node; rules that undo each other would run for ever


@dataclass(frozen=True, slots=True)
class Pat:
    """A node of one of `kinds` (none: any) whose operands match `operands` (None: whatever they are).

    `bind` names it in the match; `uses` is the number of readers it must have; an `optional` operand may
    be absent at the end.
    """

    kinds: tuple[OpDef[Any], ...] = ()
    operands: tuple[Pat, ...] | None = None
    bind: str = ""
    uses: int | None = None
    optional: bool = False


def ANY(bind: str = "") -> Pat:
    return Pat(bind=bind)


def CONST(bind: str, *, optional: bool = False) -> Pat:
    """A parameter, whose values are known."""
    return Pat((PARAM,), bind=bind, optional=optional)


@dataclass(frozen=True, slots=True)
class Match:
    """What a pattern bound, and the makers of new nodes. Names of new nodes never collide.

    `covered` are the nodes that the pattern spelled out; a replacement that takes more adds them.
    """

    root: Node
    bound: dict[str, Node]
    is_output: bool
    taken: set[str]
    readers: Counter[Node]
    prices: Prices
    covered: list[Node] = field(default_factory=list[Node])
    reasons: list[str] = field(default_factory=list[str])

    def __getitem__(self, name: str) -> Node:
        return self.bound[name]

    def get(self, name: str) -> Node | None:
        return self.bound.get(name)

    def uses(self, node: Node) -> int:
        """The number of readers of any node, for patterns of no fixed length."""
        return self.readers[node]

    def decline(self, why: str) -> None:
        """For a replacement to return, where it is worth saying why not."""
        self.reasons.append(why)

    def node(self, suffix: str, kind: OpDef[Any], op: Any, inputs: tuple[Node, ...]) -> Node:
        """A node `root.suffix`, to stand between the replacement and its operands."""
        made = Node(fresh_name(f"{self.root.name}.{suffix}", self.taken), kind, op, inputs, None, self.root.origin)
        return made.like(type=infer_type(made))

    def param(self, suffix: str, type_: TensorType, compute: Callable[[], Array], most: float = math.inf) -> Node:
        """A parameter `root.suffix` whose values are computed when somebody looks, none larger than `most`."""
        name = fresh_name(f"{self.root.name}.{suffix}", self.taken)
        return given_param(name, Weights.derived(type_, name, compute, most), self.root.origin)


@dataclass(frozen=True, slots=True)
class Rule:
    """`replace` returns the node that computes the root's value, or None to decline."""

    name: str
    pattern: Pat
    replace: Callable[[Match], Node | None]


def rewrite(graph: Graph, rules: Sequence[Rule], ledger: Ledger) -> Graph:
    """Apply `rules` until none fits, or the ledger closes.

    Raises: RuntimeError if the rules undo each other for ever, which is a fault in the pass.
    """
    by_kind = _ByKind(rules)
    most = len(ledger.rewrites) + MOST_REWRITES * len(graph.nodes)
    while ledger.is_open:
        swept = _Sweep(graph, by_kind, ledger, most).run()
        if swept is graph:
            break
        graph = swept
    return graph


class _ByKind(dict[OpDef[Any], list[Rule]]):
    """The rules to try on an op, in order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        super().__init__()
        self.rules = rules

    def __missing__(self, kind: OpDef[Any]) -> list[Rule]:
        self[kind] = [rule for rule in self.rules if not rule.pattern.kinds or kind in rule.pattern.kinds]
        return self[kind]


class _Sweep:
    def __init__(self, graph: Graph, by_kind: _ByKind, ledger: Ledger, most: int) -> None:
        self.graph = graph
        self.by_kind = by_kind
        self.ledger = ledger
        self.most = most
        self.made: set[Node] = set()
        self.final: dict[Node, Node] = {}  # of the nodes made: what became of them
        self.taken = {node.name for node in graph.nodes}
        self.outputs = set(graph.outputs)
        self.uses: Counter[Node] = Counter()

    def run(self) -> Graph:
        return self.graph.rebuild(self.visit)

    def visit(self, node: Node, operands: tuple[Node, ...]) -> Node:
        current = node.reading(operands)
        self.uses[current] += self.graph.uses[node]
        return self.settle(current, node in self.outputs) if self.by_kind[current.kind] else current

    def settle(self, first: Node, is_output: bool) -> Node:
        """What `first` becomes once no rule fits it, nor any node made on the way."""
        worklist = [(first, first)]  # a node that was asked for, and what it is by now
        while worklist:
            asked, node = worklist[-1]
            if asked in self.final:
                worklist.pop()
                continue
            waiting = [operand for operand in node.inputs if operand in self.made and operand not in self.final]
            if waiting:
                worklist.extend((operand, operand) for operand in waiting)
                continue
            node = self.renewed(node)
            replacement = self.step(node, is_output and asked is first) if self.ledger.is_open else None
            if replacement is None:
                self.final[asked] = node
            else:
                worklist[-1] = (asked, replacement)
        return self.final[first]

    def renewed(self, node: Node) -> Node:
        """`node` on the final form of its operands."""
        current = node.reading(tuple(self.final.get(operand, operand) for operand in node.inputs))
        if current is not node:
            self.uses[current] = self.uses.pop(node)
        return current

    def step(self, node: Node, is_output: bool) -> Node | None:
        """The replacement by the first rule that fits, or None."""
        for rule in self.by_kind[node.kind]:
            match = Match(node, {}, is_output, self.taken, self.uses, self.ledger.prices)
            if not self.fits(rule.pattern, node, match, root=True):
                continue
            made = rule.replace(match)
            for why in match.reasons:
                self.ledger.decline(rule.name, node.name, why)
            if made is None or made is node:
                continue
            if why := _other_size(node, made):
                self.ledger.decline(rule.name, node.name, why)
                continue
            return self.accept(rule, match, made)
        return None

    def fits(self, pattern: Pat, node: Node, match: Match, *, root: bool = False) -> bool:
        if pattern.kinds and node.kind not in pattern.kinds:
            return False
        if pattern.uses is not None and not root and self.uses[node] != pattern.uses:
            return False
        if pattern.bind:
            if match.bound.get(pattern.bind, node) is not node:
                return False
            match.bound[pattern.bind] = node
        if pattern.operands is None:
            return True
        match.covered.append(node)
        absent = pattern.operands[len(node.inputs) :]
        if len(node.inputs) > len(pattern.operands) or not all(operand.optional for operand in absent):
            return False
        for operand_pattern, operand in zip(pattern.operands, node.inputs, strict=False):
            if not self.fits(operand_pattern, operand, match):
                return False
        return True

    def accept(self, rule: Rule, match: Match, made: Node) -> Node:
        """Give the replacement its name and provenance, and bring the reader counts up to date."""
        root = match.root
        if made not in self.uses:
            took = match.covered or [root]
            names = dict.fromkeys(name for node in took for name in (node.origin.made_from or (node.name,)))
            made = made.like(name=root.name, origin=replace(root.origin, made_from=tuple(names)))
            made = made if made.type is not None else made.like(type=infer_type(made))
        new = list(self.unknown(made))
        self.made.update(new)
        self.uses[made] += self.uses[root]
        for node in new:
            self.uses.update(node.inputs)
        gone = list(self.release(root))
        if len(self.ledger.rewrites) >= self.most:
            raise RuntimeError(f"rule {rule.name} does not come to rest at %{root.name}")
        self.ledger.record(rule.name, root.name, tuple(n.name for n in gone if n.inputs), tuple(n.name for n in new if n.inputs))
        return made

    def unknown(self, made: Node) -> Iterator[Node]:
        """The nodes that the replacement brought with it."""
        stack, seen = [made], set[Node]()
        while stack:
            node = stack.pop()
            if node in seen or node in self.uses:
                continue
            seen.add(node)
            yield node
            stack.extend(node.inputs)

    def release(self, root: Node) -> Iterator[Node]:
        """The nodes that nothing reads once the root is gone."""
        self.uses[root] = 0
        stack = [root]
        while stack:
            node = stack.pop()
            yield node
            for operand in node.inputs:
                self.uses[operand] -= 1
                if self.uses[operand] == 0:
                    stack.append(operand)


def _other_size(root: Node, made: Node) -> str:
    """Why a replacement cannot stand where its root does: a size that the rules of `dims` cannot tell to be the same, which
    readers would refuse. "" where it can. In numbers a difference is a fault in the pass, and no reason to decline.
    """
    if root.type is None or not root.type.symbols:
        return ""
    type_ = infer_type(made) if made.inputs else made.typed
    return "" if type_ == root.type else f"%{root.name} is {root.type}, and would be {type_}, which may be another size"
