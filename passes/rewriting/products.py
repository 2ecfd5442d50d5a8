"""Products with constant weights, and what a gain or a shift per channel does to them.

y = W x + b, where W x is a convolution or a transposed one, dense, or matmul of two axes. A gain and a shift after the
product go by output channel, before it by input channel. New values are computed in float64 when somebody
looks, and cast once. Shared weights are copied: another reader keeps the old ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.errors import InvalidModel
from ...ir.graph import Node
from ...ir.op import OpDef
from ...ir.ops.conv import CONVS, conv_of
from ...ir.ops.conv_transpose import CONV_TRANSPOSES
from ...ir.ops.elementwise import ADD, SUB
from ...ir.ops.linear import DENSE, MATMUL, Dense
from ...ir.types import Array, TensorType, limits_of
from ...ir.weights import FILLED
from .overflow import largest, overflows, size
from .rewriter import ANY, CONST, Match, Pat

__all__ = [
    "DEEPEST",
    "ChannelValues",
    "Scaled",
    "by_input",
    "by_output",
    "fits",
    "folded_after",
    "folded_before",
    "is_1x1",
    "is_known",
    "product",
    "rounding_to_whole",
    "takes_fold",
    "takes_shift",
    "unfit",
    "wide",
]

ChannelValues = Callable[[], Array]  # one value per channel, or one for all
Scaled = Callable[[OpDef[Any], Any, Array, Array], Array]  # weights times a gain
FEW = 4096  # values that are looked at while a graph is rewritten
DEEPEST = 100  # folds into one parameter: each waits for the one before it, and Python does not wait a thousand deep


def product(*kinds: OpDef[Any], uses: int | None = None) -> Pat:
    """A product of anything and constant weights, bound as `product`."""
    return Pat(kinds, (ANY("x"), CONST("w"), CONST("b", optional=True)), bind="product", uses=uses)


def takes_fold(node: Node) -> bool:
    """Whole numbers are not scaled by fractions; a matmul of more axes has no channels on axis 1."""
    return node.typed.is_float and (node.kind is not MATMUL or node.typed.rank == 2) and len(node.origin.made_from) < DEEPEST


def takes_shift(node: Node) -> bool:
    """Whether a shift of the input is one of the output.

    Zero padding is not shifted, and at the borders of a transposed conv fewer taps are summed.
    """
    return node.kind in (DENSE, MATMUL) or (node.kind in CONVS and not any(conv_of(node).pads))


def is_1x1(conv: Node) -> bool:
    """Whether a conv is a matrix at every place that it reads."""
    return all(size == 1 for size in conv.inputs[1].typed.shape[2:])


def unfit(node: Node, gain: ChannelValues | None, *makers: Node, scaled: Scaled) -> str:
    """Why the gain that `makers` make is not folded into the weights of `node`; "" where it fits, as far as values are known without
    drawing them. Its product must be finite: a weight of 0 times infinity is not a number; and f16 has few exponents.
    """
    known = [maker for maker in makers if is_known(maker)]
    if gain is None:
        return ""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = [gain()] if len(known) == len(makers) else [wide(maker) for maker in known]
        if not all(np.isfinite(value).all() for value in values):
            names = " and ".join(f"%{maker.name}" for maker in makers)
            return f"the gain of {names} is not finite, and a weight of 0 times it is not a number"
        w = node.inputs[1]
        if w.typed.dtype != "f16" or len(known) < len(makers) or not is_known(w):
            return ""
        product = abs(scaled(node.kind, node.op, wide(w), gain()))
    largest = product.reshape(len(product), -1).max(axis=1, initial=0)
    return "" if fits(largest, w.typed.dtype) else f"%{w.name} times the gain is beyond what f16 has all digits for"


def fits(values: Array, dtype: str) -> bool:
    """Whether numbers are 0 or of the size that a float type has all digits for."""
    limits, sizes = limits_of(dtype), abs(values)
    return bool(((sizes == 0) | ((sizes >= limits.tiny) & (sizes <= limits.max))).all())


def folded_after(m: Match, node: Node, gain: ChannelValues | None, shift: ChannelValues | None) -> Node | None:
    """gain * node + shift as one product; None is no gain, or no shift. Declines what would be beyond the range of its type."""
    x, w, b = _operands(node)
    kind, op, type_b = node.kind, node.op, TensorType(node.typed.dtype, (node.typed.shape[1],))

    def scaled() -> Array:
        return by_output(kind, op, wide(w), gain() if gain else np.ones(1))

    def moved() -> Array:
        value = _or_zero(b) * (gain() if gain else 1.0) + (shift() if shift else 0.0)
        return np.broadcast_to(value, type_b.concrete())

    most_b = largest(b) * size(gain, 1.0) + size(shift, 0.0) if _is_known(m, node) else math.inf
    weight, bias = _Made(_weight_type(node), scaled, _most_scaled(m, node, gain)), _Made(type_b, moved, most_b)
    makes_bias = shift is not None or (gain is not None and b is not None)
    return _remade(m, node, x, weight if gain is not None or kind is MATMUL else w, bias if makes_bias else b)


def folded_before(m: Match, node: Node, x: Node, gain: ChannelValues | None, shift: ChannelValues | None) -> Node | None:
    """node(gain * x + shift) as one product of x. A shift needs `takes_shift`. Declines what would be beyond the range of its type."""
    _, w, b = _operands(node)
    kind, op, type_b = node.kind, node.op, TensorType(node.typed.dtype, (node.typed.shape[1],))
    taps = tuple(range(1, w.typed.rank)) if kind in CONVS else (1,)  # what one output channel sums over

    def scaled() -> Array:
        return by_input(kind, op, wide(w), gain() if gain else np.ones(1))

    def moved() -> Array:
        return by_input(kind, op, wide(w), shift() if shift else np.zeros(1)).sum(axis=taps) + _or_zero(b)

    most_b = math.prod(w.typed.concrete()) * _most_scaled(m, node, shift) + largest(b)
    weight, bias = _Made(_weight_type(node), scaled, _most_scaled(m, node, gain)), _Made(type_b, moved, most_b)
    return _remade(m, node, x, weight if gain is not None or kind is MATMUL else w, bias if shift is not None else b)


@dataclass(frozen=True, slots=True)
class _Made:
    """A parameter that is to be made: `values` of no more than `most`."""

    type: TensorType
    values: ChannelValues
    most: float


def _most_scaled(m: Match, node: Node, gain: ChannelValues | None) -> float:
    """A bound on the weights of `node` times a gain; infinite where that would have to be drawn."""
    return largest(node.inputs[1]) * size(gain, 1.0) if _is_known(m, node) else math.inf


def _is_known(m: Match, node: Node) -> bool:
    """Whether all that is folded into the weights and the bias of `node` is there without drawing it."""
    return all(is_known(each) for each in m.bound.values() if each.weights is not None and each not in node.inputs)


def wide(node: Node) -> Array:
    """The values of a parameter in float64."""
    assert node.weights is not None  # CONST matches parameters only
    return node.weights.wide()


def is_known(node: Node) -> bool:
    """Whether a parameter's values are there without drawing many of them, and all that they are made of was given."""
    weights, few = node.weights, math.prod(node.typed.concrete()) <= FEW
    if weights is None or weights.is_missing:
        return False
    if weights.compute is None or not few:
        return weights.is_stored or (few and weights.recipe.init in FILLED)
    try:
        weights.wide()
    except InvalidModel:
        return False
    return True


def rounding_to_whole(kind: OpDef[Any], *constants: Node) -> str:
    """Why a sum with these is left alone; "" where it may be put together with others. Neighbours of such a number are 1 apart: a file that
    adds it, and takes it away again, rounds to whole numbers.
    """
    if kind not in (ADD, SUB):
        return ""
    for each in constants:
        if each.typed.dtype in ("f32", "f64") and is_known(each):
            least = 2.0 ** limits_of(each.typed.dtype).nmant
            if ((abs(wide(each)) >= least) & (abs(wide(each)) < 2 * least)).any():
                return f"what %{each.name} is added to becomes a whole number, which may be meant"
    return ""


def _operands(node: Node) -> tuple[Node, Node, Node | None]:
    x, w, *b = node.inputs
    return x, w, b[0] if b else None


def _remade(m: Match, node: Node, x: Node, weight: Node | _Made, bias: Node | _Made | None) -> Node | None:
    """A matmul becomes dense, which has a bias."""
    sources = [each for each in m.bound.values() if each.weights is not None]
    made = [each for each in (weight, bias) if isinstance(each, _Made)]
    if _is_known(m, node) and any(overflows(each.type, each.most, each.values, sources) for each in made):
        what = " and ".join(f"%{each.name}" for each in sources)
        return m.decline(f"{what} make weights beyond the range of {node.typed.dtype}")
    params = [
        m.param(suffix, each.type, each.values, each.most) if isinstance(each, _Made) else each
        for suffix, each in (("w", weight), ("b", bias))
    ]
    inputs = (x, *(each for each in params if each is not None))
    return node.like(kind=DENSE, op=Dense(), inputs=inputs) if node.kind is MATMUL else node.like(inputs=inputs)


def _weight_type(node: Node) -> TensorType:
    w = node.inputs[1].typed
    return TensorType(w.dtype, w.shape[::-1]) if node.kind is MATMUL else w


def _or_zero(b: Node | None) -> Array:
    return np.zeros(1) if b is None else wide(b)


def by_output(kind: OpDef[Any], op: Any, w: Array, gain: Array) -> Array:
    """The weights times the gain of the output channel they lead to."""
    if kind is MATMUL:
        return (w * gain).T
    if kind not in CONV_TRANSPOSES:
        return w * gain.reshape(-1, *(1,) * (w.ndim - 1))  # axis 0 is O: right for grouped conv too
    groups, per_group = op.groups, w.shape[1]  # [C,O/groups,*kernel]: the group is the block of input channels
    gains = np.broadcast_to(gain, groups * per_group).reshape(groups, 1, per_group, *(1,) * (w.ndim - 2))
    return (w.reshape(groups, -1, *w.shape[1:]) * gains).reshape(w.shape)


def by_input(kind: OpDef[Any], op: Any, w: Array, gain: Array) -> Array:
    """The weights times the gain of the input channel they read."""
    if kind is MATMUL:
        return (w * gain[:, None]).T
    if kind is DENSE:
        return w * gain
    if kind in CONV_TRANSPOSES:
        return w * gain.reshape(-1, *(1,) * (w.ndim - 1))
    groups, (c_out, per_group) = op.groups, w.shape[:2]  # [O,C/groups,*kernel]: the group is the block of output channels
    gains = np.broadcast_to(gain, groups * per_group).reshape(groups, 1, per_group, *(1,) * (w.ndim - 2))
    return (w.reshape(groups, c_out // groups, *w.shape[1:]) * gains).reshape(w.shape)
