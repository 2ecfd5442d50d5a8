"""Opaque nodes back to ONNX: one node for each call, which names the results that are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ....ir.errors import UnsupportedOp
from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops.opaque import OPAQUE, OPAQUE_RESULT
from ..file.opaque import imported, inner_graphs, inner_names, node_of
from .onnx_emitter import OnnxEmitter, OnnxRow

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["OPAQUE_ROWS"]


def _opaque(node: Node, to: OnnxEmitter) -> None:
    op = OPAQUE.of(node)
    outputs = [node.name]
    if op.results > 1:
        outputs = [""] * op.results
        for result in to.graph.readers[node]:
            if result.kind is OPAQUE_RESULT and result.op.index < op.results:
                outputs[result.op.index] = outputs[result.op.index] or result.name
        while not outputs[-1]:
            outputs.pop()
    inputs = [operand.name for operand in node.inputs]
    made = node_of(op, inputs, outputs)
    _check_versions(node, made, to)
    if clashing := to.reserve(inner_names(made)):
        made = node_of(op, inputs, outputs, clashing)
    _unname(made, to)
    to.keep(node, made)


def _unname(made: NodeProto, to: OnnxEmitter) -> None:
    """Nodes inside lose a name that one around them may have now: each is there once."""
    for graph in inner_graphs(made):
        for inner in graph.node:
            if inner.name in to.graph.by_name:
                inner.name = ""
            _unname(inner, to)


def _result(node: Node, to: OnnxEmitter) -> None:
    """The call has named it, unless another node takes the same result: then that is the same value under another name."""
    twins = (other for other in to.graph.readers[node.inputs[0]] if other.kind is OPAQUE_RESULT and other.op.index == node.op.index)
    first = next(twins)
    if first is not node:
        to.node("Identity", node, [first.name])


def _check_versions(node: Node, made: NodeProto, to: OnnxEmitter) -> None:
    """Raises: UnsupportedOp where an operator, or one in a subgraph, means something else in the opset that is written."""
    domains = {node.op.domain: node.op.version, **imported(node.op)}
    for domain, version in domains.items():
        if domain:
            to.domains[domain] = version
    own = domains.get("", to.opset)
    changed = _changed(made, own, to.opset) if own != to.opset else None
    if changed is not None:
        raise UnsupportedOp(f"{node.where} is of opset {own}, and {changed} is another operator in opset {to.opset}; export at opset {own}")


def _changed(node: NodeProto, before: int, after: int) -> str | None:
    """The first of ONNX's own operators, here or inside, of which the two opsets have different versions."""
    from onnx import defs

    if not node.domain:
        schemas: Mapping[int, Any] = {v: defs.get_schema(node.op_type, v) if defs.has(node.op_type, v) else None for v in (before, after)}
        if len({getattr(schema, "since_version", None) for schema in schemas.values()}) > 1:
            return node.op_type
    inner = (_changed(each, before, after) for graph in inner_graphs(node) for each in graph.node)
    return next((name for name in inner if name is not None), None)


OPAQUE_ROWS: dict[OpDef[Any], OnnxRow] = {OPAQUE: _opaque, OPAQUE_RESULT: _result}
