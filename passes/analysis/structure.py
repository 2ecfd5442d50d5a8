"""Questions about a graph that are graph algorithms: is it another one under other names, and what is its longest path?"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...ir.graph import Graph, Node
from ...ir.weights import Weights

__all__ = ["is_renamed", "longest_path"]

MOST_NODES = 2000  # beyond, isomorphism takes seconds


def is_renamed(a: Graph, b: Graph) -> bool:
    """Whether the graphs are the same up to the names and the order of their nodes; not looked into beyond MOST_NODES.

    Inputs and outputs keep their order, operands theirs; weights are the same if their values are, or
    where nobody gave any, their recipes but for the names in them.
    """
    if len(a.nodes) != len(b.nodes) or len(a.nodes) > MOST_NODES or _kinds(a) != _kinds(b):
        return False
    numbers: dict[object, int] = {}  # of what is computed: the same in both graphs
    labels = [_labels(graph, numbers) for graph in (a, b)]
    if Counter(labels[0].values()) != Counter(labels[1].values()):
        return False
    from networkx.algorithms.isomorphism import MultiDiGraphMatcher, categorical_multiedge_match, categorical_node_match

    drawn: list[Any] = []
    for graph, label in zip((a, b), labels, strict=True):
        network = graph.to_networkx()
        for node in graph.nodes:
            network.nodes[node]["label"] = label[node]
        drawn.append(network)
    same_operands = categorical_multiedge_match("operand", None)
    matcher: Any = MultiDiGraphMatcher(*drawn, node_match=categorical_node_match("label", None), edge_match=same_operands)
    return bool(matcher.is_isomorphic())


def longest_path(graph: Graph, seconds: Mapping[Node, float]) -> list[Node]:
    """The path from operand to reader whose nodes take the longest together; those that `seconds` does not name take none."""
    import networkx

    network = graph.to_networkx()
    # an edge takes what its reader takes; operands without operands of their own are inputs and parameters, which are there
    for _, reader, edge in network.edges(data=True):
        edge["seconds"] = seconds.get(reader, 0.0)
    return list(networkx.dag_longest_path(network, weight="seconds", default_weight=0))


def _kinds(graph: Graph) -> Counter[object]:
    return Counter((node.kind.name, node.type) for node in graph.nodes)


def _labels(graph: Graph, numbers: dict[object, int]) -> dict[Node, int]:
    """Of each node what it computes, from which operands, and its places among inputs and outputs: few nodes share all that."""
    inputs = {node: place for place, node in enumerate(graph.inputs)}
    outputs: dict[Node, tuple[int, ...]] = {}
    for place, node in enumerate(graph.outputs):
        outputs[node] = (*outputs.get(node, ()), place)
    labels: dict[Node, int] = {}
    for node in graph.nodes:
        operands = tuple(labels[operand] for operand in node.inputs)
        weights = _identity(node.weights) if node.weights is not None else None
        key = (node.kind.name, node.op, node.type, inputs.get(node), outputs.get(node), weights, operands)
        labels[node] = numbers.setdefault(key, len(numbers))
    return labels


def _identity(weights: Weights) -> object:
    """A digest of values that were given, else the recipe without its key, which is a name; nothing is drawn for this."""
    if weights.is_missing:
        return "missing"
    return hashlib.sha256(weights.array().tobytes()).digest() if weights.is_given else replace(weights.recipe, key="")
