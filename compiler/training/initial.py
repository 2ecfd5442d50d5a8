"""What training begins with: drawn weights by the papers' rules, biases 0, norms the identity; values that a file gave stay as they are."""

from __future__ import annotations

from ...ir.errors import UsageError
from ...ir.graph import Graph, Node
from ...ir.ops.group import GROUP_NORM, INSTANCE_NORM, LAYER_NORM
from ...ir.ops.norm import BATCH_NORM
from ...ir.suggest import did_you_mean
from ...ir.types import DTYPES, Array
from ...ir.weights import FANS, Recipe

__all__ = ["initial_values"]

NORMS = (BATCH_NORM, GROUP_NORM, INSTANCE_NORM, LAYER_NORM)


def initial_values(graph: Graph, init: str | None = None, seed: int = 0) -> dict[str, Array]:
    """The floating parameters by name. `init` is how weights of rank two and more are drawn, by default as the network says.

    Raises: UsageError for an unknown `init`.
    """
    if init is not None and init not in FANS:
        raise UsageError(f"unknown initialization '{init}'" + did_you_mean(init, FANS))
    ones = {node.inputs[place] for node in graph.nodes if node.kind in NORMS for place in _ones(node)}
    return {node.name: _value(node, node in ones, init, seed) for node in graph.params if node.typed.is_float}


def _ones(node: Node) -> tuple[int, ...]:
    """The operands of a norm that are 1 at first: its scale, and a variance."""
    return (1, 4) if node.kind is BATCH_NORM else (1,) if len(node.inputs) > 1 else ()


def _value(node: Node, is_one: bool, init: str | None, seed: int) -> Array:
    import numpy as np

    assert node.weights is not None
    recipe = node.weights.recipe
    if node.weights.is_given or recipe.init in ("full", "ones", "zeros"):
        return node.weights.array()
    if node.typed.rank > 1:
        return Recipe(init or recipe.init, recipe.key, seed, recipe.value).make(node.typed)
    is_one = is_one and recipe.init != "tenth"  # the last gain of a residual branch is 0 at first: Goyal et al. 2017, sec. 5.1
    return np.full(node.typed.concrete(), float(is_one), DTYPES[node.typed.dtype])
