"""The rules for convolutions: which kernel computes one, and what it takes in of its neighbours.

A batch norm that no layer took in is a convolution, too: of single pixels and every channel by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ....ir.graph import Node
from ....ir.ops.conv import CONVS
from ....ir.ops.pool import MAX_POOL
from ....ir.types import Array
from .gradient_rules import norm_of_batch
from .kernels import planes, volumes
from .kernels.depthwise import depthwise, depthwise_filters
from .kernels.direct.kernel import direct_kernel
from .kernels.direct.packing import direct_filters, whole_groups
from .kernels.direct.size import Direct
from .kernels.epilogue import ALONE, FLAT, Steps
from .kernels.layout import LANES, Packing, blocks, constants
from .kernels.narrow import can_turn, narrow, narrow_filters
from .kernels.norms import gain_and_shift
from .kernels.strassen.kernel import quartered_pixels
from .kernels.strassen.quarters import QUARTERED, quarter_weights
from .kernels.transposed.kernel import depthwise_transposed, transposed
from .kernels.transposed.packing import depthwise_phase_filters, phase_filters
from .kernels.transposed.phases import Transposed
from .kernels.windows import UNROLLED, Window
from .kernels.winograd.arrangement import Tiled
from .kernels.winograd.filters import winograd_weights
from .kernels.winograd.groups import group_filters, winograd_groups
from .kernels.winograd.kernel import winograd_kernel
from .kernels.winograd.transforms import tile_filters
from .laid import Argument, ParamValues
from .quartered import quarters_of
from .tiles import possible_tiles
from .unit_strides import turned, unit_strides
from .work import (
    HALF,
    Surroundings,
    Work,
    batch_of,
    extents,
    followers,
    has_blocks,
    in_rows,
    is_blocked,
    is_blocked_layer,
    kernel_of,
    only_reader,
    packed,
    transformed,
)

__all__ = ["batch_norm", "bias_of", "conv", "conv_of_volume", "conv_transpose"]

MOST_LATTICES = 16  # windows of a transposed convolution's phases, each written out


def conv(around: Surroundings, node: Node) -> Work | None:
    """Depthwise, on blocks or planes, in narrow groups, by quarters, Winograd for 3x3 and 5x5 of stride 1, else direct."""
    if not has_blocks(node):
        return None
    x, w, *_ = node.inputs
    if node.op.groups == extents(x)[0] == w.typed.concrete()[0]:
        return _depthwise(around, node)
    if can_turn(node.op.groups, extents(x)[0], w.typed.concrete()[0], kernel_of(w)):
        return _narrow(around, node)
    m = around.tiles.get(node.name)
    if m == QUARTERED and quarters_of(node) is not None:
        return _quartered(around, node)
    if m not in possible_tiles(node):
        return _direct(around, node)
    return _winograd(around, node, m) if node.op.groups == 1 else _winograd_groups(around, node, m)


def _window(node: Node) -> Window:
    """A convolution's way over its input."""
    (_, rows, cols), op = extents(node.inputs[0]), in_rows(node.op)
    return Window(rows, cols, kernel_of(node.inputs[1]), op.strides, op.pads, op.dilations)


def _depthwise(around: Surroundings, node: Node) -> Work:
    """On blocks; or on planes, where an image of few channels lies as it was given."""
    (x, w, *bias), window = node.inputs, _window(node)
    channels = extents(x)[0]
    if x in around.graph.inputs and x.typed.dtype != HALF and is_blocked_layer(node) and channels < LANES // 2 and planes.can_slide(window):
        return _on_planes(around, node, window)
    covers, steps, others = followers(around, node)
    arguments = (packed(f"{node.name}.packed", depthwise_filters(channels, window.kernel), w), bias_of(node, channels, bias))
    return Work(covers, depthwise.of(batch_of(x), channels, window, steps, around.processor), (x,), arguments, others)


def _on_planes(around: Surroundings, node: Node, window: Window) -> Work:
    x, w, *bias = node.inputs
    covers, steps, _ = followers(around, node, ALONE)
    channels = extents(x)[0]
    filters = packed(f"{node.name}.packed", planes.plane_filters(channels, window.kernel), w)
    arguments = (filters, Argument(f"{node.name}.bias", (channels,), "f32", _bias(channels, bias)))
    kernel = planes.depthwise_planes.of(batch_of(x), channels, window, steps, around.processor)
    return Work(covers, kernel, (x,), arguments, plain=frozenset([x, covers[-1]]))


def _narrow(around: Surroundings, node: Node) -> Work:
    """In groups of which a block holds several whole."""
    (x, w, *bias), window = node.inputs, _window(node)
    channels, group = extents(x)[0], w.typed.concrete()[1]
    covers, steps, others = followers(around, node)
    arguments = (packed(f"{node.name}.packed", narrow_filters(channels, group, window.kernel), w), bias_of(node, channels, bias))
    return Work(covers, narrow.of(batch_of(x), channels, group, window, steps, around.processor), (x,), arguments, others)


def _quartered(around: Surroundings, node: Node) -> Work:
    """Of a 1x1 convolution: pixels are rows."""
    (x, w, *bias), (_, rows, cols) = node.inputs, extents(node)
    covers, steps, others = followers(around, node)
    size = quarters_of(node, steps, around.processor)
    assert size is not None
    filters = quarter_weights(size)
    of_taps = Packing(filters.shape, lambda w: filters.pack(w[:, :, 0, 0].T))
    kernel = replace(quartered_pixels.of(size, (rows, cols)), tile=QUARTERED, twice=size.repeats)
    return Work(covers, kernel, (x,), (packed(f"{node.name}.packed", of_taps, w), bias_of(node, size.c_out, bias)), others)


def _winograd(around: Surroundings, node: Node, m: int) -> Work:
    """By tiles of m x m results, with the max pool of 2x2 after it where there is one, and phase by phase where it is dilated."""
    form = unit_strides(node)
    assert form is not None
    x, w, *bias = node.inputs
    (c_in, rows, cols), c_out, (top, left, bottom, right) = extents(x), extents(node)[0], form.pads
    covers, steps, others = followers(around, node, FLAT, gates=False)
    down, along = form.dilations
    pool = None if others or form.dilations != (1, 1) else _pool_of_pairs(around, covers[-1])
    covers = (*covers, pool) if pool else covers
    sizes = (rows // down, cols // along, (top // down, left // along, bottom // down, right // along))
    size = Tiled(m, batch_of(x), c_in, c_out, *sizes, steps, pool is not None, None, around.processor, form.kernel[0], form.dilations)
    arguments = (_tile_weights(node, size, w, is_turned=form.is_turned), bias_of(node, c_out, bias))
    return Work(covers, winograd_kernel(size, around.tuned), (x,), arguments, others)


def _winograd_groups(around: Surroundings, node: Node, m: int) -> Work:
    """By tiles of m x m results, in groups of whole blocks."""
    x, w, *bias = node.inputs
    (c_in, rows, cols), c_out, groups = extents(x), extents(node)[0], node.op.groups
    covers, steps, others = followers(around, node)
    size = Tiled(m, batch_of(x), c_in, c_out, rows, cols, in_rows(node.op).pads, steps, processor=around.processor, r=kernel_of(w)[0])
    kernel = winograd_groups.of(size, groups)
    arguments = (packed(f"{node.name}.packed", group_filters(size, groups), w), bias_of(node, c_out, bias))
    return Work(covers, replace(kernel, name=f"{kernel.name} F({m}x{m})", tile=m), (x,), arguments, others)


def _tile_weights(node: Node, size: Tiled, w: Node, *, is_turned: bool) -> Argument:
    name, filters = f"{node.name}.packed", tile_filters(size)
    if w.weights is None:
        return transformed(name, filters.shape, w, winograd_weights.of(size.filters, is_turned))
    return packed(name, Packing(filters.shape, lambda w: filters.pack(turned(w))) if is_turned else filters, w)


def _pool_of_pairs(around: Surroundings, node: Node) -> Node | None:
    """The max pool of 2x2 values that alone reads a node, and of whose windows none reaches over the edge."""
    reader = only_reader(around.graph, node)
    if reader is None or reader.kind is not MAX_POOL:
        return None
    op = reader.op
    if (op.kernel, op.strides, op.dilations) != ((2, 2), (2, 2), (1, 1)) or any(op.pads):
        return None
    (_, rows, cols), (_, out_rows, out_cols) = extents(node), extents(reader)
    return reader if (out_rows, out_cols) == (rows // 2, cols // 2) and out_rows and out_cols else None


def _direct(around: Surroundings, node: Node, norm: _Norm | None = None) -> Work:
    """A convolution of blocked tensors, after the batch norm before it where there is one."""
    x, w, *bias = node.inputs
    c_in, (c_out, *_), groups = extents(x)[0], w.typed.concrete(), node.op.groups
    covers, steps, others = followers(around, node)
    # a block of its own few channels, read as the image lies
    is_first = groups == 1 and c_in < LANES // 2 and norm is None and x.typed.dtype != HALF and x not in around.in_blocks
    lanes, blocks_in = (c_in, 1) if is_first else (LANES, blocks(c_in))
    whole, before = whole_groups(groups, c_in, c_out), norm.steps if norm else None
    last = _last_lanes(c_in, whole) if not is_first else LANES
    ending = _last_lanes(c_out, whole)
    sizes = (batch_of(x), blocks_in, lanes, _window(node), blocks(c_out), whole)
    size = Direct(*sizes, steps, before, None, around.processor, last, ending)
    arguments = (packed(f"{node.name}.packed", direct_filters(size, groups), w), bias_of(node, c_out, bias))
    if norm is not None:
        covers, x, arguments = (*norm.covers, *covers), norm.covers[0].inputs[0], (*norm.arguments, *arguments)
    return Work(covers, direct_kernel(size, around.tuned), (x,), arguments, others, frozenset([x]) if is_first else frozenset())


def _last_lanes(channels: int, groups: int) -> int:
    """Of the last block those that are channels, where there is one group."""
    return channels - (blocks(channels) - 1) * LANES if groups == 1 else LANES


def conv_transpose(around: Surroundings, node: Node) -> Work | None:
    """Phase by phase, unless almost every phase has a window of its own, as dilations beside strides may have it: code has its bounds."""
    if not has_blocks(node):
        return None
    x, w, *bias = node.inputs
    if (m := around.tiles.get(node.name)) in possible_tiles(node):
        return _winograd(around, node, m)
    (c_in, rows, cols), (c_out, *out), groups = extents(x), extents(node), node.op.groups
    size = Transposed(rows, cols, kernel_of(w), in_rows(node.op), (out[0], out[1]))
    if len(size.lattices()) > MOST_LATTICES or not size.taps:
        return None
    covers, steps, others = followers(around, node)
    if groups == c_in == c_out:
        kernel = depthwise_transposed.of(size, batch_of(x), c_in, steps, around.processor)
        filters = depthwise_phase_filters(size, c_in)
    else:
        whole = whole_groups(groups, c_in, c_out)
        ends = _last_lanes(c_in, whole), _last_lanes(c_out, whole)
        kernel = transposed.of(size, batch_of(x), blocks(c_in), blocks(c_out), whole, steps, around.processor, *ends)
        filters = phase_filters(size, (c_in, c_out), groups, whole)
    return Work(covers, kernel, (x,), (packed(f"{node.name}.packed", filters, w), bias_of(node, c_out, bias)), others)


def conv_of_volume(around: Surroundings, node: Node) -> Work | None:
    """Over three axes, on volumes as they lie, without groups and with filters that are known."""
    x, w, *bias = node.inputs
    sizes = [dim for dim in (*x.typed.shape[1:], *node.typed.shape[1:]) if isinstance(dim, int) and dim > 0]
    if node.typed.dtype != "f32" or len(sizes) < 8 or node.op.groups > 1 or any(param.weights is None for param in (w, *bias)):
        return None
    c_in, depth, rows, cols, c_out = sizes[:5]
    (k_depth, *kernel), op = w.typed.concrete()[2:], node.op
    if kernel[1] > UNROLLED:
        return None
    slices = Window(depth, 1, (k_depth, 1), (op.strides[0], 1), (op.pads[0], 0, op.pads[3], 0), (op.dilations[0], 1))
    window = Window(rows, cols, (kernel[0], kernel[1]), op.strides[1:], (*op.pads[1:3], *op.pads[4:]), op.dilations[1:])
    covers, steps, _ = followers(around, node, ALONE)
    size = volumes.Volume(batch_of(x), c_in, c_out, slices, window)
    arguments = (packed(f"{node.name}.packed", volumes.volume_filters(c_in, c_out, size.kernel), w), bias_of(node, c_out, bias))
    return Work(covers, volumes.direct_volume.of(size, steps, around.processor), (x,), arguments, plain=frozenset([x, covers[-1]]))


def bias_of(node: Node, c_out: int, bias: list[Node]) -> Argument:
    packing, values_of = constants(c_out), _bias(c_out, bias)
    if bias and bias[0].weights is None:
        return packed(f"{node.name}.bias", packing, bias[0])
    return Argument(f"{node.name}.bias", packing.shape, "f32", lambda values: packing.pack(values_of(values)))


def _bias(c_out: int, bias: list[Node]) -> Callable[[ParamValues], Array]:
    """Zeros for a layer without one."""
    return lambda values: values(bias[0]).astype(np.float32, copy=False) if bias else np.zeros(c_out, np.float32)


@dataclass(frozen=True, slots=True)
class _Norm:
    """A batch norm and what follows it element by element; its arguments are a gain and a shift a channel, [CB,LANES]."""

    covers: tuple[Node, ...]
    steps: Steps
    arguments: tuple[Argument, Argument]


def batch_norm(around: Surroundings, node: Node) -> Work | None:
    """A gain and a shift a channel: computed where a 1x1 convolution reads it, or else as a depthwise convolution of single pixels."""
    x, *stats = node.inputs
    if any(stat.weights is None for stat in stats):
        return norm_of_batch(around, node)
    if not is_blocked(x):
        return None
    channels, rows, cols = extents(x)
    covers, steps, others = followers(around, node)

    packing = constants(channels)

    def packed_stats(values: ParamValues) -> list[Array]:
        return [packing.pack(each) for each in gain_and_shift(node.op, *map(values, stats))]

    shift = Argument(f"{node.name}.shift", packing.shape, "f32", lambda values: packed_stats(values)[1])
    reader = _pixelwise_reader(around, covers[-1])
    if reader is not None and not others:
        gain = Argument(f"{node.name}.gain", packing.shape, "f32", lambda values: packed_stats(values)[0])
        return _direct(around, reader, _Norm(covers, steps, (gain, shift)))
    shape = (blocks(channels), 1, 1, LANES)  # a filter of one tap a channel
    gain = Argument(f"{node.name}.gain", shape, "f32", lambda values: packed_stats(values)[0].reshape(shape))
    kernel = depthwise.of(batch_of(x), channels, Window(rows, cols, (1, 1)), steps, around.processor)
    return Work(covers, kernel, (x,), (gain, shift), others)


def _pixelwise_reader(around: Surroundings, node: Node) -> Node | None:
    """The 1x1 convolution that alone reads a value, pixel by pixel."""
    reader = only_reader(around.graph, node)
    if reader is None or reader.kind not in CONVS or reader.inputs[0] is not node or not is_blocked_layer(reader):
        return None
    op = reader.op
    is_pixelwise = max(*kernel_of(reader.inputs[1]), *op.strides) == 1 and not any(op.pads) and op.groups == 1
    return reader if is_pixelwise else None
