"""The rules: for a node, the kernel of ours that computes it, or None to leave it to its stock row. One maker an op, in one table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops.activation import LOG_SOFTMAX, SOFTMAX
from ....ir.ops.conv import CONV1D, CONV2D
from ....ir.ops.conv_transpose import CONV_TRANSPOSE1D, CONV_TRANSPOSE2D
from ....ir.ops.elementwise import CAST
from ....ir.ops.group import GROUP_NORM, INSTANCE_NORM, LAYER_NORM
from ....ir.ops.linear import DENSE
from ....ir.ops.norm import BATCH_NORM, LOCAL_RESPONSE_NORM
from ....ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL
from ....ir.ops.resize import RESIZE
from ....ir.ops.select import GATHER
from ....ir.ops.shape import CONCAT, FLATTEN, PAD, SLICE, TRANSPOSE
from ....ir.types import DTYPES, Array
from ..cpu.kernels.epilogue import EpilogueStep
from ..cpu.kernels.norms import gain_and_shift
from ..cpu.kernels.resize import can_resize, tables
from ..cpu.kernels.windows import Window
from ..cpu.laid import Argument, ParamValues
from ..cpu.work import Followers, batch_of, in_rows, kernel_of, only_reader
from .kernels import borders
from .kernels.choice import product_kernel
from .kernels.depthwise import depthwise_kernel, gpu_depthwise_filters, gpu_transposed_depthwise
from .kernels.epilogue import GPU_STEPS
from .kernels.layout import GpuPacking, Stored, by_halves, per_channel
from .kernels.moves import gpu_resize
from .kernels.norms import gpu_batch_norm, gpu_local_response_norm
from .kernels.pointwise import gpu_by_channel, gpu_pointwise
from .kernels.pools import gpu_avg_pool, gpu_global_avg_pool, gpu_global_max_pool, gpu_max_pool
from .kernels.sizes import ConvSizes, filters
from .kernels.transposed import TransposedSizes, phase_filters_for_gpu, transposed_kernel
from .move_rules import concat, gather, one_pixel, piece, softmax
from .norm_rules import channel_norm, group_norm
from .work import Around, GpuWork, element_of, following, gpu_step_of, image_of, packed_for_gpu

__all__ = [
    "GPU_MAKERS",
    "average_of",
    "batch_norm_of",
    "global_pool_of",
    "greatest_of",
    "resize_of",
    "response_norm_of",
]

MOST_PHASES = 8  # along an axis


def conv(around: Around, node: Node) -> GpuWork | None:
    """A product of matrices on tensor cores; a channel by itself on the others."""
    x, w, *bias = node.inputs
    if not (around.may_pad(x) and around.may_pad(node)) or any(param.weights is None for param in (w, *bias)):
        return None
    (c_in, rows, cols), (c_out, *_), op = image_of(x), w.typed.concrete(), in_rows(node.op)
    sizes = ConvSizes(batch_of(x), c_in, c_out, rows, cols, kernel_of(w), op.strides, op.pads, op.dilations, op.groups)
    return _depthwise(around, node, sizes) if op.groups == c_in == c_out > 1 else _product(around, node, sizes, x, w, bias)


def _depthwise(around: Around, node: Node, sizes: ConvSizes) -> GpuWork:
    (x, w, *bias), element = node.inputs, element_of(node)
    covers, steps, others = following(around, node)
    window = _window(node, sizes.kernel)
    packed = packed_for_gpu(f"{node.name}.packed", gpu_depthwise_filters(sizes.c_in, window.kernel, element), w)
    kernel = depthwise_kernel(sizes.batch, sizes.c_in, window, element.name, steps, around.arch)
    return GpuWork(covers, kernel, (x,), (packed, _bias_of(node, sizes.c_out, bias, by_halves)), others)


def dense(around: Around, node: Node, flatten: Node | None = None) -> GpuWork | None:
    """On scores as images of one pixel; on what is flattened to them as a convolution whose window is the image."""
    x, w, *bias = node.inputs
    image = flatten.inputs[0] if flatten else x
    fits = around.may_pad(image) and around.may_pad(node) and node.typed.rank == 2
    if not fits or any(param.weights is None for param in (w, *bias)):
        return None
    (c_in, rows, cols), (c_out, _) = image_of(image), w.typed.concrete()
    sizes = ConvSizes(batch_of(image), c_in, c_out, rows, cols, (rows, cols))
    return _product(around, node, sizes, image, w, bias, () if flatten is None else (flatten,))


def conv_transpose(around: Around, node: Node) -> GpuWork | None:
    """Of few phases, whose places are written out; a channel by itself by any."""
    x, w, *bias = node.inputs
    op = in_rows(node.op)
    if not (around.may_pad(x) and around.may_pad(node)) or any(param.weights is None for param in (w, *bias)):
        return None
    (c_in, rows, cols), (c_out, *whole), element = image_of(x), image_of(node), element_of(node)
    layer = (kernel_of(w), op.strides, op.dilations, op.pads[:2], (whole[0], whole[1]), op.groups)
    sizes = TransposedSizes(batch_of(x), c_in, c_out, rows, cols, *layer)
    is_depthwise = op.groups == c_in == c_out > 1
    if not is_depthwise and max(op.strides) > MOST_PHASES:
        return None
    covers, steps, others = following(around, node)
    if is_depthwise:
        kernel, packing = gpu_transposed_depthwise.of(sizes, element.name, steps), gpu_depthwise_filters(c_in, sizes.taps, element)
    else:
        kernel, packing = transposed_kernel(sizes, element, steps, around.arch), phase_filters_for_gpu(sizes, element)
    packed = packed_for_gpu(f"{node.name}.packed", packing, w)
    added = _bias_of(node, c_out, bias, by_halves if is_depthwise else per_channel)
    return GpuWork(covers, kernel, (x,), (packed, added), others)


def _product(around: Around, node: Node, sizes: ConvSizes, x: Node, w: Node, bias: list[Node], before: tuple[Node, ...] = ()) -> GpuWork:
    covers, steps, others = following(around, node)
    element = element_of(node)
    packed = packed_for_gpu(f"{node.name}.packed", filters(sizes, element), w)
    given = (packed, _bias_of(node, sizes.c_out, bias))
    return GpuWork((*before, *covers), product_kernel(sizes, element, steps, around.arch), (x,), given, others)


def _bias_of(node: Node, channels: int, bias: list[Node], packing: Callable[[int], GpuPacking] = per_channel) -> Argument:
    added = packing(channels)
    return Argument(f"{node.name}.bias", added.shape, added.dtype, _bias(channels, bias, added.pack))


def _bias(channels: int, bias: list[Node], pack: Callable[[Array], Array]) -> Callable[[ParamValues], Array]:
    return lambda values: pack(values(bias[0]) if bias else np.zeros(channels, np.float32))


def flat(around: Around, node: Node) -> GpuWork | None:
    """With the dense layer that alone reads it, which takes the image as it lies; a pixel is a row of scores as it is."""
    reader = only_reader(around.graph, node)
    is_read_so = reader is not None and reader.kind is DENSE and reader.inputs[0] is node and node.op.axis == 1
    work = dense(around, reader, node) if reader is not None and is_read_so else None
    return work or (one_pixel(node.inputs[0], node) if node.inputs[0] in around.padded and around.may_stay(node) else None)


def pool(around: Around, node: Node) -> GpuWork | None:
    (x,) = node.inputs
    if not (around.may_pad(x) and around.may_pad(node)):
        return None
    covered = following(around, node)
    return greatest_of(x, covered) if node.kind is MAX_POOL else average_of(x, covered)


def greatest_of(x: Node, covered: Followers) -> GpuWork:
    """A max pool of `x` and what follows it."""
    covers, steps, others = covered
    kernel = gpu_max_pool.of(batch_of(x), image_of(x)[0], _window(covers[0]), element_of(x).dtype, steps)
    return GpuWork(covers, kernel, (x,), others=others)


def average_of(x: Node, covered: Followers) -> GpuWork:
    """An average pool of `x` and what follows it."""
    (node, *_), steps, others = covered
    counted = node.op.count_include_pad
    kernel = gpu_avg_pool.of(batch_of(x), image_of(x)[0], _window(node), counted, element_of(x).dtype, steps)
    return GpuWork(covered[0], kernel, (x,), others=others)


def _window(node: Node, kernel: tuple[int, int] | None = None) -> Window:
    (_, rows, cols), op = image_of(node.inputs[0]), in_rows(node.op)
    return Window(rows, cols, kernel or op.kernel, op.strides, op.pads, op.dilations, getattr(op, "ceil_mode", False))


def global_pool(around: Around, node: Node) -> GpuWork | None:
    (x,) = node.inputs
    return global_pool_of(x, (node,)) if around.may_pad(x) and around.may_pad(node) else None


def global_pool_of(x: Node, covers: tuple[Node, ...]) -> GpuWork | None:
    if covers[0].typed.rank < 3:
        return None
    kernel = gpu_global_avg_pool if covers[0].kind is GLOBAL_AVG_POOL else gpu_global_max_pool
    return GpuWork(covers, kernel.of(batch_of(x), *image_of(x), element_of(x).dtype), (x,))


def local_response_norm(around: Around, node: Node) -> GpuWork | None:
    (x,) = node.inputs
    return response_norm_of(x, (node,)) if around.may_pad(x) else None


def response_norm_of(x: Node, covers: tuple[Node, ...]) -> GpuWork | None:
    if x.typed.rank < 3:
        return None
    return GpuWork(covers, gpu_local_response_norm.of(covers[0].op, batch_of(x), *image_of(x), element_of(x).dtype), (x,))


def batch_norm(around: Around, node: Node) -> GpuWork | None:
    """One that no layer took in."""
    x = node.inputs[0]
    if not (around.may_pad(x) and around.may_pad(node)):
        return None
    return batch_norm_of(x, following(around, node))


def batch_norm_of(x: Node, covered: Followers) -> GpuWork | None:
    covers, steps, others = covered
    node, *_ = covers
    _, *stats = node.inputs
    if any(stat.weights is None for stat in stats):
        return None
    packing = by_halves(image_of(x)[0])

    def packed(which: int) -> Callable[[ParamValues], Array]:
        return lambda values: packing.pack(gain_and_shift(node.op, *map(values, stats))[which])

    numbers = [Argument(f"{node.name}.{name}", packing.shape, "f32", packed(i)) for i, name in enumerate(("gain", "shift"))]
    kernel = gpu_batch_norm.of(batch_of(x), *image_of(x), element_of(x).dtype, steps)
    return GpuWork(covers, kernel, (x,), tuple(numbers), others)


def resize(around: Around, node: Node) -> GpuWork | None:
    (x,) = node.inputs
    return resize_of(x, (node,)) if around.may_pad(x) and around.may_pad(node) else None


def resize_of(x: Node, covers: tuple[Node, ...]) -> GpuWork | None:
    """Places and shares are tables that the kernel reads."""
    node, *_ = covers
    if not can_resize(node.op):
        return None
    (channels, rows, cols), (_, *target), op = image_of(x), image_of(node), in_rows(node.op)
    given = [
        Argument(f"{node.name}.table{i}", table.shape, "i32" if table.dtype == np.int32 else "f32", lambda values, table=table: table)
        for i, table in enumerate(tables(op, rows, cols))
    ]
    sizes = (batch_of(x), channels, (rows, cols), (target[0], target[1]), op.mode == "bilinear", element_of(x).dtype)
    return GpuWork(covers, gpu_resize.of(*sizes), (x,), tuple(given))


def elementwise(around: Around, node: Node) -> GpuWork | None:
    """A chain of its own, where no kernel before it could take it in; its first step may read a gate or a constant a channel."""
    if not around.may_stay(node) or not (around.may_pad(node) or node.inputs[0] in around.padded):
        return None
    if not any(operand in around.padded for operand in node.inputs):
        return None
    covers, steps, others = following(around, node)
    batch, image, dtype = batch_of(node), image_of(node), element_of(node).dtype
    first = gpu_step_of(around, node, node.inputs[0])
    if first is not None:
        kernel = gpu_pointwise.of(batch, image, dtype, (first, *steps))
        return GpuWork(covers, kernel, node.inputs[:1], others=(*node.inputs[1:], *others))
    if len(node.inputs) != 2:
        return None
    x, other = sorted(node.inputs, key=lambda operand: operand.type != node.type)
    first = EpilogueStep(node.kind, node.op, 1, node.inputs[0] is other)
    if x.type != node.type or x.weights is not None or not (around.may_pad(x) or x in around.padded):
        return None
    if other.weights is not None and _is_by_channel(other.typed.concrete(), node.typed.rank, image[0]):
        numbers = packed_for_gpu(f"{node.name}.packed", by_halves(image[0]), other)
        return GpuWork(covers, gpu_by_channel.of(batch, image, dtype, first, steps, False), (x,), (numbers,), others)
    if node.typed.rank == 4 and (around.may_pad(other) or other in around.padded) and other.typed.shape == (*node.typed.shape[:2], 1, 1):
        return GpuWork(covers, gpu_by_channel.of(batch, image, dtype, first, steps, True), (x, other), others=others)
    return None


def _is_by_channel(shape: tuple[int, ...], rank: int, channels: int) -> bool:
    """Of a constant that is a number, or one for each channel."""
    if len(shape) > rank:
        return False
    _, of_channels, *_ = (1,) * (rank - len(shape)) + shape
    return of_channels in (1, channels) and math.prod(shape) == of_channels


def cast(around: Around, node: Node) -> GpuWork | None:
    """To the type of the kernels, and from it, the layout changes on the way."""
    (x,) = node.inputs
    if x.weights is not None or not (x.typed.is_float and node.typed.is_float):
        return None
    if around.may_pad(node) and x not in around.padded and any(reader.kind in GPU_MAKERS for reader in around.graph.readers[node]):
        kernel, plain = borders.enter, x
    elif x in around.padded and not around.may_pad(node):
        kernel, plain = borders.leave, node
    elif x in around.padded:
        covers, steps, others = following(around, node)
        pointwise = gpu_pointwise.of(batch_of(x), image_of(x), element_of(x).dtype, steps)
        return GpuWork(covers, pointwise.storing(Stored(element_of(node).dtype)), (x,), others=others)
    else:
        return None
    given, made = (DTYPES[each.typed.dtype].name for each in (x, node))
    return GpuWork((node,), kernel.of(batch_of(x), *image_of(x), given, made), (x,), plain=frozenset([plain]))


GPU_MAKERS: dict[OpDef[Any], Callable[[Around, Node], GpuWork | None]] = {
    CAST: cast,
    CONV1D: conv,
    CONV2D: conv,
    CONV_TRANSPOSE1D: conv_transpose,
    CONV_TRANSPOSE2D: conv_transpose,
    DENSE: dense,
    FLATTEN: flat,
    MAX_POOL: pool,
    AVG_POOL: pool,
    GLOBAL_AVG_POOL: global_pool,
    GLOBAL_MAX_POOL: global_pool,
    CONCAT: concat,
    PAD: piece,
    SLICE: piece,
    GATHER: gather,
    SOFTMAX: softmax,
    LOG_SOFTMAX: softmax,
    BATCH_NORM: batch_norm,
    LOCAL_RESPONSE_NORM: local_response_norm,
    **dict.fromkeys((GROUP_NORM, INSTANCE_NORM, LAYER_NORM), group_norm),
    TRANSPOSE: lambda around, node: channel_norm(around, node, node.inputs[0]),
    RESIZE: resize,
    **dict.fromkeys(GPU_STEPS, elementwise),
}
