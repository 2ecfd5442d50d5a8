"""The rules: for a node, the kernel that computes it, or None to leave it to its stock row. One maker an op, in one table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops.activation import SOFTMAX
from ....ir.ops.compare import WHERE
from ....ir.ops.conv import CONV1D, CONV2D, CONV3D
from ....ir.ops.conv_transpose import CONV_TRANSPOSE1D, CONV_TRANSPOSE2D
from ....ir.ops.conv_weight_gradient import CONV2D_WEIGHT_GRADIENT
from ....ir.ops.elementwise import DIV, POW
from ....ir.ops.group import LAYER_NORM
from ....ir.ops.linear import DENSE, MATMUL
from ....ir.ops.max_pool_gradient import MAX_POOL_GRADIENT
from ....ir.ops.norm import BATCH_NORM, LOCAL_RESPONSE_NORM
from ....ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL
from ....ir.ops.rearrange import EXPAND
from ....ir.ops.reduce import REDUCE_MEAN, REDUCE_SUM
from ....ir.ops.resize import RESIZE
from ....ir.ops.select import GATHER
from ....ir.ops.shape import CONCAT, FLATTEN, PAD, RESHAPE, SLICE, TRANSPOSE
from ....ir.ops.unary import EXP, NEG, SQRT
from ....ir.types import DTYPES
from .batch_norm_rules import norm_gradient, sums_of_channels
from .channel_rules import padded_channels
from .convolution_rules import batch_norm, bias_of, conv, conv_of_volume, conv_transpose
from .gradient_rules import conv_weight_gradient, gated, pool_gradient
from .kernels import dense, moves, norms, pointwise, pools
from .kernels import resize as resizes
from .kernels import softmax as softmaxes
from .kernels.epilogue import STEPS, EpilogueStep
from .kernels.layout import LANES, blocks, constants, one_for_all
from .kernels.trees import FORMULAS
from .kernels.windows import Window
from .laid import Argument
from .move_rules import move, set_apart
from .token_rules import layer_norm, plain_elements, product, rows_of_dense
from .tree_rules import elements_together, sums_of_images, sums_of_rows, windows_together
from .work import (
    HALF,
    ROUNDED,
    Surroundings,
    Work,
    batch_of,
    can_pack,
    extents,
    followers,
    in_rows,
    is_blocked,
    only_reader,
    packed,
    step_of,
)

__all__ = ["HALVES", "MAKERS", "PLAIN", "WINDOWS"]

MOST_JOINED = 8  # operands of a concatenation that each choice from it reads itself


def pool(around: Surroundings, node: Node) -> Work | None:
    (x,) = node.inputs
    if not (is_blocked(x) and is_blocked(node)):
        return None
    channels, rows, cols = extents(x)
    steps = (ROUNDED,) if node.typed.dtype == HALF else ()
    if node.kind is GLOBAL_AVG_POOL:
        return Work((node,), pools.global_avg_pool.of(batch_of(x), channels, rows, cols, steps), (x,))
    if node.kind is GLOBAL_MAX_POOL:
        return Work((node,), pools.global_max_pool.of(batch_of(x), channels, rows, cols), (x,))
    op = in_rows(node.op)
    window = Window(rows, cols, op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode)
    sizes = (batch_of(x), channels, window)
    if node.kind is MAX_POOL:
        return Work((node,), pools.max_pool.of(*sizes, around.processor), (x,))
    return Work((node,), pools.avg_pool.of(*sizes, op.count_include_pad, around.processor, steps), (x,))


def concat(around: Surroundings, node: Node) -> Work | None:
    """Along the channels, unless what reads them takes them from the operands themselves; or of plain values."""
    if not any(operand in around.in_blocks for operand in node.inputs) and (work := move(around, node)) is not None:
        return work
    if not _joins_channels(node) or _is_picked_apart(around, node):
        return None
    _, rows, cols = extents(node)
    channels = tuple(extents(operand)[0] for operand in node.inputs)
    is_whole = all(c % LANES == 0 for c in channels[:-1])
    starts = tuple(itertools.accumulate(map(blocks, channels[:-1]), initial=0)) if is_whole else ()
    return Work((node,), moves.concat.of(batch_of(node), channels, rows, cols), node.inputs, starts=starts)


def _joins_channels(node: Node) -> bool:
    return node.kind is CONCAT and node.op.axis in (1, 1 - node.typed.rank) and all(map(is_blocked, (node, *node.inputs)))


def _is_picked_apart(around: Surroundings, node: Node) -> bool:
    """Whether all that read joined channels choose some of them."""
    readers = around.graph.readers[node]
    return (
        node not in around.graph.outputs
        and len(node.inputs) <= MOST_JOINED
        and all(_chosen(reader) and reader.inputs[0] is node for reader in readers)
    )


def _chosen(node: Node) -> tuple[int, ...]:
    """The channels of an image that are gathered, in order; none where they are not known or lie along another axis."""
    if node.kind is not GATHER or node.op.axis not in (1, 1 - node.inputs[0].typed.rank):
        return ()
    x, places = node.inputs
    if not (is_blocked(x) and is_blocked(node)) or places.typed.rank != 1 or places.weights is None or not places.weights.is_given:
        return ()
    count = extents(x)[0]
    return tuple(int(place) % count for place in places.weights.array())


def gathered(around: Surroundings, node: Node) -> Work | None:
    """Channels that are known, or of a plain value one place."""
    return channels_gathered(around, node) or move(around, node)


def channels_gathered(around: Surroundings, node: Node) -> Work | None:
    """Of one value, or of those that were joined for this alone."""
    x, chosen = node.inputs[0], _chosen(node)
    if not chosen:
        return None
    is_joined = _joins_channels(x) and _is_picked_apart(around, x)
    covers, operands = ((x, node), x.inputs) if is_joined else ((node,), (x,))
    channels, (_, rows, cols) = tuple(extents(operand)[0] for operand in operands), extents(node)
    return Work(covers, moves.pick.of(batch_of(node), channels, chosen, rows, cols), operands)


def elementwise(around: Surroundings, node: Node) -> Work | None:
    """A chain of its own, where no kernel before it could take it in; its first step may read a gate, a constant a channel or a number."""
    alone = plain_elements(around, node) or norm_gradient(around, node) or _chain(around, node)
    together = elements_together(around, node)
    if alone is None or together is None:
        return alone or together
    is_plainer = alone.is_laid and not together.is_laid  # nothing that they read lies in blocks
    return together if is_plainer or len(together.covers) > len(alone.covers) else alone


def _chain(around: Surroundings, node: Node) -> Work | None:
    if not is_blocked(node):
        return None
    covers, steps, others = followers(around, node)
    sizes = (batch_of(node), *extents(node))
    first = step_of(node, node.inputs[0])
    if first is not None:
        kernel = pointwise.pointwise.of(*sizes, (first, *steps))
        return Work(covers, kernel, node.inputs[:1], others=(*node.inputs[1:], *others))
    if len(node.inputs) != 2:
        return None
    x, other = sorted(node.inputs, key=lambda operand: operand.type != node.type)
    first = EpilogueStep(node.kind, node.op, 1, node.inputs[0] is other)
    if x.type != node.type or other.typed.dtype != node.typed.dtype:
        return None
    channels, ones = sizes[1], (1,) * (node.typed.rank - 2)
    is_number = all(extent == 1 for extent in other.typed.shape) and x in around.in_blocks
    is_gate = other.weights is None and is_blocked(other) and other.typed.shape == (*node.typed.shape[:2], *ones)
    is_constant = (is_number or other.typed.shape in ((channels, *ones), (1, channels, *ones))) and can_pack(other)
    if is_gate and (other in around.in_blocks or not is_constant):  # of one image it would be both: read where it lies
        return Work(covers, pointwise.by_image.of(*sizes, first, steps), (x, other), others=others)
    if is_constant:
        constant = packed(f"{node.name}.packed", one_for_all(channels) if is_number else constants(channels), other)
        return Work(covers, pointwise.by_channel.of(*sizes, first, steps), (x,), (constant,), others)
    return None


def chosen(around: Surroundings, node: Node) -> Work | None:
    return gated(around, node) or elements_together(around, node)


def spread(around: Surroundings, node: Node) -> Work | None:
    return windows_together(around, node) or conv_transpose(around, node)


def sums(around: Surroundings, node: Node) -> Work | None:
    return sums_of_channels(around, node) or sums_of_images(around, node) or sums_of_rows(around, node)


def local_response_norm(around: Surroundings, node: Node) -> Work | None:
    (x,) = node.inputs
    if not is_blocked(x):
        return None
    return Work((node,), norms.local_response_norm.of(node.op, batch_of(x), *extents(x)), (x,))


def resize(around: Surroundings, node: Node) -> Work | None:
    """Places and shares are tables that the kernel reads."""
    (x,) = node.inputs
    if not (is_blocked(x) and is_blocked(node) and resizes.can_resize(node.op)):
        return None
    (channels, rows, cols), op = extents(x), in_rows(node.op)
    tables = [
        Argument(f"{node.name}.table{i}", table.shape, "i32" if table.dtype == np.int32 else "f32", lambda values, table=table: table)
        for i, table in enumerate(resizes.tables(op, rows, cols))
    ]
    is_last = node in around.graph.outputs and not around.graph.readers[node]  # the caller alone reads it, who knows no blocks
    out_of_blocks = is_last and extents(node)[2] >= LANES
    kernel = resizes.resize.of(op, batch_of(x), channels, rows, cols, out_of_blocks=out_of_blocks)
    return Work((node,), kernel, (x,), tuple(tables), plain=frozenset([node] if out_of_blocks else []))


def flat(around: Surroundings, node: Node) -> Work | None:
    """The work of the dense layer that alone reads the rows: it takes them as they lie in the images, if its weights are known."""
    reader, (x,) = only_reader(around.graph, node), node.inputs
    if reader is None or reader.kind is not DENSE or reader.inputs[0] is not node or node.op.axis != 1:
        return None
    if reader.inputs[1].weights is None:
        return None
    return dense_layer(around, reader, node) if all(isinstance(dim, int) for dim in x.typed.shape[1:]) else None


def dense_layer(around: Surroundings, node: Node, flatten: Node | None = None) -> Work | None:
    """On plain rows, or what is flattened to them, with what follows each score."""
    if flatten is None and (work := rows_of_dense(around, node)) is not None:
        return work
    x, w, *bias = node.inputs
    if node.typed.dtype not in ("f32", HALF) or not all(map(can_pack, (w, *bias))):
        return None
    c_out, c_in = w.typed.concrete()
    covers, steps, others = followers(around, node) if node.typed.dtype != HALF else ((node,), (), ())
    arguments = (packed(f"{node.name}.packed", dense.dense_weights(c_in, c_out), w), bias_of(node, c_out, bias))
    if flatten is not None:
        covers, (x,) = (flatten, *covers), flatten.inputs
    image = tuple(dim for dim in x.typed.shape[1:] if isinstance(dim, int))
    kernel = dense.dense.of(batch_of(x), image, c_out, steps, around.processor, DTYPES[node.typed.dtype].name)
    return Work(covers, kernel, (x,), arguments, others, frozenset([x]))


def softmax(around: Surroundings, node: Node) -> Work | None:
    """Of rows of scores, or along any axis between the batch and at least a vector's elements, such as the channels of an image."""
    (x,), axis, shape = node.inputs, node.op.axis % node.typed.rank, (batch_of(node), *node.typed.shape[1:])
    sizes = [extent for extent in shape[1:] if isinstance(extent, int) and extent]
    if node.typed.dtype != "f32" or len(sizes) != len(shape) - 1 or not axis:
        return None
    if len(shape) == 2:
        kernel = softmaxes.softmax.of(shape[0], sizes[0])
    elif math.prod(sizes[axis:]) >= LANES and axis < len(sizes):
        kernel = softmaxes.softmax_channels.of((shape[0], *sizes), axis)
    else:
        return None
    return Work((node,), kernel, (x,), plain=frozenset([x, node]))


def cut(around: Surroundings, node: Node) -> Work | None:
    """Whole blocks of channels, or every so manieth row and column; of plain values anything."""
    if node.inputs[0] not in around.in_blocks and (work := move(around, node)) is not None:
        return work
    return channels_from(node) or subsample(around, node)


def channels_from(node: Node) -> Work | None:
    """Channels from the first of a block on; a view only to the last of one, since infinities beyond would be NaN, times a weight of 0."""
    (x,), op = node.inputs, node.op
    if not (is_blocked(x) and is_blocked(node)) or op.axes not in ((1,), (1 - x.typed.rank,)) or op.steps not in ((), (1,)):
        return None
    channels, rows, cols = extents(x)
    start, stop, _ = slice(op.starts[0], op.ends[0]).indices(channels)
    if start % LANES:
        return None
    kernel = moves.slice_blocks.of(batch_of(x), channels, rows, cols, start, stop)
    return Work((node,), kernel, (x,), starts=(-start // LANES,) if stop % LANES == 0 or stop == channels else ())


def subsample(around: Surroundings, node: Node) -> Work | None:
    """Every so manieth row and column from the first on, as a pool of single pixels."""
    (x,), op = node.inputs, node.op
    if not (is_blocked(x) and is_blocked(node)) or not op.steps:
        return None
    channels, rows, cols = extents(x)
    strides, rank = {2: 1, 3: 1}, x.typed.rank
    for axis, start, end, step in zip(op.axes, op.starts, op.ends, op.steps, strict=True):
        axis = (axis + rank if axis < 0 else axis) + (4 - rank)  # a sequence's are columns
        if axis not in strides or start != 0 or step < 1 or end < (rows, cols)[axis - 2]:
            return None
        strides[axis] = step
    window = Window(rows, cols, (1, 1), (strides[2], strides[3]))
    return Work((node,), pools.max_pool.of(batch_of(x), channels, window, around.processor), (x,))


MAKERS: dict[OpDef[Any], Callable[[Surroundings, Node], Work | None]] = {
    CONV1D: conv,
    CONV2D: conv,
    CONV3D: conv_of_volume,
    CONV_TRANSPOSE1D: conv_transpose,
    CONV_TRANSPOSE2D: spread,
    MAX_POOL: pool,
    AVG_POOL: pool,
    GLOBAL_AVG_POOL: pool,
    GLOBAL_MAX_POOL: pool,
    CONCAT: concat,
    SLICE: cut,
    PAD: padded_channels,
    RESHAPE: set_apart,
    GATHER: gathered,
    BATCH_NORM: batch_norm,
    LOCAL_RESPONSE_NORM: local_response_norm,
    RESIZE: resize,
    FLATTEN: flat,
    DENSE: dense_layer,
    SOFTMAX: softmax,
    MATMUL: product,
    LAYER_NORM: layer_norm,
    TRANSPOSE: move,
    CONV2D_WEIGHT_GRADIENT: conv_weight_gradient,
    MAX_POOL_GRADIENT: pool_gradient,
    REDUCE_MEAN: sums,
    REDUCE_SUM: sums,
    WHERE: chosen,
    **dict.fromkeys((DIV, EXP, EXPAND, NEG, POW, SQRT), elements_together),
    **dict.fromkeys(STEPS, elementwise),
}

# What computes float16 too, or only moves it.
HALVES = frozenset(
    (
        *(CONV1D, CONV2D, CONV_TRANSPOSE1D, CONV_TRANSPOSE2D, BATCH_NORM, MAX_POOL, AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL),
        *(CONCAT, SLICE, GATHER, FLATTEN, DENSE),
        *STEPS,
    )
)
# What works along an axis of space, so that a sequence is worth its move into blocks.
WINDOWS = frozenset({CONV1D, CONV_TRANSPOSE1D, MAX_POOL, MAX_POOL_GRADIENT, AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, RESIZE})
# What takes plain values, so that those of three axes need no blocks.
PLAIN = frozenset({CONCAT, SLICE, DENSE, SOFTMAX, MATMUL, LAYER_NORM, TRANSPOSE, GATHER, EXPAND, REDUCE_MEAN, REDUCE_SUM, *FORMULAS})
