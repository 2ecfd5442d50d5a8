"""Rows of operators with more than one result: one ONNX node for all nodes that are results of the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops import recurrent
from .onnx_emitter import OnnxEmitter, OnnxRow

__all__ = ["SEVERAL", "several"]

Words = Callable[[Node, OnnxEmitter], tuple[list[str], dict[str, Any]]]


def several(op_type: str, words: Words, *needed: str) -> OnnxRow:
    """`words` gives operands and attributes; the first results are `needed` by ONNX, and get a name where nobody wants them."""

    def row(node: Node, to: OnnxEmitter) -> None:
        alike = [reader for reader in to.graph.readers[node.inputs[0]] if _is_alike(reader, node)]
        made: dict[int, Node] = {}
        for one in alike:
            made.setdefault(one.op.result, one)
        if made[node.op.result] is not node:  # a second one of its kind
            made = {node.op.result: node}
        elif any(to.graph.positions[other] < to.graph.positions[node] for other in made.values()):
            return  # written with the other
        count = max(len(needed), max(made) + 1)
        unwanted = [to.free_name(node, needed[i]) if i < len(needed) and i not in made else "" for i in range(count)]
        outputs = [made[i].name if i in made else unwanted[i] for i in range(count)]
        inputs, attributes = words(node, to)
        to.node(op_type, node, inputs, outputs, **attributes)

    return row


def _is_alike(reader: Node, node: Node) -> bool:
    return reader.kind is node.kind and reader.inputs == node.inputs and replace(reader.op, result=0) == replace(node.op, result=0)


def _recurrent(node: Node, to: OnnxEmitter) -> tuple[list[str], dict[str, Any]]:
    """A place that nobody fills has an empty name."""
    op = node.op
    given = recurrent.given_operands(op, node.inputs[3:])
    order = ("bias", "lengths", "start", "cell", "peepholes")
    names = [operand.name for operand in node.inputs[:3]] + [given[name].name if name in given else "" for name in order]
    while not names[-1]:
        names.pop()
    attributes: dict[str, Any] = {"hidden_size": op.hidden, "direction": op.direction}
    attributes |= {"activations": op.activations} if op.activations else {}
    attributes |= {"clip": op.clip} if op.clip else {}
    attributes |= {"layout": op.layout} if op.layout else {}
    attributes |= {"linear_before_reset": 1} if getattr(op, "linear_before_reset", False) else {}
    return names, attributes | ({"input_forget": 1} if getattr(op, "input_forget", False) else {})


SEVERAL: dict[OpDef[Any], OnnxRow] = {
    recurrent.RNN: several("RNN", _recurrent),
    recurrent.GRU: several("GRU", _recurrent),
    recurrent.LSTM: several("LSTM", _recurrent),
}
