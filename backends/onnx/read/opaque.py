"""Operators that convc has no op for, as opaque nodes: what they are is kept, what they compute another runtime knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ....ir.graph import Node, Origin, fresh_name
from ....ir.ops.opaque import OPAQUE, OPAQUE_RESULT, Opaque, OpaqueResult
from ....ir.types import TensorType
from ..file.opaque import attribute_text, captured_names, inner_graphs
from ..file.reading import Model

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, NodeProto

__all__ = ["opaque_nodes"]


def opaque_nodes(
    node: NodeProto,
    values: Mapping[str, Node],
    wanted: Sequence[str],
    type_of: Callable[[str], TensorType],
    model: Model,
    origin: Origin,
    taken: set[str],
) -> dict[str, Node]:
    """The nodes of an operator's results by their names; `wanted` has "" for those that nobody reads.

    One node where that is the first, else one for all of them and one for each.
    """
    names = list(node.input)
    while names and not names[-1]:
        names.pop()
    captured = tuple(dict.fromkeys(captured_names(node)))
    operands = tuple(values[name] for name in (*filter(None, names), *captured))
    op = Opaque(
        node.op_type,
        model.opset.get(_domain(node), 1),
        _domain(node),
        tuple(attribute_text(_whole(attribute, model)) for attribute in node.attribute),
        tuple(f"{domain} {model.opset.get(domain, 1)}" for domain in sorted(set(_inner_domains(node)) - {_domain(node)})),
        tuple(place for place, name in enumerate(names) if not name),
        captured,
    )
    read = [place for place, name in enumerate(wanted) if name]
    if read == [0] or not read:
        type_ = type_of(node.output[0])
        op = op.typed(type_)
        return {node.output[0]: Node(node.output[0], OPAQUE, op, operands, type_, origin)}
    op = replace(op, results=read[-1] + 1)
    call = Node(fresh_name(f"{wanted[read[0]]}.call", taken), OPAQUE, op, operands, TensorType("opaque", ()), origin)
    results: dict[str, Node] = {}
    for place in read:
        name, type_ = wanted[place], type_of(wanted[place])
        result = OpaqueResult(place).typed(type_)
        results[name] = Node(name, OPAQUE_RESULT, result, (call,), type_, origin)
    return results


def _domain(node: NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def _inner_domains(node: NodeProto) -> Iterator[str]:
    for graph in inner_graphs(node):
        for inner in graph.node:
            yield _domain(inner)
            yield from _inner_domains(inner)


def _whole(attribute: AttributeProto, model: Model) -> AttributeProto:
    """The attribute with the tensors that lie in other files."""
    graphs = [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
    tensors = [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
    if not any(tensor.external_data for tensor in tensors) and not any(map(_is_elsewhere, graphs)):
        return attribute
    copy = type(attribute).FromString(attribute.SerializeToString())
    for tensor in [*([copy.t] if copy.HasField("t") else []), *copy.tensors]:
        model.fetch(tensor)
    for graph in [*([copy.g] if copy.HasField("g") else []), *copy.graphs]:
        _fetch(graph, model)
    return copy


def _is_elsewhere(graph: GraphProto) -> bool:
    """Whether tensors of it lie in other files."""
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    tensors = [*graph.initializer, *(attribute.t for attribute in attributes if attribute.HasField("t"))]
    inner = (inner for node in graph.node for inner in inner_graphs(node))
    return any(tensor.external_data for tensor in tensors) or any(map(_is_elsewhere, inner))


def _fetch(graph: GraphProto, model: Model) -> None:
    for tensor in graph.initializer:
        model.fetch(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                model.fetch(attribute.t)
        for inner in inner_graphs(node):
            _fetch(inner, model)
