"""The rules: for a node, the kernel that computes it, or None to leave it to its stock row. One maker an op, in one table."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops.activation import CLIP, LEAKY_RELU, RELU, SIGMOID, SOFTMAX
from ....ir.ops.conv import CONV2D
from ....ir.ops.elementwise import ADD, MUL, SUB
from ....ir.ops.gate import HARD_SIGMOID, HARD_SWISH
from ....ir.ops.linear import DENSE
from ....ir.ops.norm import BATCH_NORM, LOCAL_RESPONSE_NORM
from ....ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL
from ....ir.ops.resize import RESIZE
from ....ir.ops.shape import CONCAT, SLICE
from ....ir.types import Array
from ..processor import Processor
from . import dense, depthwise, moves, norms, pointwise, pools, winograd
from . import resize as resizes
from .direct import CACHE, Direct, direct, pack, pack_bias
from .epilogue import Step, step_of
from .forms import form_of, tunable_direct, tunable_winograd
from .kernel import LANES, blocks
from .windows import Window
from .work import Argument, Scene, Values, Winograd, Work, batch_of, extents, followers, is_blocked, only_reader

__all__ = ["MAKERS", "WINOGRAD", "winograd_of"]

WINOGRAD = {"off": 0, "f2": 2, "f4": 4, "auto": 0}  # results of a tile along an axis; `auto` decides layer by layer

WINOGRAD_4 = 10  # rows and columns from which tiles of 4x4 results beat those of 2x2: measured on AVX-512, 16 to 1024 channels


# --- convolutions ----------------------------------------------------------------------------------------------------


def conv(scene: Scene, node: Node) -> Work | None:
    """Depthwise, Winograd for 3x3 of stride 1, else direct."""
    x, w, *bias = node.inputs
    if not (is_blocked(x) and is_blocked(node)) or w.weights is None or any(b.weights is None for b in bias):
        return None
    (c_in, rows, cols), (c_out, _, *taps) = extents(x), w.typed.concrete()
    kernel, op = (taps[0], taps[1]), node.op
    covers, steps, others = followers(scene, node)
    batch = batch_of(x)
    shift = _bias(node, c_out, bias)
    if op.groups == c_in == c_out:
        window = Window(rows, cols, kernel, op.strides, op.pads, op.dilations)
        filters = Argument(f"{node.name}.packed", (blocks(c_in), *kernel, LANES), "f32", lambda values: depthwise.pack_filters(values(w)))
        build = functools.partial(depthwise.depthwise, batch, c_in, window, steps, scene.processor)
        return Work(covers, build, (x,), (filters, shift), others)
    m = winograd_of(node, scene.winograd, scene.processor)
    if m:
        pool = None if others else _pool_of_pairs(scene, covers[-1])
        covers = (*covers, pool) if pool else covers
        size = winograd.Tiled(m, batch, c_in, c_out, rows, cols, op.pads, steps, pool is not None, processor=scene.processor)
        tiles = Argument(f"{node.name}.packed", size.weights, "f32", lambda values: winograd.pack(m, values(w)))
        tunable = tunable_winograd(size)
        form = form_of(tunable, scene.tuned)
        build = functools.partial(winograd.winograd_kernel, replace(size, form=form))
        return Work(covers, build, (x,), (tiles, shift), others, tile=m, tunable=tunable, form=form)
    return _direct(scene, node)


def _pool_of_pairs(scene: Scene, node: Node) -> Node | None:
    """The max pool of 2x2 values that alone reads a node, and of whose windows none reaches over the edge."""
    reader = only_reader(scene.graph, node)
    if reader is None or reader.kind is not MAX_POOL:
        return None
    op = reader.op
    if (op.kernel, op.strides, op.dilations) != ((2, 2), (2, 2), (1, 1)) or any(op.pads):
        return None
    (_, rows, cols), (_, out_rows, out_cols) = extents(node), extents(reader)
    return reader if (out_rows, out_cols) == (rows // 2, cols // 2) and out_rows and out_cols else None


def _direct(scene: Scene, node: Node, norm: _Norm | None = None) -> Work:
    """A convolution of blocked tensors, after the batch norm before it where there is one."""
    x, w, *bias = node.inputs
    (c_in, rows, cols), (c_out, _, *taps), op = extents(x), w.typed.concrete(), node.op
    covers, steps, others = followers(scene, node)
    groups, merged = _wide_groups(op.groups, c_in, c_out)
    is_first = op.groups == 1 and c_in < LANES // 2 and norm is None  # a block of its own few channels, read as the image lies
    lanes, blocks_in = (c_in, 1) if is_first else (LANES, blocks(c_in))
    window = Window(rows, cols, (taps[0], taps[1]), op.strides, op.pads, op.dilations)
    before = norm.steps if norm else None
    size = Direct(batch_of(x), blocks_in, lanes, window, blocks(c_out), groups, steps, before, processor=scene.processor)
    packed = Argument(
        f"{node.name}.packed", size.weights, "f32", lambda values: pack(_widened(values(w), op.groups, merged), lanes, groups)
    )
    arguments = (packed, _bias(node, c_out, bias))
    tunable = tunable_direct(size)
    form = form_of(tunable, scene.tuned)
    build = functools.partial(direct, replace(size, form=form))
    if norm is not None:
        covers, x, arguments = (*norm.covers, *covers), norm.covers[0].inputs[0], (*norm.arguments, *arguments)
    return Work(covers, build, (x,), arguments, others, frozenset([x]) if is_first else frozenset(), tunable=tunable, form=form)


def winograd_of(node: Node, asked: Winograd, processor: Processor) -> int:
    """The tile of the Winograd form that computes a convolution, or 0 for none. `asked` is one of WINOGRAD, or tiles by name."""
    op, (_, rows, cols) = node.op, extents(node)
    _, c_in, *kernel = node.inputs[1].typed.concrete()
    if kernel != [3, 3] or op.strides != (1, 1) or op.dilations != (1, 1) or op.groups != 1 or c_in < LANES:
        return 0
    if not isinstance(asked, str):
        return asked.get(node.name, 0)
    if asked != "auto":
        return WINOGRAD[asked]
    if min(rows, cols) >= WINOGRAD_4:
        return 4
    if 4 * math.prod(node.inputs[1].typed.concrete()) <= CACHE:
        return 2
    # weights come from memory meanwhile, and are more where products are fewer
    return 2 if _cost(16 * -(-rows // 2) * -(-cols // 2), 16, processor) < _cost(9 * rows * cols, 9, processor) else 0


def _cost(products: int, weights: int, processor: Processor) -> float:
    """Of a pair of channels, as many multiply-adds."""
    return max(products, 4 * weights * processor.macs_per_byte)


def _bias(node: Node, c_out: int, bias: list[Node]) -> Argument:
    def make(values: Values) -> Array:
        return pack_bias(values(bias[0]) if bias else None, c_out)

    return Argument(f"{node.name}.bias", (blocks(c_out), LANES), "f32", make)


def _wide_groups(groups: int, c_in: int, c_out: int) -> tuple[int, int]:
    """Groups of whole blocks, and how many of the given ones each holds: narrow ones are put side by side, with zeros between."""
    for merged in range(1, groups + 1):
        if groups % merged == 0 and (c_in // groups * merged) % LANES == 0 and (c_out // groups * merged) % LANES == 0:
            return groups // merged, merged
    return 1, groups


def _widened(w: Array, groups: int, merged: int) -> Array:
    """[O,C/groups,...] as [O,merged*C/groups,...]: each filter reads its own channels of the wider group."""
    if merged == 1:
        return w
    c_out, c_in, *kernel = w.shape
    wide = np.zeros((groups // merged, merged, c_out // groups, merged, c_in, *kernel), w.dtype)
    split = w.reshape(groups // merged, merged, c_out // groups, c_in, *kernel)
    for i in range(merged):
        wide[:, i, :, i] = split[:, i]
    return wide.reshape(c_out, merged * c_in, *kernel)


# --- the others ------------------------------------------------------------------------------------------------------


def pool(scene: Scene, node: Node) -> Work | None:
    (x,) = node.inputs
    if not (is_blocked(x) and is_blocked(node)):
        return None
    (channels, rows, cols), op = extents(x), node.op
    if node.kind in (GLOBAL_AVG_POOL, GLOBAL_MAX_POOL):
        maker = pools.global_avg_pool if node.kind is GLOBAL_AVG_POOL else pools.global_max_pool
        return Work((node,), functools.partial(maker, batch_of(x), channels, rows, cols), (x,))
    window = Window(rows, cols, op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode)
    sizes = (batch_of(x), channels, window)
    if node.kind is MAX_POOL:
        return Work((node,), functools.partial(pools.max_pool, *sizes, scene.processor), (x,))
    return Work((node,), functools.partial(pools.avg_pool, *sizes, op.count_include_pad, scene.processor), (x,))


def concat(scene: Scene, node: Node) -> Work | None:
    """Along the channels."""
    if node.op.axis not in (1, -3) or not all(map(is_blocked, (node, *node.inputs))):
        return None
    _, rows, cols = extents(node)
    channels = tuple(extents(operand)[0] for operand in node.inputs)
    is_whole = batch_of(node) == 1 and all(c % LANES == 0 for c in channels[:-1])
    starts = tuple(itertools.accumulate(map(blocks, channels[:-1]), initial=0)) if is_whole else ()
    return Work((node,), functools.partial(moves.concat, batch_of(node), channels, rows, cols), node.inputs, starts=starts)


def elementwise(scene: Scene, node: Node) -> Work | None:
    """A chain of its own, where no kernel before it could take it in; its first step may read a gate or a constant a channel."""
    if not is_blocked(node):
        return None
    covers, steps, others = followers(scene, node)
    sizes = (batch_of(node), *extents(node))
    first = step_of(node, node.inputs[0])
    if first is not None:
        build = functools.partial(pointwise.pointwise, *sizes, (first, *steps))
        return Work(covers, build, node.inputs[:1], (), (*node.inputs[1:], *others))
    if len(node.inputs) != 2:
        return None
    x, other = sorted(node.inputs, key=lambda operand: operand.type != node.type)
    first = Step(node.kind, node.op, 1, node.inputs[0] is other)
    if x.type != node.type or other.typed.dtype != "f32":
        return None
    channels = sizes[1]
    if other.weights is not None and other.typed.concrete() in ((channels, 1, 1), (1, channels, 1, 1)):
        constant = Argument(
            f"{node.name}.packed", (blocks(channels), LANES), "f32", lambda values: pack_bias(values(other).ravel(), channels)
        )
        return Work(covers, functools.partial(pointwise.by_channel, *sizes, first, steps), (x,), (constant,), others)
    if other.weights is None and is_blocked(other) and other.typed.shape == (*node.typed.shape[:2], 1, 1):
        return Work(covers, functools.partial(pointwise.by_image, *sizes, first, steps), (x, other), (), others)
    return None


@dataclass(frozen=True, slots=True)
class _Norm:
    """A batch norm and what follows it element by element; its arguments are a gain and a shift a channel, [CB,LANES]."""

    covers: tuple[Node, ...]
    steps: tuple[Step, ...]
    arguments: tuple[Argument, Argument]


def batch_norm(scene: Scene, node: Node) -> Work | None:
    """A gain and a shift a channel: computed where a 1x1 convolution reads it, or else as a depthwise convolution of single pixels."""
    x, *stats = node.inputs
    if not is_blocked(x) or any(stat.weights is None for stat in stats):
        return None
    channels, rows, cols = extents(x)
    covers, steps, others = followers(scene, node)

    def gain(values: Values) -> Array:
        return values(stats[0]).astype(np.float64) / np.sqrt(values(stats[3]).astype(np.float64) + node.op.epsilon)

    def packed_gain(values: Values) -> Array:
        return pack_bias(gain(values).astype(np.float32), channels)

    def packed_shift(values: Values) -> Array:
        return pack_bias((values(stats[1]) - values(stats[2]) * gain(values)).astype(np.float32), channels)

    shape = (blocks(channels), LANES)
    shift = Argument(f"{node.name}.shift", shape, "f32", packed_shift)
    reader = _pixelwise_reader(scene, covers[-1])
    if reader is not None and not others:
        return _direct(scene, reader, _Norm(covers, steps, (Argument(f"{node.name}.gain", shape, "f32", packed_gain), shift)))
    filters = Argument(f"{node.name}.gain", (shape[0], 1, 1, LANES), "f32", lambda values: packed_gain(values).reshape(-1, 1, 1, LANES))
    build = functools.partial(depthwise.depthwise, batch_of(x), channels, Window(rows, cols, (1, 1)), steps, scene.processor)
    return Work(covers, build, (x,), (filters, shift), others)


def _pixelwise_reader(scene: Scene, node: Node) -> Node | None:
    """The 1x1 convolution that alone reads a value, pixel by pixel."""
    reader = only_reader(scene.graph, node)
    if (
        reader is None
        or reader.kind is not CONV2D
        or reader.inputs[0] is not node
        or not is_blocked(reader)
        or reader.inputs[1].weights is None
    ):
        return None
    op, (*_, k_rows, k_cols) = reader.op, reader.inputs[1].typed.concrete()
    is_pixelwise = (k_rows, k_cols) == op.strides == (1, 1) and not any(op.pads) and op.groups == 1
    return reader if is_pixelwise and all(b.weights is not None for b in reader.inputs[2:]) else None


def local_response_norm(scene: Scene, node: Node) -> Work | None:
    (x,) = node.inputs
    if not is_blocked(x):
        return None
    return Work((node,), functools.partial(norms.local_response_norm, node.op, batch_of(x), *extents(x)), (x,))


def resize(scene: Scene, node: Node) -> Work | None:
    """Places and shares are tables that the kernel reads."""
    (x,) = node.inputs
    if not (is_blocked(x) and is_blocked(node) and resizes.can_resize(node.op)):
        return None
    channels, rows, cols = extents(x)
    tables = [
        Argument(f"{node.name}.table{i}", table.shape, "i32" if table.dtype == np.int32 else "f32", lambda values, table=table: table)
        for i, table in enumerate(resizes.tables(node.op, rows, cols))
    ]
    return Work((node,), functools.partial(resizes.resize, node.op, batch_of(x), channels, rows, cols), (x,), tuple(tables))


def dense_layer(scene: Scene, node: Node) -> Work | None:
    """On plain rows, with what follows each score."""
    x, w, *bias = node.inputs
    if node.typed.dtype != "f32" or any(param.weights is None for param in (w, *bias)):
        return None
    c_out, c_in = w.typed.concrete()
    covers, steps, others = followers(scene, node)
    packed = Argument(f"{node.name}.packed", (blocks(c_out), c_in, LANES), "f32", lambda values: dense.pack_dense(values(w)))
    build = functools.partial(dense.dense, batch_of(x), c_in, c_out, steps, scene.processor)
    return Work(covers, build, (x,), (packed, _bias(node, c_out, bias)), others, frozenset([x]))


def softmax(scene: Scene, node: Node) -> Work | None:
    """Of rows of scores."""
    (x,), shape = node.inputs, node.typed.shape
    if node.typed.dtype != "f32" or len(shape) != 2 or node.op.axis not in (1, -1) or not isinstance(shape[1], int) or not shape[1]:
        return None
    return Work((node,), functools.partial(dense.softmax, batch_of(x), shape[1]), (x,), (), (), frozenset([x]))


def cut(scene: Scene, node: Node) -> Work | None:
    """Whole blocks of channels, or every so manieth row and column."""
    return channels_from(node) or subsample(scene, node)


def channels_from(node: Node) -> Work | None:
    """Channels from the first of a block on."""
    (x,), op = node.inputs, node.op
    if not (is_blocked(x) and is_blocked(node)) or op.axes not in ((1,), (-3,)) or op.steps not in ((), (1,)):
        return None
    channels, rows, cols = extents(x)
    start, stop, _ = slice(op.starts[0], op.ends[0]).indices(channels)
    if start % LANES:
        return None
    starts = (-start // LANES,) if batch_of(x) == 1 else ()
    return Work((node,), functools.partial(moves.slice_blocks, batch_of(x), channels, rows, cols, start, stop), (x,), starts=starts)


def subsample(scene: Scene, node: Node) -> Work | None:
    """Every so manieth row and column from the first on, as a pool of single pixels."""
    (x,), op = node.inputs, node.op
    if not (is_blocked(x) and is_blocked(node)) or not op.steps:
        return None
    channels, rows, cols = extents(x)
    strides = {2: 1, 3: 1}
    for axis, start, end, step in zip(op.axes, op.starts, op.ends, op.steps, strict=True):
        axis = axis + 4 if axis < 0 else axis
        if axis not in strides or start != 0 or step < 1 or end < (rows, cols)[axis - 2]:
            return None
        strides[axis] = step
    window = Window(rows, cols, (1, 1), (strides[2], strides[3]))
    return Work((node,), functools.partial(pools.max_pool, batch_of(x), channels, window, scene.processor), (x,))


MAKERS: dict[OpDef, Callable[[Scene, Node], Work | None]] = {
    CONV2D: conv,
    MAX_POOL: pool,
    AVG_POOL: pool,
    GLOBAL_AVG_POOL: pool,
    GLOBAL_MAX_POOL: pool,
    CONCAT: concat,
    SLICE: cut,
    BATCH_NORM: batch_norm,
    LOCAL_RESPONSE_NORM: local_response_norm,
    RESIZE: resize,
    DENSE: dense_layer,
    SOFTMAX: softmax,
    **dict.fromkeys((RELU, CLIP, LEAKY_RELU, SIGMOID, HARD_SIGMOID, HARD_SWISH, ADD, SUB, MUL), elementwise),
}
