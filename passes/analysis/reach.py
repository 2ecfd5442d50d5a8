"""What a unit of a result reads of each axis of an operand: a rule an op. An op without one may read all of every axis.

Rules say which positions can matter, whatever the values are; borders that repeat or mirror the image count as if it went on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...ir.dims import Dim
from ...ir.errors import InvalidModel
from ...ir.graph import Node
from ...ir.op import OpDef
from ...ir.ops.activation import LOG_SOFTMAX, SOFTMAX
from ...ir.ops.conv import CONVS, product_of
from ...ir.ops.conv_transpose import CONV_TRANSPOSES
from ...ir.ops.diagonal import CUM_PROD, CUM_SUM, TRILU
from ...ir.ops.group import GROUP_NORM, INSTANCE_NORM, LAYER_NORM, MEAN_VARIANCE_NORM
from ...ir.ops.integer import CONV_INTEGERS
from ...ir.ops.lengths import LP_NORMALIZATION, REDUCE_L1, REDUCE_L2, REDUCE_LOG_SUM, REDUCE_LOG_SUM_EXP, REDUCE_SUM_SQUARE
from ...ir.ops.linear import DENSE, MATMUL
from ...ir.ops.max_pool_gradient import MAX_POOL_GRADIENT
from ...ir.ops.norm import LOCAL_RESPONSE_NORM
from ...ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, LP_POOL, MAX_POOL
from ...ir.ops.qlinear import QLINEAR_CONVS
from ...ir.ops.quantize import DEQUANTIZE_LINEAR, QUANTIZE_LINEAR
from ...ir.ops.rearrange import CENTER_CROP_PAD, DEPTH_TO_SPACE, EXPAND, SPACE_TO_DEPTH, TILE
from ...ir.ops.reduce import ARG_MAX, ARG_MIN, REDUCTIONS
from ...ir.ops.resize import RESIZE
from ...ir.ops.select import GATHER, TOP_K_INDICES, TOP_K_VALUES
from ...ir.ops.shape import CONCAT, FLATTEN, PAD, RESHAPE, SLICE, TRANSPOSE, place_of
from ...ir.ops.thresholds import HARDMAX
from ...ir.ops.unpool import MAX_POOL_INDICES, MAX_UNPOOL, MaxPoolIndices
from ...ir.ops.window import dilated
from .resize_reach import resize_reach
from .spans import FIXED, MOST_TURNS, ONE, WHOLE, Spans, through

__all__ = ["READS_ALL", "RULES", "Reached", "reach"]

Reached = tuple[int, Spans] | None  # (axis of the result, what its positions read), or every unit reads all of the axis
ReachRule = Callable[[Node, int], Sequence[Reached]]  # a reading for each axis of the operand of that number


def reach(node: Node, place: int) -> Sequence[Reached]:
    """For each axis of operand number `place`: the axis of the result along which it is read, and which positions; None of all."""
    if node.kind.facts.pointwise and node.kind not in RULES:
        return [(1, ONE)] if place in node.kind.facts.by_channel else _broadcast(node.inputs[place].typed.shape, node.typed.shape)
    rule = RULES.get(node.kind)
    return rule(node, place) if rule else _all(node.inputs[place])


def _all(operand: Node) -> list[Reached]:
    return [None] * operand.typed.rank


def _own(rank: int, *mixed: int) -> list[Reached]:
    """Each unit reads its own position; along the axes `mixed` all of them."""
    without = {axis % rank for axis in mixed}
    return [None if axis in without else (axis, ONE) for axis in range(rank)]


def _broadcast(shape: Sequence[Dim], onto: Sequence[Dim]) -> list[Reached]:
    first = len(onto) - len(shape)
    return [(first + axis, ONE if dim == onto[first + axis] else FIXED) for axis, dim in enumerate(shape)]


def _first_only(rule: Callable[[Node], Sequence[Reached]]) -> ReachRule:
    """A rule of the first operand; of the others every unit may read all."""
    return lambda node, place: rule(node) if place == 0 else _all(node.inputs[place])


def _over_space(steps: Sequence[Spans]) -> list[Reached]:
    """Channels are mixed, images are not."""
    return [(0, ONE), None, *((axis, step) for axis, step in enumerate(steps, 2))]


def _windows(op: Any, kernel: Sequence[int]) -> list[Spans]:
    sizes = [dilated(k, d) for k, d in zip(kernel, op.dilations, strict=True)]
    ends = zip(sizes, op.pads, op.strides, op.dilations, strict=False)
    return [Spans((-before,), (size - 1 - before,), stride, dilation) for size, before, stride, dilation in ends]


def _spread(op: Any, kernel: Sequence[int]) -> list[Spans]:
    """What is read by the results of a convolution of these attributes run backwards: at each place the windows that have a tap there."""
    ends = zip(kernel, op.strides, op.pads, op.dilations, strict=False)
    return [_taps_at(*each) if each[1] <= MOST_TURNS else WHOLE for each in ends]


def _taps_at(kernel: int, stride: int, before: int, dilation: int) -> Spans:
    turn = stride // math.gcd(stride, dilation)  # taps until one is a whole number of strides further
    read: list[tuple[float, float]] = []
    for at in range(before, before + stride):
        least = next((tap for tap in range(min(turn, kernel)) if (at - tap * dilation) % stride == 0), None)
        if least is None:  # a kernel smaller than its stride: only the bias is there
            read.append((math.inf, -math.inf))
        else:
            most = least + (kernel - 1 - least) // turn * turn
            read.append(((at - most * dilation) // stride, (at - least * dilation) // stride))
    return Spans(tuple(first for first, _ in read), tuple(last for _, last in read))


def _kernel(node: Node, weight: int = 1) -> Sequence[int]:
    return node.inputs[weight].typed.concrete()[2:]


def _unpool(node: Node, place: int) -> Sequence[Reached]:
    """Places may be any numbers, unless a pool over the same windows has found them."""
    op, source = MAX_UNPOOL.of(node), node.inputs[1]
    if source.kind is not MAX_POOL_INDICES or source.inputs[0].typed.shape != node.typed.shape:
        return _all(node.inputs[place])
    pool = MAX_POOL_INDICES.of(source)
    same = MaxPoolIndices(op.kernel, op.strides, op.pads, (), pool.ceil_mode, pool.column_major) == pool
    return _over_space(_spread(pool, op.kernel)) if same else _all(node.inputs[place])


def _max_pool_gradient(node: Node, place: int) -> Sequence[Reached]:
    """A share at the windows that read a place, which look at all that these windows read."""
    op = MAX_POOL_GRADIENT.of(node)
    shares = _spread(op, op.kernel)
    windows = zip(shares, _windows(op, op.kernel), strict=True)
    return _over_space(shares if place else [through(share, window) for share, window in windows])


def _dense(node: Node) -> Sequence[Reached]:
    return [(0, ONE), None]


def _matmul(node: Node, place: int) -> Sequence[Reached]:
    a, b = (operand.typed.shape for operand in node.inputs)
    if min(len(a), len(b)) < 2:
        return _all(node.inputs[place])
    rows, columns = _broadcast(a, (*node.typed.shape[:-1], a[-1])), _broadcast(b, (*node.typed.shape[:-2], *b[-2:]))
    return [*columns[:-2], None, columns[-1]] if place else [*rows[:-1], None]


def _reduced(node: Node) -> Sequence[Reached]:
    """Axes that go are read whole; others stay, or follow one another."""
    rank = node.inputs[0].typed.rank
    axes = getattr(node.op, "axes", None)
    gone = {axis % rank for axis in ((node.op.axis,) if axes is None else axes)} or set(range(rank))
    kept = [axis for axis in range(rank) if axis not in gone]
    return [None if axis in gone else (axis if node.op.keepdims else kept.index(axis), ONE) for axis in range(rank)]


def _sliced(node: Node) -> Sequence[Reached]:
    op, x = SLICE.of(node), node.inputs[0].typed
    readings = _own(x.rank)
    for axis, start, end, step in zip(op.axes, op.starts, op.ends, op.steps or (1,) * len(op.axes), strict=True):
        size = x.shape[axis]
        if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
            first: Dim = slice(start, end, step).indices(size)[0]
        else:
            first = place_of(start, size)
        readings[axis % x.rank] = (axis % x.rank, Spans((first,), (first,), step)) if isinstance(first, int) else None
    return readings


def _padded(node: Node) -> Sequence[Reached]:
    return [(axis, Spans((-before,), (-before,))) for axis, before in enumerate(PAD.of(node).pads[: node.typed.rank])]


def _centred(node: Node) -> Sequence[Reached]:
    """A crop takes the earlier half away, a border has its smaller half before."""
    pairs = zip(node.inputs[0].typed.shape, node.typed.shape, strict=True)
    return [None if (first := _first_kept(*pair)) is None else (axis, Spans((first,), (first,))) for axis, pair in enumerate(pairs)]


def _first_kept(size: Dim, after: Dim) -> int | None:
    if size == after:
        return 0
    if not isinstance(size, int) or not isinstance(after, int):
        return None
    return (size - after) // 2 if size > after else -((after - size) // 2)


def _reshaped(node: Node) -> Sequence[Reached]:
    """An axis stays one where as many elements lie before it and it is as long; others are mixed."""
    x, out = node.inputs[0].typed.shape, node.typed.shape
    try:
        places = {(dim, product_of(1, out[:axis])): axis for axis, dim in enumerate(out)}
        found = [places.get((dim, product_of(1, x[:axis]))) for axis, dim in enumerate(x)]
    except InvalidModel:  # a product of names has a greatest size
        return _all(node.inputs[0])
    return [None if axis is None else (axis, ONE) for axis in found]


def _transposed(node: Node) -> Sequence[Reached]:
    perm = TRANSPOSE.of(node).perm
    return [(perm.index(axis), ONE) for axis in range(len(perm))]


def _to_space(node: Node) -> Sequence[Reached]:
    block = DEPTH_TO_SPACE.of(node).block
    return _over_space([Spans((0,) * block, (0,) * block) if block <= MOST_TURNS else WHOLE] * 2)


def _to_depth(node: Node) -> Sequence[Reached]:
    block = SPACE_TO_DEPTH.of(node).block
    return _over_space([Spans((0,), (block - 1,), block)] * 2)


def _tiled(node: Node) -> Sequence[Reached]:
    return [(axis, ONE) if times == 1 else None for axis, times in enumerate(TILE.of(node).repeats)]


def _gathered(node: Node) -> Sequence[Reached]:
    """Which are taken depends on numbers; axes behind give way to those of the indices."""
    x, indices = (operand.typed for operand in node.inputs)
    axis = GATHER.of(node).axis % x.rank
    return [None if own == axis else (own if own < axis else own + indices.rank - 1, ONE) for own in range(x.rank)]


def _resized(node: Node) -> Sequence[Reached]:
    op, x = RESIZE.of(node), node.inputs[0].typed
    return _over_space([resize_reach(op, x, node.typed, axis) for axis in range(x.rank - 2)])


def _mixing(axes: Callable[[Any, int], Iterable[int]]) -> ReachRule:
    """A rule of an op that keeps the shape and mixes these axes, (attributes, rank)."""
    return _first_only(lambda node: _own(node.typed.rank, *axes(node.op, node.typed.rank)))


WINDOWED: Mapping[OpDef[Any], ReachRule] = {
    **{kind: _first_only(lambda node: _over_space(_windows(node.op, _kernel(node)))) for kind in (*CONVS, *CONV_INTEGERS)},
    **{kind: _first_only(lambda node: _over_space(_windows(node.op, _kernel(node, 3)))) for kind in QLINEAR_CONVS},
    **{kind: _first_only(lambda node: _over_space(_spread(node.op, _kernel(node)))) for kind in CONV_TRANSPOSES},
    **{
        kind: _first_only(lambda node: _over_space(_windows(node.op, node.op.kernel)))
        for kind in (MAX_POOL, AVG_POOL, LP_POOL, MAX_POOL_INDICES)
    },
    MAX_UNPOOL: _unpool,
    MAX_POOL_GRADIENT: _max_pool_gradient,
}
MIXED: Mapping[OpDef[Any], ReachRule] = {
    **{kind: _mixing(lambda op, rank: range(1, rank)) for kind in (INSTANCE_NORM, GROUP_NORM)},
    **{kind: _mixing(lambda op, rank: range(2, rank)) for kind in (GLOBAL_AVG_POOL, GLOBAL_MAX_POOL)},
    **{kind: _mixing(lambda op, rank: (op.axis,)) for kind in (SOFTMAX, LOG_SOFTMAX, HARDMAX, LP_NORMALIZATION, CUM_SUM, CUM_PROD)},
    **{kind: _mixing(lambda op, rank: ()) for kind in (TRILU, QUANTIZE_LINEAR, DEQUANTIZE_LINEAR)},
    LOCAL_RESPONSE_NORM: _mixing(lambda op, rank: (1,)),
    LAYER_NORM: _mixing(lambda op, rank: range(op.axis % rank, rank)),
    MEAN_VARIANCE_NORM: _mixing(lambda op, rank: op.axes),
    DENSE: _first_only(_dense),
    MATMUL: _matmul,
    **{kind: _first_only(_reduced) for kind in (*REDUCTIONS, ARG_MAX, ARG_MIN)},
    **{kind: _first_only(_reduced) for kind in (REDUCE_L1, REDUCE_L2, REDUCE_SUM_SQUARE, REDUCE_LOG_SUM, REDUCE_LOG_SUM_EXP)},
    **{kind: _mixing(lambda op, rank: (op.axis,)) for kind in (TOP_K_VALUES, TOP_K_INDICES)},
}
MOVED: Mapping[OpDef[Any], ReachRule] = {
    CONCAT: lambda node, place: _own(node.typed.rank, node.op.axis),
    SLICE: _first_only(_sliced),
    PAD: _first_only(_padded),
    CENTER_CROP_PAD: _first_only(_centred),
    **{kind: _first_only(_reshaped) for kind in (FLATTEN, RESHAPE)},
    TRANSPOSE: _first_only(_transposed),
    DEPTH_TO_SPACE: _first_only(_to_space),
    SPACE_TO_DEPTH: _first_only(_to_depth),
    EXPAND: _first_only(lambda node: _broadcast(node.inputs[0].typed.shape, node.typed.shape)),
    TILE: _first_only(_tiled),
    GATHER: _first_only(_gathered),
    RESIZE: _first_only(_resized),
}
RULES: Mapping[OpDef[Any], ReachRule] = {**WINDOWED, **MIXED, **MOVED}
# Where what is read depends on numbers, where every unit reads all there is, or where nobody has asked yet. A test holds that each op is
# pointwise, has a rule or stands here, and that none with a window does.
READS_ALL: Mapping[str, Sequence[str]] = {
    "has no operands": ("input", "param", "opaque"),
    "adds up over every position": ("conv1d_weight_gradient", "conv2d_weight_gradient", "conv3d_weight_gradient"),
    "offsets, boxes or indices say what it reads": (
        *("deform_conv2d", "grid_sample", "roi_align", "non_max_suppression", "one_hot"),
        *("gather_elements", "gather_nd", "scatter_elements", "scatter_nd"),
    ),
    "each token may look at every other": ("attention", "rotary_embedding", "einsum", "rnn", "gru", "lstm"),
    "one number of the whole": ("dynamic_scale", "dynamic_zero"),
    "products of whole numbers": ("qlinear_matmul", "matmul_integer"),
    "its operand says no more than a shape, or a number": ("eye_like", "range", "random_uniform"),
    "another runtime computes it": ("opaque_result",),
}
