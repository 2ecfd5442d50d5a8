"""The rules for sums of channels, and a batch norm's way back: what is only an element's own is computed where it is read.

A node that several kernels compute for themselves has a kernel of its own, too, which runs if anything else reads its value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ....ir.graph import Node
from ....ir.ops.elementwise import MUL, SUB
from ....ir.ops.reduce import REDUCE_MEAN
from .kernels.batch import batch_norm_gradient, channel_products, channel_squares, channel_sums
from .kernels.layout import constants
from .laid import Argument
from .work import Surroundings, Work, batch_of, can_pack, extents, followers, is_blocked, packed

__all__ = ["norm_gradient", "sums_of_channels"]


@dataclass(frozen=True, slots=True)
class _Normalized:
    """(x - mean) factor, of an image and two numbers a channel; without the factor how far it is from the mean."""

    covers: tuple[Node, ...]
    x: Node
    mean: Node
    factor: Node | None = None


def sums_of_channels(around: Surroundings, node: Node) -> Work | None:
    """Sums or means over images and pixels, of what lies in blocks; all are left plainly. Squares of how far something is from its mean,
    and its products so normalized, are computed on the way.
    """
    (x,), op = node.inputs, node.op
    if not is_blocked(x) or node.typed.dtype != "f32":
        return None
    rank = x.typed.rank
    if {axis % rank for axis in op.axes} != {0, *range(2, rank)}:
        return None
    sizes = (batch_of(x), *extents(x), node.typed.concrete(), node.kind is REDUCE_MEAN)
    if x.kind is MUL and x.inputs[0] is x.inputs[1] and (off := _from_mean(around, x.inputs[0])) is not None:
        mean = _numbers(node, "mean", off.mean)
        return Work((node,), channel_squares.of(*sizes), (off.x,), (mean,), plain=frozenset([node]))
    if x.kind is MUL:
        for g, other in (x.inputs, x.inputs[::-1]):
            made = _normalized(around, other)
            if made is not None and made.factor is not None and is_blocked(g) and g not in made.covers:
                numbers = (_numbers(node, "mean", made.mean), _numbers(node, "factor", made.factor))
                return Work((node,), channel_products.of(*sizes), (g, made.x), numbers, plain=frozenset([node]))
    if x not in around.in_blocks:
        return None
    return Work((node,), channel_sums.of(*sizes), (x,), plain=frozenset([node]))


def norm_gradient(around: Surroundings, node: Node) -> Work | None:
    """(g - off - normalized spread) gain, as a batch norm has it whose statistics are of its own images."""
    if node.kind is not MUL or (outer := _by_channel(node)) is None:
        return None
    inner, gain = outer
    if inner.kind is not SUB or (first := _by_channel(inner.inputs[0])) is None or (second := _by_channel(inner.inputs[1])) is None:
        return None
    (less, spread), ((g, off), (centred, share)) = inner.inputs, (first, second)
    made = _normalized(around, centred)
    if less.kind is not SUB or spread.kind is not MUL or made is None or made.factor is None or not is_blocked(g):
        return None
    covers, steps, others = followers(around, node)
    numbers = {"off": off, "mean": made.mean, "factor": made.factor, "spread": share, "gain": gain}
    arguments = tuple(_numbers(node, name, number) for name, number in numbers.items())
    kernel = batch_norm_gradient.of(batch_of(node), *extents(node), steps)
    return Work((*made.covers, spread, less, inner, *covers), kernel, (g, made.x), arguments, others)


def _numbers(node: Node, name: str, numbers: Node) -> Argument:
    return packed(f"{node.name}.{name}", constants(math.prod(numbers.typed.concrete())), numbers)


def _from_mean(around: Surroundings, node: Node) -> _Normalized | None:
    found = _by_channel(node) if node.kind is SUB else None
    if found is None or found[0] not in around.in_blocks:
        return None
    return _Normalized((node,), *found)


def _normalized(around: Surroundings, node: Node) -> _Normalized | None:
    found = _by_channel(node) if node.kind is MUL else None
    off = _from_mean(around, found[0]) if found is not None else None
    if found is None or off is None:
        return None
    return _Normalized((*off.covers, node), off.x, off.mean, found[1])


def _by_channel(node: Node) -> tuple[Node, Node] | None:
    """The image and the numbers, [C,1,1] or [1,C,1,1], of a node that takes one number a channel on its right."""
    if len(node.inputs) != 2 or not is_blocked(node) or node.typed.dtype != "f32":
        return None
    x, numbers = node.inputs
    each = extents(node)[0], *(1,) * (node.typed.rank - 2)
    is_one_each = numbers.typed.shape in (each, (1, *each))
    return (x, numbers) if x.type == node.type and is_one_each and can_pack(numbers) else None
