"""The rules for what only a step of training computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....ir.graph import Node
from ....ir.ops.compare import GREATER
from ....ir.ops.reduce import REDUCE_MEAN
from .kernels.batch import batch_norm, channel_sums
from .kernels.layout import LANES, Packing, constants
from .kernels.pointwise import gate
from .kernels.pool_gradient import max_pool_gradient
from .kernels.weight_gradient import WeightGradient, weight_gradient
from .kernels.windows import UNROLLED, Window
from .kernels.winograd.weight_gradient import TiledWeightGradient, tiled_weight_gradient
from .tiles import possible_tiles
from .work import Surroundings, Work, batch_of, can_pack, extents, followers, in_rows, is_blocked, only_reader, packed

__all__ = ["conv_weight_gradient", "gated", "norm_of_batch", "pool_gradient", "sums_of_channels"]


def conv_weight_gradient(around: Surroundings, node: Node) -> Work | None:
    """By Winograd's tiles where there are some; else of a convolution in one group, whose windows may be written out along a row.

    The sums are left plainly.
    """
    (x, g), op = node.inputs, node.op
    if not (is_blocked(x) and is_blocked(g)) or op.groups != 1 or op.kernel[1] > UNROLLED:
        return None
    (c_in, rows, cols), c_out = extents(x), extents(g)[0]
    if (m := around.tiles.get(node.name)) in possible_tiles(node):
        tiled = TiledWeightGradient(m, batch_of(x), c_in, c_out, rows, cols, op.pads, around.processor)
        return Work((node,), replace(tiled_weight_gradient.of(tiled), tile=m), (x, g), plain=frozenset([node]))
    is_image = c_in < LANES // 2 and x not in around.in_blocks
    window = Window(rows, cols, op.kernel, op.strides, op.pads, op.dilations)
    size = WeightGradient(batch_of(x), c_in, c_out, window, is_image, around.processor)
    return Work((node,), weight_gradient.of(size), (x, g), plain=frozenset([node, *([x] if is_image else [])]))


def pool_gradient(around: Surroundings, node: Node) -> Work | None:
    """Of a max pool whose windows may be written out along a row."""
    x, g = node.inputs
    if node.typed.dtype != "f32" or not (is_blocked(x) and is_blocked(g)) or node.op.kernel[-1] > UNROLLED:
        return None
    (channels, rows, cols), op = extents(x), in_rows(node.op)
    window = Window(rows, cols, op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode)
    return Work((node,), max_pool_gradient.of(batch_of(x), channels, window), (x, g))


def sums_of_channels(around: Surroundings, node: Node) -> Work | None:
    """Sums or means over images and pixels, of what lies in blocks; all are left plainly."""
    (x,), op = node.inputs, node.op
    if x not in around.in_blocks or node.typed.dtype != "f32":
        return None
    rank = x.typed.rank
    if {axis % rank for axis in op.axes} != {0, *range(2, rank)}:
        return None
    channels, rows, cols = extents(x)
    kernel = channel_sums.of(batch_of(x), channels, rows, cols, node.typed.concrete(), node.kind is REDUCE_MEAN)
    return Work((node,), kernel, (x,), plain=frozenset([node]))


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
    """A value where another is greater than a known number, and a known number elsewhere: the way back through a relu."""
    above, g, otherwise = node.inputs
    if above.kind is not GREATER or not is_blocked(node) or g.type != node.type or node.typed.dtype != "f32":
        return None
    x, threshold = above.inputs
    if x.type != node.type or any(number.weights is None or number.typed.rank for number in (threshold, otherwise)):
        return None
    if not any(value in around.in_blocks for value in (x, g)):
        return None
    covers, steps, others = followers(around, node)
    spread = Packing((LANES,), lambda number: np.full(LANES, number, np.float32))
    numbers = zip(("threshold", "otherwise"), (threshold, otherwise), strict=True)
    arguments = tuple(packed(f"{node.name}.{name}", spread, number) for name, number in numbers)
    before = (above,) if only_reader(around.graph, above) is node else ()
    return Work((*before, *covers), gate.of(batch_of(node), *extents(node), steps), (x, g), arguments, others)
