"""Gradients of a loss: the walk backwards through a graph, by each op's own rule. Linnainmaa 1970; Griewank & Walther 2008, ch. 3.

    found = gradients(graph, graph.by_name["loss"], [graph.by_name["conv1.w"]])
    found.of[graph.by_name["conv1.w"]]      # the node that computes it, of its type
    Graph.of(graph.name, graph.inputs, [*graph.outputs, *found.of.values()], [*graph.nodes, *found.made])

The graph itself stays as it is: new nodes read its values. They stand in the order in which they were made, each parameter's as soon
as it can be computed. A node that adds to the gradient of %c is `c.back.<op>`, and has its line; its scope is `gradient.` and that of %c,
so that what goes back stands apart from what goes forward. Equal nodes are made once.
`passes/differentiate.py` is this as a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import InvalidModel, UnsupportedOp
from .graph import Graph, Node, Origin, fresh_name, given_param
from .op import OpDef
from .ops import OPS
from .ops.leaf import PARAM, Param
from .terms import EachOperand, GradientRule, NoGradient, Term
from .types import Array, TensorType
from .verifier import infer_type
from .weights import Recipe, Weights

__all__ = ["Gradients", "NodeMaker", "Rules", "gradients", "pulled_back"]

Rules = Mapping[OpDef[Any], GradientRule]  # of the first operand of these ops, in place of their own

MARKS = {"back": "gradient", "next": "update"}  # scopes around the layer's own, by what a node is made for


@dataclass(frozen=True, slots=True)
class Gradients:
    """`of` has the gradient of each node that was asked for and that the loss moves with; `made` are all new nodes, in order."""

    of: Mapping[Node, Node]
    made: tuple[Node, ...]


class NodeMaker:
    """Makes typed nodes whose names are not `taken`, equal ones once. `at` is the node on whose behalf: its name and its line go on.
    `way` says in names, and around scopes, what they are made for; `scope` is that of those made for no node.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self.made: list[Node] = []
        self.known: dict[object, Term] = {}
        self.at: Node | None = None
        self.asked: frozenset[Node] = frozenset()
        self.way = "back"
        self.scope = ""

    def make(self, name: str, operands: Sequence[Term], attributes: Mapping[str, Any]) -> Term:
        kind = OPS[name]
        op = kind.Attrs(**attributes)
        return self._once((kind, op, *(operand.value for operand in operands)), lambda: self._node(name, op, operands))

    def full(self, type_: TensorType, value: float) -> Term:
        return self._once((type_, value), lambda: self._number(type_, value))

    def table(self, type_: TensorType, compute: Callable[[], Array]) -> Term:
        name = self._name("table")
        return self._kept(given_param(name, Weights.derived(type_, name, compute), self.origin()))

    def is_asked(self, value: Node) -> bool:
        return value in self.asked

    def term(self, node: Node) -> Term:
        """A node as what formulas are written of."""
        return Term(node, node.typed, self)

    def _once(self, key: object, make: Callable[[], Term]) -> Term:
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    def _node(self, name: str, op: Any, operands: Sequence[Term]) -> Term:
        node = Node(self._name(name), OPS[name], op, tuple(operand.value for operand in operands), None, self.origin())
        return self._kept(node.like(type=infer_type(node)))

    def _number(self, type_: TensorType, value: float) -> Term:
        name, value = self._name("number"), float(value)  # a whole number would be printed, and read, as another
        weights = Weights(type_, Recipe("full", name, value=value))
        return self._kept(Node(name, PARAM, Param("full", value=value), (), type_, self.origin(), weights))

    def _kept(self, node: Node) -> Term:
        self.made.append(node)
        return self.term(node)

    def _name(self, suffix: str) -> str:
        return fresh_name(suffix if self.at is None else f"{self.at.name}.{self.way}.{suffix}", self.taken)

    def origin(self) -> Origin:
        """Of what is made now."""
        if self.at is None:
            return Origin(scope=self.scope)
        return replace(self.at.origin, scope=".".join(filter(None, (MARKS.get(self.way, ""), _layer(self.at)))), made_from=())


def _layer(node: Node) -> str:
    """Its scope; where it has none, the layer that its name begins with: `bn1` of %bn1.train.mul, `layer1.conv1` of %/layer1/conv1/Conv."""
    if node.origin.scope:
        return node.origin.scope
    slashed = [part for part in node.name.split("/")[:-1] if part] if node.name.startswith("/") else []
    return ".".join(slashed) or node.name.partition(".")[0]


def gradients(graph: Graph, loss: Node, of: Sequence[Node], maker: NodeMaker | None = None) -> Gradients:
    """What a small change of each node in `of` adds to the loss.

    Raises: InvalidModel for a loss that is not one floating number, or a node in `of` that holds none; UnsupportedOp for an op without a
    gradient on the way from `of` to the loss, with what to freeze so that the rest can be trained.
    """
    _need_loss(loss)
    for node in of:
        if not node.typed.is_float:
            raise InvalidModel(f"{node.where} is {node.type}, and only floating values have a gradient; leave it out")
    maker = NodeMaker(node.name for node in graph.nodes) if maker is None else maker
    if loss not in _moving(graph, set(of)):
        return Gradients({}, ())
    first = len(maker.made)
    maker.at = loss
    found = pulled_back(graph, loss, maker.full(loss.typed, 1.0), of, maker)
    return Gradients(found.of, tuple(maker.made[first:]))


def pulled_back(
    graph: Graph, value: Node, seed: Term, of: Sequence[Node], maker: NodeMaker, rules: Rules | None = None, way_out: str = ""
) -> Gradients:
    """What a small change of each node in `of` adds to a sum of `value` weighted by `seed`, of its type: the adjoint, applied to the seed.

    `rules` take the place of what ops say of their first operand: with them it is no gradient any more, but a deconvnet's pass, say.

    Raises: UnsupportedOp as `gradients`; where it is not about training, `way_out` says what to do instead.
    """

    def refusal(node: Node, why: str) -> UnsupportedOp:
        return UnsupportedOp(f"{node.where} has no gradient: {why}; {way_out or _what_to_freeze(node, value, of)}")

    wanted, first, rules = set(of), len(maker.made), rules or {}
    moving = _moving(graph, wanted)
    maker.asked = frozenset(wanted)
    parts: dict[Node, Term] = {}
    found: dict[Node, Node] = {}
    if value in moving:
        parts[value] = seed
    for node in reversed(graph.nodes):
        g = parts.pop(node, None)
        if g is None:
            continue
        if node in wanted:
            found[node] = g.value
        maker.at = node
        for place, operand in enumerate(node.inputs):
            if operand not in moving:
                continue
            rule = rules.get(node.kind) if place == 0 else None
            if rule is None and (rule := _rule(node, place, refusal)) is None:
                continue
            part = _applied(node, rule, place, g, maker)
            if isinstance(part, NoGradient):
                raise refusal(node, part.why)
            if part is None:
                continue
            parts[operand] = parts[operand] + part if operand in parts else part
    maker.at = None
    return Gradients({node: found[node] for node in of if node in found}, tuple(maker.made[first:]))


def _need_loss(loss: Node) -> None:
    if not loss.typed.is_float or loss.typed.numel != 1:
        raise InvalidModel(f"{loss.where} is {loss.type}, and a loss is one floating number; take the mean or the sum of it")


def _moving(graph: Graph, wanted: set[Node]) -> set[Node]:
    """The floating values that change with those wanted."""
    moving: set[Node] = set()
    for node in graph.nodes:
        if node in wanted or (node.typed.is_float and any(operand in moving for operand in node.inputs)):
            moving.add(node)
    return moving


def _rule(node: Node, place: int, refusal: Callable[[Node, str], UnsupportedOp]) -> GradientRule | EachOperand | None:
    """Of one operand; None where the result does not move with it.

    Raises: UnsupportedOp where the op has no gradient.
    """
    rules = node.kind.gradient
    if isinstance(rules, tuple):
        return rules[place]
    if isinstance(rules, EachOperand):
        return rules
    why = rules.why if isinstance(rules, NoGradient) else "its definition says nothing of one"
    raise refusal(node, why)


def _what_to_freeze(node: Node, loss: Node, of: Sequence[Node]) -> str:
    """Whether freezing what stands before the node helps: only if something else is left to train."""
    before, below = _reached(node), _reached(loss)
    of = [each for each in of if each in below]
    stuck = [each.name for each in of if each in before]
    names = ", ".join(f"%{name}" for name in stuck[:3]) + (f" and {len(stuck) - 3} more" if len(stuck) > 3 else "")
    if len(stuck) == len(of):
        return f"all that is to be trained ({names}) stands before it, so that freezing does not help; put another op in its place"
    return f"freeze what stands before it ({names}), and the other {len(of) - len(stuck)} can be trained"


def _reached(node: Node) -> set[Node]:
    """All that a node depends on."""
    seen: set[Node] = set()
    stack = [node]
    while stack:
        each = stack.pop()
        if each not in seen:
            seen.add(each)
            stack.extend(each.inputs)
    return seen


def _applied(node: Node, rule: GradientRule | EachOperand, place: int, g: Term, maker: NodeMaker) -> Term | NoGradient | None:
    """Raises: InvalidModel for sizes that a name leaves open and a rule must know; a fault in a rule is told as such."""
    y, operands = maker.term(node), tuple(map(maker.term, node.inputs))
    try:
        part = rule.rule(node.op, place, g, y, *operands) if isinstance(rule, EachOperand) else rule(node.op, g, y, *operands)
    except InvalidModel as error:
        if not any(term.type.symbols for term in (y, *operands)):
            raise
        raise InvalidModel(f"{node.where} has a gradient only for sizes in numbers: {error}") from error
    if isinstance(part, Term) and part.type != operands[place].type:
        raise TypeError(f"the gradient of {node.where} by operand {place} is {part.type}, and that operand {operands[place].type}")
    return part
