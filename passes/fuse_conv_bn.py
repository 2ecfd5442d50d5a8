"""fuse-conv-bn: fold inference batch norm into the product before it. Exact up to one rounding of the weights."""

from __future__ import annotations

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.ops.conv import CONV2D, CONV_TRANSPOSE2D
from ..ir.ops.linear import DENSE
from ..ir.ops.norm import BATCH_NORM
from ..ir.types import Array, TensorType
from .ledger import Ledger
from .rewriter import ANY, CONST, Match, Pat, Rule, rewrite

__all__ = ["fuse_conv_bn"]

# uses=1: another reader still needs the raw result
PRODUCT = Pat((CONV2D, CONV_TRANSPOSE2D, DENSE), (ANY("x"), CONST("w"), CONST("b", optional=True)), bind="product", uses=1)
STATS = (CONST("scale"), CONST("shift"), CONST("mean"), CONST("var"))


def fold(m: Match) -> Node:
    """y = gain * (w x + b - mean) + shift with gain = scale / sqrt(var + epsilon), in float64, cast once."""
    product, w = m["product"], m["w"]
    type_b = TensorType(w.typed.dtype, m["scale"].typed.shape)
    weight = m.param("w", w.typed, lambda: _scaled(product, _wide(w), _gain(m)))
    bias = m.param("b", type_b, lambda: ((_wide(b) if (b := m.get("b")) else 0.0) - _wide(m["mean"])) * _gain(m) + _wide(m["shift"]))
    return product.like(inputs=(m["x"], weight, bias))


def _gain(m: Match) -> Array:
    return _wide(m["scale"]) / np.sqrt(_wide(m["var"]) + m["bn"].op.epsilon)


def _scaled(product: Node, w: Array, gain: Array) -> Array:
    """Weights times the gain of the output channel they lead to."""
    if product.kind is not CONV_TRANSPOSE2D:
        return w * gain.reshape(-1, *(1,) * (w.ndim - 1))  # axis 0 is O: right for grouped conv too
    groups = product.op.groups  # [C,O/groups,KH,KW]: the group is the block of input channels
    by_group = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    return (by_group * gain.reshape(groups, 1, -1, 1, 1)).reshape(w.shape)


def _wide(node: Node) -> Array:
    assert node.weights is not None  # CONST matches parameters only
    return node.weights.wide()


RULES = (Rule("fold-bn-into-product", Pat((BATCH_NORM,), (PRODUCT, *STATS), bind="bn"), fold),)


def fuse_conv_bn(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %n = batch_norm(conv2d(%x, %w), ...)    After: %n = conv2d(%x, %n.w, %n.b)"""
    return rewrite(graph, RULES, ledger)
