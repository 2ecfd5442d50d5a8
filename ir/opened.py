"""Quantized products written out: dequantize, multiply, quantize, in place of one op that means all three.

For whoever must see between them: engines without integer kernels, and checks that ask how far a value lies from the next step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .graph import Graph, Node, fresh_name
from .op import OpDef
from .ops.conv import CONVS, Conv
from .ops.elementwise import MUL, Mul
from .ops.leaf import PARAM, Param
from .ops.linear import MATMUL, MatMul
from .ops.qlinear import BY_COLUMN, BY_FILTER, BY_ROW, QLINEAR_CONVS, QLINEAR_MATMUL
from .ops.quantize import DEQUANTIZE_LINEAR, QUANTIZE_LINEAR, QuantizeLinear
from .types import TensorType
from .verifier import infer_type
from .weights import Recipe, Weights

__all__ = ["OPENED", "opened", "opened_graph"]


def opened(node: Node, taken: set[str] | None = None) -> list[Node]:
    """The nodes that compute what a typed `node` of OPENED does, in order; the last has its name. New names are added to `taken`."""
    return OPENED[node.kind](_Parts(node, {node.name} if taken is None else taken))


def opened_graph(graph: Graph) -> Graph:
    """The graph without such nodes; itself where there are none."""
    taken = {node.name for node in graph.nodes}

    def visit(node: Node, operands: tuple[Node, ...]) -> Node:
        reading = node.reading(operands)
        return opened(reading, taken)[-1] if node.kind in OPENED else reading

    return graph.rebuild(visit)


class _Parts:
    """The nodes made so far for one."""

    def __init__(self, node: Node, taken: set[str]) -> None:
        self.node, self.taken = node, taken
        self.made: list[Node] = []

    def add(self, what: str, kind: OpDef[Any], op: Any, *operands: Node) -> Node:
        """Raises: ShapeError for operands that do not fit."""
        name = fresh_name(f"{self.node.name}.{what}", self.taken) if what else self.node.name
        made = Node(name, kind, op, operands, None, self.node.origin)
        self.made.append(made.like(type=infer_type(made)))
        return self.made[-1]

    def zeros(self, what: str, type_: TensorType) -> Node:
        name = fresh_name(f"{self.node.name}.{what}", self.taken)
        self.made.append(Node(name, PARAM, Param("zeros"), (), type_, self.node.origin, Weights(type_, Recipe("zeros", name))))
        return self.made[-1]


def _opened_conv(to: _Parts) -> list[Node]:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = to.node.inputs
    operands = [
        to.add("x", DEQUANTIZE_LINEAR, BY_FILTER, x, x_scale, x_zero),
        to.add("w", DEQUANTIZE_LINEAR, BY_FILTER, w, w_scale, w_zero),
    ]
    if bias:
        scale = to.add("b_scale", MUL, Mul(), x_scale, w_scale)
        zero = to.zeros("b_zero", TensorType("i32", scale.typed.shape))
        operands.append(to.add("b", DEQUANTIZE_LINEAR, BY_FILTER, bias[0], scale, zero))
    op: Conv = to.node.op
    kind = CONVS[len(op.strides) - 1]
    product = to.add("product", kind, kind.Attrs(op.strides, op.pads, op.dilations, op.groups), *operands)
    to.add("", QUANTIZE_LINEAR, QuantizeLinear(), product, y_scale, y_zero)
    return to.made


def _opened_matmul(to: _Parts) -> list[Node]:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = to.node.inputs
    wide = [
        to.add("a", DEQUANTIZE_LINEAR, BY_ROW, a, a_scale, a_zero),
        to.add("b", DEQUANTIZE_LINEAR, BY_COLUMN, b, b_scale, b_zero),
    ]
    to.add("", QUANTIZE_LINEAR, QuantizeLinear(0), to.add("product", MATMUL, MatMul(), *wide), y_scale, y_zero)
    return to.made


OPENED: dict[OpDef[Any], Callable[[_Parts], list[Node]]] = {
    **dict.fromkeys(QLINEAR_CONVS, _opened_conv),
    QLINEAR_MATMUL: _opened_matmul,
}
