"""Numbers for named sizes, and arrays for inputs: what stands between a graph and a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .dims import Dim, evaluate
from .errors import InvalidInput
from .graph import Graph, Node
from .ops.shape import Reshape
from .types import DTYPES, Array, TensorType

__all__ = ["match_inputs", "sizes_of", "specialize"]


def specialize(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """The graph with the named sizes in `sizes` replaced in types and attributes."""
    if not sizes or not graph.symbols:
        return graph

    def bound(node: Node, operands: tuple[Node, ...]) -> Node:
        type_ = node.type.with_sizes(sizes) if node.type else None
        return node.like(inputs=operands, type=type_, op=_bound_op(node.op, sizes))

    return graph.rebuild(lambda node, operands: node if node.weights is not None else bound(node, operands))


def _bound_op(op: Any, sizes: Mapping[str, int]) -> Any:
    return Reshape(tuple(evaluate(dim, sizes) for dim in op.shape)) if isinstance(op, Reshape) else op


def match_inputs(graph: Graph, arrays: Mapping[str, Array]) -> dict[str, int]:
    """The value of every named size, from the arrays given for the graph's inputs.

    Raises: InvalidInput for a missing or unknown name, an element type or shape that does not fit.
    """
    known = {node.name for node in graph.inputs}
    for name in arrays:
        if name not in known:
            raise InvalidInput(f"no input is named '{name}'; the network has {', '.join(sorted(known))}")
    for node in graph.inputs:
        if node.name not in arrays:
            raise InvalidInput(f"input '{node.name}' ({node.type}) is missing")
        have = arrays[node.name]
        if have.dtype != DTYPES[node.typed.dtype]:
            raise InvalidInput(f"input '{node.name}' is {have.dtype}, expected {node.typed.dtype}")
    return sizes_of({node.name: node.typed for node in graph.inputs}, {name: a.shape for name, a in arrays.items()})


def sizes_of(types: Mapping[str, TensorType], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Solve for the named sizes, each of which some dimension names alone.

    Raises: InvalidInput for a shape that does not fit, naming the input and both shapes.
    """
    sizes: dict[str, int] = {}
    for name, type_ in types.items():
        if len(shapes[name]) != type_.rank:
            raise InvalidInput(f"input '{name}' has shape {list(shapes[name])}, expected {type_}")
        for dim, size in zip(type_.shape, shapes[name], strict=True):
            if (alone := _alone(dim)) is not None:
                sizes.setdefault(alone, size)
    for name, type_ in types.items():
        wanted = type_.with_sizes(sizes)
        if wanted.shape != shapes[name] or min(shapes[name], default=1) < 1:
            detail = f" with {', '.join(f'{k}={v}' for k, v in sizes.items())}" if type_.symbols else ""
            raise InvalidInput(f"input '{name}' has shape {list(shapes[name])}, expected {type_}{detail}")
    return sizes


def _alone(dim: Dim) -> str | None:
    """The name, where a dimension is one."""
    if isinstance(dim, int) or len(dim.terms) != 1:
        return None
    (monomial, coefficient), *_ = dim.terms
    return monomial[0] if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], str) else None
