"""Products with constant weights, and what a gain or a shift per channel does to them.

y = W x + b, where W x is conv2d, conv_transpose2d, dense, or matmul of two axes. A gain and a shift after the
product go by output channel, before it by input channel. New values are computed in float64 when somebody
looks, and cast once. Shared weights are copied: another reader keeps the old ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.graph import Node
from ..ir.op import OpDef
from ..ir.ops.conv import CONV2D, CONV_TRANSPOSE2D
from ..ir.ops.linear import DENSE, MATMUL, Dense
from ..ir.types import Array, TensorType
from .rewriter import ANY, CONST, Match, Pat

__all__ = ["DEEPEST", "Values", "folded_after", "folded_before", "known_infinite", "product", "takes_fold", "takes_shift", "wide"]

Values = Callable[[], Array]  # one value per channel, or one for all
DEEPEST = 100  # folds into one parameter: each waits for the one before it, and Python does not wait a thousand deep


def product(*kinds: OpDef, uses: int | None = None) -> Pat:
    """A product of anything and constant weights, bound as `product`."""
    return Pat(kinds, (ANY("x"), CONST("w"), CONST("b", optional=True)), bind="product", uses=uses)


def takes_fold(node: Node) -> bool:
    """Whole numbers are not scaled by fractions; a matmul of more axes has no channels on axis 1."""
    return node.typed.is_float and (node.kind is not MATMUL or node.typed.rank == 2) and len(node.origin.made_from) < DEEPEST


def takes_shift(node: Node) -> bool:
    """Whether a shift of the input is one of the output.

    Zero padding is not shifted, and at the borders of a transposed conv fewer taps are summed.
    """
    return node.kind in (DENSE, MATMUL) or (node.kind is CONV2D and not any(node.op.pads))


def known_infinite(gain: Values | None, *makers: Node) -> str:
    """Why the gain that these parameters make is not folded; "" where it is finite, or not known without drawing or computing values."""
    if gain is None or not all(_is_known(node) for node in makers):
        return ""
    with np.errstate(divide="ignore", invalid="ignore"):
        if np.isfinite(gain()).all():
            return ""
    return f"the gain of {' and '.join(f'%{node.name}' for node in makers)} is not finite, and a weight of 0 times it is not a number"


def folded_after(m: Match, node: Node, gain: Values | None, shift: Values | None) -> Node:
    """gain * node + shift as one product; None is no gain, or no shift."""
    x, w, b = _operands(node)
    kind, op, type_b = node.kind, node.op, TensorType(node.typed.dtype, (node.typed.shape[1],))
    weight = w
    if gain is not None or kind is MATMUL:
        weight = m.param("w", _weight_type(node), lambda: _by_output(kind, op, wide(w), gain() if gain else np.ones(1)))
    bias = b
    if shift is not None or (gain is not None and b is not None):

        def moved() -> Array:
            value = _or_zero(b) * (gain() if gain else 1.0) + (shift() if shift else 0.0)
            return np.broadcast_to(value, type_b.concrete())

        bias = m.param("b", type_b, moved)
    return _remade(node, x, weight, bias)


def folded_before(m: Match, node: Node, x: Node, gain: Values | None, shift: Values | None) -> Node:
    """node(gain * x + shift) as one product of x. A shift needs `takes_shift`."""
    _, w, b = _operands(node)
    kind, op, type_b = node.kind, node.op, TensorType(node.typed.dtype, (node.typed.shape[1],))
    weight = w
    if gain is not None or kind is MATMUL:
        weight = m.param("w", _weight_type(node), lambda: _by_input(kind, op, wide(w), gain() if gain else np.ones(1)))
    bias = b
    if shift is not None:
        taps = (1, 2, 3) if kind is CONV2D else 1  # what one output channel sums over
        bias = m.param("b", type_b, lambda: _by_input(kind, op, wide(w), shift()).sum(axis=taps) + _or_zero(b))
    return _remade(node, x, weight, bias)


def wide(node: Node) -> Array:
    """The values of a parameter in float64."""
    assert node.weights is not None  # CONST matches parameters only
    return node.weights.wide()


def _is_known(node: Node) -> bool:
    weights = node.weights
    return weights is not None and (weights.recipe.init == "full" or (weights.is_stored and not weights.is_missing))


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


def _or_zero(b: Node | None) -> Array:
    return np.zeros(1) if b is None else wide(b)


def _by_output(kind: OpDef, op: Any, w: Array, gain: Array) -> Array:
    """The weights times the gain of the output channel they lead to."""
    if kind is MATMUL:
        return (w * gain).T
    if kind is not CONV_TRANSPOSE2D:
        return w * gain.reshape(-1, *(1,) * (w.ndim - 1))  # axis 0 is O: right for grouped conv too
    groups, per_group = op.groups, w.shape[1]  # [C,O/groups,KH,KW]: the group is the block of input channels
    gains = np.broadcast_to(gain, groups * per_group).reshape(groups, 1, per_group, 1, 1)
    return (w.reshape(groups, -1, *w.shape[1:]) * gains).reshape(w.shape)


def _by_input(kind: OpDef, op: Any, w: Array, gain: Array) -> Array:
    """The weights times the gain of the input channel they read."""
    if kind is MATMUL:
        return (w * gain[:, None]).T
    if kind is DENSE:
        return w * gain
    if kind is CONV_TRANSPOSE2D:
        return w * gain.reshape(-1, 1, 1, 1)
    groups, (c_out, per_group) = op.groups, w.shape[:2]  # [O,C/groups,KH,KW]: the group is the block of output channels
    gains = np.broadcast_to(gain, groups * per_group).reshape(groups, 1, per_group, 1, 1)
    return (w.reshape(groups, c_out // groups, *w.shape[1:]) * gains).reshape(w.shape)
