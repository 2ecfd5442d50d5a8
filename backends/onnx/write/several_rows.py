"""Rows of operators with more than one result: one ONNX node for all nodes that are results of the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops import attention, recurrent
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


def _attention(node: Node, to: OnnxEmitter) -> tuple[list[str], dict[str, Any]]:
    op = node.op
    given = dict(zip(op.given, node.inputs[3:], strict=True))
    names = [operand.name for operand in node.inputs[:3]] + [given[name].name if name in given else "" for name in attention.OPTIONAL]
    while not names[-1]:
        names.pop()
    attributes: dict[str, Any] = {"q_num_heads": op.q_heads, "kv_num_heads": op.kv_heads, "scale": op.scale, "softcap": op.softcap}
    attributes |= {"is_causal": int(op.causal), "qk_matmul_output_mode": op.scores}
    attributes |= {
        name: value + 1 for name, value in (("left_window_size", op.left), ("right_window_size", op.right))
    }  # of -1, the default, 0
    said = {name: value for name, value in attributes.items() if value}
    return names, {name: value - 1 if name.endswith("window_size") else value for name, value in said.items()}


def _attention_row(node: Node, to: OnnxEmitter) -> None:
    """Keys and values come out together, and always where there were some before."""
    kept = "past_key" in node.op.given or any(
        _is_alike(other, node) and other.op.result in (1, 2) for other in to.graph.readers[node.inputs[0]]
    )
    several("Attention", _attention, "y", *(("keys", "values") if kept else ()))(node, to)


def _rotary(node: Node, to: OnnxEmitter) -> None:
    op = node.op
    numbers = {"num_heads": op.heads, "interleaved": int(op.interleaved), "rotary_embedding_dim": op.dim}
    said: dict[str, Any] = {name: value for name, value in numbers.items() if value}
    to.node("RotaryEmbedding", node, None, (), **said)


SEVERAL: dict[OpDef[Any], OnnxRow] = {
    attention.ATTENTION: _attention_row,
    attention.ROTARY_EMBEDDING: _rotary,
    recurrent.RNN: several("RNN", _recurrent),
    recurrent.GRU: several("GRU", _recurrent),
    recurrent.LSTM: several("LSTM", _recurrent),
}
