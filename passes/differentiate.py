"""differentiate: a network that returns a loss also returns the loss's gradients, computed by ops as any other value.

The loss is the output of that name, or the only output that is one floating number. Each floating parameter that it depends on, and
not in steps alone, gets an output `<name>.gradient`; single numbers that a formula has (`full`) and what is
`constant` are no parameters to train. From Python
`with_gradients` takes the loss and any parameters or inputs by name. Later passes improve forward and backward alike.

Source: Griewank & Walther 2008, ch. 3, the reverse mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.errors import InvalidModel, UsageError
from ..ir.gradient import gradients
from ..ir.graph import Graph, Node
from ..ir.ops.elementwise import IDENTITY, Identity
from ..ir.ops.leaf import PARAM
from ..ir.suggest import did_you_mean
from .rewriting.ledger import Ledger

__all__ = ["differentiate", "gradient_name", "with_gradients"]

RULE = "gradient"
LOSS = "loss"


def gradient_name(name: str) -> str:
    """What the gradient of a value is called."""
    return f"{name}.gradient"


def differentiate(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %y = mul(%x, %w); %loss = reduce_sum(%y); return %loss

    After: %y = mul(%x, %w); %loss = reduce_sum(%y); %w.gradient = expand(...); return %loss, %w.gradient

    Raises: InvalidModel for a graph without a loss; UnsupportedOp for an op without a gradient between a parameter and the loss.
    """
    loss = _loss(graph)
    trained = _moving(graph, loss, [node for node in _trained(graph, loss) if gradient_name(node.name) not in graph.by_name], ledger)
    kept = trained if ledger.limit is None else trained[: ledger.limit - len(ledger.rewrites)]
    if not kept or not ledger.is_open:
        return graph
    after = _extended(graph, loss, kept)
    for node in kept:
        ledger.record(RULE, node.name, (), (gradient_name(node.name),))
    return after


def with_gradients(graph: Graph, loss: str, of: Sequence[str]) -> Graph:
    """The graph, returning also `<name>.gradient` of each value in `of`: what a small change of it adds to the value `loss`.

    Raises: UsageError for a name that is no value of the graph, or one twice; InvalidModel for a loss that is not one floating number, a
    value that it does not depend on with a slope, or sizes that must be numbers; UnsupportedOp for an op without a gradient on the way.
    """
    if twice := next((name for place, name in enumerate(of) if name in of[:place]), None):
        raise UsageError(f"the gradient of %{twice} is asked for twice; once is enough")
    wanted = [_named(graph, name) for name in of]
    if there := next((name for name in map(gradient_name, of) if name in graph.by_name), None):
        raise UsageError(f"@{graph.name} has a value %{there} already; ask for others, or rename it")
    return _extended(graph, _named(graph, loss), wanted)


def _named(graph: Graph, name: str) -> Node:
    if name not in graph.by_name:
        raise UsageError(f"@{graph.name} has no value %{name}" + did_you_mean(name, graph.by_name))
    return graph.by_name[name]


def _loss(graph: Graph) -> Node:
    """Raises: InvalidModel unless one output is it."""
    single = [node for node in graph.outputs if node.typed.is_float and node.typed.numel == 1 and not node.name.endswith(gradient_name(""))]
    named = [node for node in single if node.name == LOSS] or single
    if len(named) != 1:
        found = "none of its outputs is one floating number" if not named else f"%{named[0].name} and %{named[1].name} both could be it"
        raise InvalidModel(f"@{graph.name} has no loss to differentiate: {found}; return one mean or sum, and call it %{LOSS}")
    return named[0]


def _trained(graph: Graph, loss: Node) -> Iterable[Node]:
    """The floating parameters that the loss depends on."""
    below = set(Graph.of(graph.name, (), (loss,)).nodes)
    return (node for node in graph.params if node in below and node.typed.is_float and not _is_number(node) and not _is_constant(node))


def _moving(graph: Graph, loss: Node, of: Sequence[Node], ledger: Ledger) -> list[Node]:
    """Those with a slope; what moves the loss in steps alone is declined."""
    found = gradients(graph, loss, of).of
    for node in of:
        if node not in found:
            ledger.decline(RULE, node.name, f"%{loss.name} does not change with it, or only in steps")
    return [node for node in of if node in found]


def _is_number(node: Node) -> bool:
    return node.weights is not None and node.weights.recipe.init == "full" and node.typed.numel == 1


def _is_constant(node: Node) -> bool:
    return PARAM.of(node).init == "constant"


def _extended(graph: Graph, loss: Node, of: Sequence[Node]) -> Graph:
    found = gradients(graph, loss, of)
    if still := next((node for node in of if node not in found.of), None):
        raise InvalidModel(f"%{loss.name} does not change with {still.where}, or only in steps; leave it out")
    names: dict[Node, str] = {}
    extra: list[Node] = []  # of a value that is two gradients, or was there before, under a name of its own
    results: list[Node] = []
    there = set(graph.nodes)
    for node in of:
        result, name = found.of[node], gradient_name(node.name)
        if result in names or result in there or not result.inputs:
            result = Node(name, IDENTITY, Identity(), (result,), result.type, result.origin)
            extra.append(result)
        names[result] = name
        results.append(result)
    whole = Graph.of(graph.name, graph.inputs, [*graph.outputs, *results], [*graph.nodes, *found.made, *extra])
    return whole.renamed(names)
