"""The rules for what only a step of training computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....ir.graph import Node
from ....ir.ops.compare import GREATER, LESS, LOGICAL_AND
from .kernels.batch import batch_norm
from .kernels.depthwise_gradient import depthwise_weight_gradient
from .kernels.layout import LANES, Packing, constants
from .kernels.narrow import GROUPS
from .kernels.pointwise import gate
from .kernels.pool_gradient import max_pool_gradient
from .kernels.weight_gradient import WeightGradient, weight_gradient
from .kernels.windows import UNROLLED, Window
from .kernels.winograd.weight_gradient import TiledWeightGradient, tiled_weight_gradient
from .tiles import possible_tiles
from .work import Surroundings, Work, batch_of, can_pack, extents, followers, in_rows, is_blocked, only_reader, packed

__all__ = ["conv_weight_gradient", "gated", "norm_of_batch", "pool_gradient"]


def conv_weight_gradient(around: Surroundings, node: Node) -> Work | None:
    """By Winograd's tiles where there are some; else of groups of whole blocks, of which a block holds several whole or of single channels.

    Windows may be written out along a row. The sums are left plainly.
    """
    (x, g), op = node.inputs, node.op
    if not (is_blocked(x) and is_blocked(g)) or op.kernel[1] > UNROLLED:
        return None
    (c_in, rows, cols), c_out = extents(x), extents(g)[0]
    window = Window(rows, cols, op.kernel, op.strides, op.pads, op.dilations)
    if c_in == c_out and op.groups > 1 and (group := c_in // op.groups) in (1, *GROUPS):
        kernel = depthwise_weight_gradient.of(batch_of(x), c_in, window, around.processor, group)
        return Work((node,), kernel, (x, g), plain=frozenset([node]))
    if op.groups != 1 and (c_in // op.groups % LANES or c_out // op.groups % LANES):
        return None
    if (m := around.tiles.get(node.name)) in possible_tiles(node):
        tiled = TiledWeightGradient(m, batch_of(x), c_in, c_out, rows, cols, op.pads, around.processor)
        return Work((node,), replace(tiled_weight_gradient.of(tiled), tile=m), (x, g), plain=frozenset([node]))
    is_image = c_in < LANES // 2 and x not in around.in_blocks
    size = WeightGradient(batch_of(x), c_in, c_out, window, is_image, around.processor, op.groups)
    return Work((node,), weight_gradient.of(size), (x, g), plain=frozenset([node, *([x] if is_image else [])]))


def pool_gradient(around: Surroundings, node: Node) -> Work | None:
    """Of a max pool whose windows may be written out along a row."""
    x, g = node.inputs
    if node.typed.dtype != "f32" or not (is_blocked(x) and is_blocked(g)) or node.op.kernel[-1] > UNROLLED:
        return None
    (channels, rows, cols), op = extents(x), in_rows(node.op)
    window = Window(rows, cols, op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode)
    return Work((node,), max_pool_gradient.of(batch_of(x), channels, window), (x, g))


def norm_of_batch(around: Surroundings, node: Node) -> Work | None:
    """A batch norm by statistics that are computed."""
    x, *stats = node.inputs
    if not is_blocked(x) or node.typed.dtype != "f32" or not all(map(can_pack, stats)):
        return None
    channels, rows, cols = extents(x)
    covers, steps, others = followers(around, node)
    names = ("scale", "shift", "mean", "var")
    arguments = tuple(packed(f"{node.name}.{name}", constants(channels), stat) for name, stat in zip(names, stats, strict=True))
    return Work(covers, batch_norm.of(batch_of(x), channels, rows, cols, node.op.epsilon, steps), (x,), arguments, others)


def gated(around: Surroundings, node: Node) -> Work | None:
    """A value where another is greater or less than known numbers, and a known number elsewhere: the way back through a relu or a clip."""
    inside, g, otherwise = node.inputs
    conditions = inside.inputs if inside.kind is LOGICAL_AND else (inside,)
    if not is_blocked(node) or g.type != node.type or node.typed.dtype != "f32":
        return None
    if not all(each.kind in (GREATER, LESS) and each.inputs[0] is conditions[0].inputs[0] for each in conditions):
        return None
    x, limits = conditions[0].inputs[0], tuple(each.inputs[1] for each in conditions)
    if x.type != node.type or any(number.weights is None or number.typed.rank for number in (*limits, otherwise)):
        return None
    if not any(value in around.in_blocks for value in (x, g)):
        return None
    covers, steps, others = followers(around, node)
    spread = Packing((LANES,), lambda number: np.full(LANES, number, np.float32))
    names = tuple(each.kind.name for each in conditions)
    numbers = zip((*names, "otherwise"), (*limits, otherwise), strict=True)
    arguments = tuple(packed(f"{node.name}.{name}", spread, number) for name, number in numbers)
    before = tuple(dict.fromkeys((*conditions, inside))) if only_reader(around.graph, inside) is node else ()
    if any(only_reader(around.graph, each) not in (inside, node) for each in before):
        before = ()
    return Work((*before, *covers), gate.of(batch_of(node), *extents(node), names, steps), (x, g), arguments, others)
