"""Products with constant weights, and what a gain or a shift per channel does to them.

y = W x + b, where W x is conv2d, conv_transpose2d, dense, or matmul of two axes. A gain and a shift after the
product go by output channel, before it by input channel. New values are computed in float64 when somebody
looks, and cast once. Shared weights are copied: another reader keeps the old ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir.graph import Node
from ..ir.op import OpDef
from ..ir.ops.conv import CONV2D, CONV_TRANSPOSE2D
from ..ir.ops.linear import DENSE, MATMUL, Dense
from ..ir.types import Array, TensorType
from .rewriter import ANY, CONST, Match, Pat

__all__ = ["Values", "folded_after", "folded_before", "product", "takes_fold", "takes_shift", "wide"]

Values = Callable[[], Array]  # one value per channel, or one for all


def product(*kinds: OpDef, uses: int | None = None) -> Pat:
    """A product of anything and constant weights, bound as `product`."""
    return Pat(kinds, (ANY("x"), CONST("w"), CONST("b", optional=True)), bind="product", uses=uses)


def takes_fold(node: Node) -> bool:
    """Whole numbers are not scaled by fractions; a matmul of more axes has no channels on axis 1."""
    return node.typed.is_float and (node.kind is not MATMUL or node.typed.rank == 2)


def takes_shift(node: Node) -> bool:
    """Whether a shift of the input is one of the output: zero padding is not shifted, and borders of a
    transposed conv sum fewer taps."""
    return node.kind in (DENSE, MATMUL) or (node.kind is CONV2D and not any(node.op.pads))


def folded_after(m: Match, node: Node, gain: Values | None, shift: Values | None) -> Node:
    """gain * node + shift as one product; a gain or shift that is None is none."""
    x, w, b = _operands(node)
    weight = w
    if gain is not None or node.kind is MATMUL:
        weight = m.param("w", _weight_type(node), lambda: _by_output(node, gain() if gain else np.ones(1)))
    bias = b
    if shift is not None or (gain is not None and b is not None):
        type_b = _bias_type(node)
        bias = m.param(
            "b", type_b, lambda: np.broadcast_to(_bias(b) * (gain() if gain else 1.0) + (shift() if shift else 0.0), type_b.concrete())
        )
    return _remade(node, x, weight, bias)


def folded_before(m: Match, node: Node, x: Node, gain: Values | None, shift: Values | None) -> Node:
    """node(gain * x + shift) as one product of x. A shift needs `takes_shift`."""
    _, w, b = _operands(node)
    weight = w
    if gain is not None or node.kind is MATMUL:
        weight = m.param("w", _weight_type(node), lambda: _by_input(node, gain() if gain else np.ones(1)))
    bias = b
    if shift is not None:
        bias = m.param("b", _bias_type(node), lambda: _by_input(node, shift()).sum(axis=_taps(node)) + _bias(b))
    return _remade(node, x, weight, bias)


def wide(node: Node) -> Array:
    """The values of a parameter in float64."""
    assert node.weights is not None  # CONST matches parameters only
    return node.weights.wide()


def _operands(node: Node) -> tuple[Node, Node, Node | None]:
    x, w, *b = node.inputs
    return x, w, b[0] if b else None


def _remade(node: Node, x: Node, weight: Node, bias: Node | None) -> Node:
    """A matmul becomes dense, which has a bias."""
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return node.like(kind=DENSE, op=Dense(), inputs=inputs) if node.kind is MATMUL else node.like(inputs=inputs)


def _weight_type(node: Node) -> TensorType:
    w = node.inputs[1].typed
    return TensorType(w.dtype, w.shape[::-1]) if node.kind is MATMUL else w


def _bias_type(node: Node) -> TensorType:
    return TensorType(node.typed.dtype, (node.typed.shape[1],))


def _bias(b: Node | None) -> Array:
    return np.zeros(1) if b is None else wide(b)


def _taps(node: Node) -> tuple[int, ...]:
    """The axes of the weights that one output channel sums over."""
    return (1, 2, 3) if node.kind is CONV2D else (1,)


def _by_output(node: Node, gain: Array) -> Array:
    """The weights times the gain of the output channel they lead to."""
    w = wide(node.inputs[1])
    if node.kind is MATMUL:
        return (w * gain).T
    if node.kind is not CONV_TRANSPOSE2D:
        return w * gain.reshape(-1, *(1,) * (w.ndim - 1))  # axis 0 is O: right for grouped conv too
    groups, per_group = node.op.groups, w.shape[1]  # [C,O/groups,KH,KW]: the group is the block of input channels
    gains = np.broadcast_to(gain, groups * per_group).reshape(groups, 1, per_group, 1, 1)
    return (w.reshape(groups, -1, *w.shape[1:]) * gains).reshape(w.shape)


def _by_input(node: Node, gain: Array) -> Array:
    """The weights times the gain of the input channel they read."""
    w = wide(node.inputs[1])
    if node.kind is MATMUL:
        return (w * gain[:, None]).T
    if node.kind is DENSE:
        return w * gain
    if node.kind is CONV_TRANSPOSE2D:
        return w * gain.reshape(-1, 1, 1, 1)
    groups, (c_out, per_group) = node.op.groups, w.shape[:2]
    gains = np.broadcast_to(gain, groups * per_group).reshape(groups, 1, per_group, 1, 1)
    return (w.reshape(groups, c_out // groups, *w.shape[1:]) * gains).reshape(w.shape)
