"""What training begins with: drawn weights by the papers' rules, biases 0, norms the identity; values that a file gave stay as they are."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.errors import UsageError
from ...ir.graph import Graph, Node, given
from ...ir.ops.activation_variants import PRELU
from ...ir.ops.group import GROUP_NORM, INSTANCE_NORM, LAYER_NORM
from ...ir.ops.leaf import PARAM
from ...ir.ops.norm import BATCH_NORM
from ...ir.suggest import did_you_mean
from ...ir.types import DTYPES, Array
from ...ir.weights import FANS, FILLED, GIVEN, Recipe, Weights

__all__ = ["begun", "holding", "initial_values"]

NORMS = (BATCH_NORM, GROUP_NORM, INSTANCE_NORM, LAYER_NORM)
SLOPE = 0.25  # of a PReLU at first: He et al. 2015, sec. 2.2


def initial_values(graph: Graph, init: str | None = None, seed: int = 0) -> dict[str, Array]:
    """The floating parameters by name. `init` is how weights of rank two and more are drawn, by default as the network says.

    Raises: UsageError for an unknown `init`.
    """
    if init is not None and init not in FANS:
        raise UsageError(f"unknown initialization '{init}'" + did_you_mean(init, FANS))
    one_number = {operand: number for node in graph.nodes for operand, number in _one_number(node)}
    return {node.name: _value(node, one_number.get(node), init, seed) for node in graph.params if node.typed.is_float}


def begun(graph: Graph, init: str | None = None, seed: int = 0) -> Graph:
    """The network with the values that training begins with in place of the recipes that draw them: what stays frozen computes with the
    values that are written. Raises: as `initial_values`."""
    start = initial_values(graph, init, seed)
    drawn = {node.name for node in graph.params if node.weights is not None and node.weights.recipe.init not in (*FILLED, *GIVEN)}
    return holding(graph, {name: value for name, value in start.items() if name in drawn})


def holding(graph: Graph, values: Mapping[str, Array]) -> Graph:
    """The network with these values in its parameters of their names."""

    def held(node: Node, operands: tuple[Node, ...]) -> Node:
        if node.kind is not PARAM or node.name not in values:
            return node.reading(operands)
        return node.like(op=given(node.op), weights=Weights.of(values[node.name], node.name))

    return graph.rebuild(held)


def _one_number(node: Node) -> list[tuple[Node, float]]:
    """Operands that are one number all over at first, whatever their rank: of a norm its scale and a variance 1, the others 0.

    The last gain of a residual branch is 0 too: Goyal et al. 2017, sec. 5.1.
    """
    if node.kind in NORMS:
        scale = float(not any(each.weights is not None and each.weights.recipe.init == "tenth" for each in node.inputs[1:2]))
        return list(zip(node.inputs[1:], (scale, 0.0, 0.0, 1.0), strict=False))
    return [(node.inputs[1], SLOPE)] if node.kind is PRELU else []


def _value(node: Node, number: float | None, init: str | None, seed: int) -> Array:
    import numpy as np

    assert node.weights is not None
    recipe = node.weights.recipe
    if node.weights.is_given or recipe.init in FILLED:
        return node.weights.array()
    if number is None and not node.typed.rank:  # a lone factor that began at 0 would hide all behind it
        return np.asarray(Recipe(recipe.init, recipe.key, seed, recipe.value).make(node.typed))
    if number is None and node.typed.rank > 1:
        return Recipe(init or recipe.init, recipe.key, seed, recipe.value).make(node.typed)
    return np.full(node.typed.concrete(), number or 0.0, DTYPES[node.typed.dtype])
