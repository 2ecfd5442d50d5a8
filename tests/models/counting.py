"""Counts over a graph at batch 1, in the words of the published tables."""

from __future__ import annotations

from collections.abc import Iterator

from convc.compiler.files.checkpoint_names import FIXED
from convc.ir.dims import Dim, evaluate
from convc.ir.graph import Graph, Node

__all__ = ["activations", "learnable", "macs", "macs_of", "output", "params", "under", "weight_layers", "weights", "weights_of"]


def weights(graph: Graph, scope: str = "") -> int:
    """Elements of filters and matrices: what a table counts that leaves biases out."""
    return sum(_number(node.typed.numel) for node in under(graph, scope) if node.weights and node.typed.rank > 1)


def params(graph: Graph) -> int:
    """Elements of all parameters, statistics included."""
    return sum(_number(node.typed.numel) for node in graph.params)


def learnable(graph: Graph) -> int:
    """Elements of all parameters that training moves: not the mean and variance of a batch norm, nor numbers that the definition has."""
    moved = (node for node in graph.params if node.op.init not in FIXED and not node.name.endswith((".mean", ".var")))
    return sum(_number(node.typed.numel) for node in moved)


def macs(graph: Graph, scope: str = "") -> int:
    return sum(macs_of(node) for node in under(graph, scope))


def macs_of(node: Node) -> int:
    return _number(node.kind.cost(node.op, tuple(operand.typed for operand in node.inputs), node.typed).macs)


def weights_of(node: Node) -> int:
    """Elements of the filters or the matrix of one layer."""
    return sum(_number(operand.typed.numel) for operand in node.inputs if operand.weights and operand.typed.rank > 1)


def activations(graph: Graph) -> int:
    """Values that the course's VGG table counts: the input, and every conv, pool and fully connected result."""
    kinds = ("input", "conv2d", "max_pool", "dense")
    return sum(_number(node.typed.numel) for node in graph.nodes if node.kind.name in kinds)


def output(graph: Graph, name: str) -> str:
    """The result of one layer as the tables write it: `55x55x96`, or `4096`."""
    _, channels, *spatial = (_number(dim) for dim in graph.by_name[name].typed.shape)
    return "x".join(str(dim) for dim in (*spatial, channels))


def weight_layers(graph: Graph) -> list[Node]:
    """What "16 layers" counts: convolutions and fully connected layers, projections on shortcuts apart."""
    return [node for node in graph.ops if _is_weighted(node) and not node.origin.scope.endswith("shortcut")]


def _is_weighted(node: Node) -> bool:
    """A product of rows has its matrix turned."""
    turned = node.inputs[1].inputs if node.kind.name == "matmul" else ()
    return node.kind.name in ("conv2d", "dense") or any(matrix.weights for matrix in turned)


def under(graph: Graph, scope: str) -> Iterator[Node]:
    return (node for node in graph.nodes if not scope or node.origin.scope == scope or node.origin.scope.startswith(f"{scope}."))


def _number(dim: Dim) -> int:
    value = evaluate(dim, {"N": 1})
    assert isinstance(value, int), f"{dim} still has a named size"
    return value
