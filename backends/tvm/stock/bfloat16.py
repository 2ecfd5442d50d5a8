"""bfloat16 in TVM: a type of storage. What is computed with it is computed in float32 and rounded once, the same for every row.

So no row knows of it. TVM's own legalization does the same in places, but its cast makes an infinity or a zero of some NaN (0.27).
"""

from __future__ import annotations

from typing import Any

from ....ir.graph import Node
from ....ir.types import TensorType
from .relax_emitter import Lowering, RelaxEmitter

__all__ = ["in_float32", "reads_or_makes"]

NAME = "bf16"
LOWER = 0x7FFF  # half of the last place, less the least of what is dropped
INFINITE, NAN = 0x7F800000, 0x7FC0  # of float32, of bfloat16


def reads_or_makes(node: Node) -> bool:
    """Whether the node computes with bfloat16: not an input or parameter, which only holds it."""
    return bool(node.inputs) and NAME in (node.typed.dtype, *(operand.typed.dtype for operand in node.inputs))


def in_float32(emitter: RelaxEmitter, node: Node, row: Lowering, operands: list[Any]) -> Any:
    """The node's value by the row of its kind, which is shown a node of float32."""
    pairs = list(zip(node.inputs, operands, strict=True))
    values = [
        emitter.builder.emit(emitter.ops.astype(x, "float32"), f"{node.name}.wide") if _is_ours(operand) else x for operand, x in pairs
    ]
    wide = node.like(inputs=tuple(map(_wide, node.inputs)), type=_wide(node).type)
    made = row(emitter, wide, *values)
    return _rounded(emitter, node, emitter.builder.emit(made, f"{node.name}.wide")) if _is_ours(node) else made


def _is_ours(node: Node) -> bool:
    return node.typed.dtype == NAME


def _wide(node: Node) -> Node:
    return node.like(type=TensorType("f32", node.typed.shape)) if _is_ours(node) else node


def _rounded(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """To nearest, of two as near to the even one, which an addition to the bits does; that of a NaN could carry into its sign."""
    te, tirx = emitter.te, emitter.tirx

    def rounded(x: Any, shape: Any) -> Any:
        def word(value: int) -> Any:
            return tirx.const(value, "uint32")

        def element(*at: Any) -> Any:
            bits = tirx.reinterpret("uint32", x[at])
            near = (bits + word(LOWER) + ((bits >> word(16)) & word(1))) >> word(16)
            is_nan = (bits & word(0x7FFFFFFF)) > word(INFINITE)
            return tirx.reinterpret("bfloat16", tirx.Select(is_nan, word(NAN), near).astype("uint16"))

        return te.compute(shape, element, "bfloat16")

    return emitter.compute(node, rounded, x)
