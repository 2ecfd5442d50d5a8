"""What a network may lose by computing in floats of 16 bits: the oracle of the one that it was made from, with the noise of what it is.

The values are those of the network as it was given, in float64. How far from them rounding may lead is found in the rewritten one, whose
nodes round in their own types, and its weights too: each was rounded once, as if at random.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...backends import reference
from ...ir.graph import Graph, Node
from ...ir.ops.elementwise import CAST, Cast
from ...ir.ops.leaf import PARAM, Param
from ...ir.types import HALVES, Array, TensorType
from ...ir.weights import Weights
from .noise import Rounding, noise_level
from .oracle import Oracle
from .units import SIGMAS, UNIT

__all__ = ["in_range", "loss_of", "narrower_type", "oracle_of_rewrite"]

OF_WEIGHTS = 20 / 14  # rounded once for all images, they are off by up to 5.0 deviations in the zoo (vgg11), where values are by 2.9
BEYOND = 65520.0  # from here on float16 rounds to an infinity


def narrower_type(graph: Graph, other: Graph) -> str | None:
    """The type of 16 bits in which `other` computes what `graph` computes in a wider one, or has where `graph` has none of it."""
    before = {node.typed.dtype for node in graph.nodes}
    for node in other.nodes:
        dtype, was = node.typed.dtype, graph.by_name.get(node.name)
        if dtype in HALVES and (dtype not in before or (was is not None and was.typed.dtype in ("f32", "f64"))):
            return dtype
    return None


def oracle_of_rewrite(graph: Graph, other: Graph, inputs: Mapping[str, Array], precision: str, seed: int = 0) -> Oracle:
    """What `other` is held to, which was made from `graph` or `graph` from it: rounding in `precision`, or what the narrower may lose."""
    if narrower_type(graph, other) is not None:
        return loss_of(graph, other, inputs, seed)
    return loss_of(graph, graph, inputs, seed) if narrower_type(other, graph) is not None else Oracle.of(graph, inputs, precision, seed)


def loss_of(graph: Graph, narrow: Graph, inputs: Mapping[str, Array], seed: int = 0) -> Oracle:
    """What `narrow` is held to, which was made from `graph`: what its types and weights of 16 bits may lose."""
    exact = reference.run(graph, inputs, "f64")
    rounded = _with_weights_rounded(narrow)
    noise = noise_level(rounded, inputs, reference.run(rounded, inputs, "f64"), Rounding(UNIT["f32"], seed))
    floats = {node.name: UNIT.get(node.typed.dtype, 0.0) for node in graph.outputs}
    known = {name: value for name, value in exact.items() if value.dtype != object}
    return Oracle(
        known, {name: OF_WEIGHTS * SIGMAS * noise[name] + floats[name] * abs(np.asarray(known[name], np.float64)) for name in known}
    )


def in_range(graph: Graph, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], str]:
    """Float64 outputs, where what float16 has no number for is an infinity; and the first node that makes one, in words, or ""."""
    found: list[str] = []

    def limited(node: Node, operands: list[Array], value: Array) -> Array | None:
        if node.typed.dtype != "f16":
            return None
        far = np.isfinite(value) & (abs(value) >= BEYOND)
        if not far.any():
            return None
        found.append(f"{node.where} reaches {abs(value[far]).max():.6g}, and float16 ends at 65504")
        return np.where(far, np.copysign(np.inf, value), value)

    outputs = reference.run(graph, inputs, "f64", limited)
    return outputs, found[0] if found else ""


def _with_weights_rounded(graph: Graph) -> Graph:
    """Narrow weights as casts of themselves, which then are disturbed as other roundings are: alike wherever they are read."""
    casts: dict[Node, Node] = {}
    for node in graph.params:
        if node.typed.dtype in HALVES and node.weights is not None:
            wide = TensorType("f32", node.typed.shape)
            weights = Weights.derived(wide, node.name, node.weights.wide)
            param = Node(f"{node.name} wide", PARAM, Param("given"), (), wide, node.origin, weights)
            casts[node] = node.like(kind=CAST, op=Cast(node.typed.dtype), inputs=(param,), weights=None)
    if not casts:
        return graph
    made = graph.rebuild(lambda node, operands: casts[node] if node in casts else node.reading(operands))
    return Graph.of(made.name, made.inputs, made.outputs, (node for node in made.nodes if node not in casts.values()))
