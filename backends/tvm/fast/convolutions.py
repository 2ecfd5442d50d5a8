"""The rules for convolutions: which kernel computes one, how its weights are packed, and what it takes in of its neighbours.

A batch norm that no layer took in is a convolution, too: of single pixels and every channel by itself.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from ....ir.graph import Node
from ....ir.ops.conv import CONV2D
from ....ir.ops.pool import MAX_POOL
from ....ir.types import Array
from ..processor import Processor
from . import depthwise, planes, winograd_transforms
from .direct import CACHE, Direct, direct, pack, pack_bias
from .epilogue import ALONE, SIMPLE, Step
from .forms import form_of, tunable_direct, tunable_winograd
from .kernel import LANES, blocks
from .transposed import Transposed, depthwise_transposed, pack_depthwise, pack_phases, transposed
from .windows import Window
from .winograd import winograd_kernel
from .winograd_arrangement import Tiled, packed_shape
from .work import Argument, Scene, Values, Winograd, Work, batch_of, extents, followers, is_blocked, only_reader

__all__ = ["batch_norm", "bias_of", "conv", "conv_transpose"]

# What a tile reads along an axis. F(4x4,3x3) and F(2x2,5x5) share the input transform, and are as noisy.
WINOGRAD = {"off": 0, "f2": 4, "f4": 6}

MOST_LATTICES = 16  # windows of a transposed convolution's phases, each written out


def conv(scene: Scene, node: Node) -> Work | None:
    """Depthwise, on blocks or planes, Winograd for 3x3 and 5x5 of stride 1, else direct."""
    x, w, *bias = node.inputs
    if not (is_blocked(x) and is_blocked(node)) or w.weights is None or any(b.weights is None for b in bias):
        return None
    (c_in, rows, cols), (c_out, _, *taps) = extents(x), w.typed.concrete()
    kernel, op = (taps[0], taps[1]), node.op
    covers, steps, others = followers(scene, node)
    batch = batch_of(x)
    shift = bias_of(node, c_out, bias)
    if op.groups == c_in == c_out:
        window = Window(rows, cols, kernel, op.strides, op.pads, op.dilations)
        if x in scene.graph.inputs and c_in < LANES // 2 and planes.can_slide(window):
            return _on_planes(scene, node, window)
        filters = Argument(f"{node.name}.packed", (blocks(c_in), *kernel, LANES), "f32", lambda values: depthwise.pack_filters(values(w)))
        build = functools.partial(depthwise.depthwise, batch, c_in, window, steps, scene.processor)
        return Work(covers, build, (x,), (filters, shift), others)
    m = winograd_of(node, scene.winograd, scene.processor)
    if m:
        covers, steps, others = followers(scene, node, SIMPLE)
        pool = None if others else _pool_of_pairs(scene, covers[-1])
        covers = (*covers, pool) if pool else covers
        size = Tiled(m, batch, c_in, c_out, rows, cols, op.pads, steps, pool is not None, processor=scene.processor, r=taps[0])
        tiles = Argument(f"{node.name}.packed", size.weights, "f32", lambda values: winograd_transforms.pack(m, values(w)))
        tunable = tunable_winograd(size)
        form = form_of(tunable, scene.tuned)
        build = functools.partial(winograd_kernel, replace(size, form=form))
        return Work(covers, build, (x,), (tiles, shift), others, tile=m, tunable=tunable, form=form)
    return _direct(scene, node)


def _on_planes(scene: Scene, node: Node, window: Window) -> Work:
    """Depthwise, of an image that lies as it was given."""
    x, w, *bias = node.inputs
    covers, steps, _ = followers(scene, node, ALONE)
    channels = extents(x)[0]

    def shift(values: Values) -> Array:
        return values(bias[0]) if bias else np.zeros(channels, np.float32)

    filters = Argument(f"{node.name}.packed", (channels, *window.kernel), "f32", lambda values: values(w)[:, 0])
    arguments = (filters, Argument(f"{node.name}.bias", (channels,), "f32", shift))
    build = functools.partial(planes.depthwise_planes, batch_of(x), channels, window, steps, scene.processor)
    return Work(covers, build, (x,), arguments, (), frozenset([x, covers[-1]]))


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
    arguments = (packed, bias_of(node, c_out, bias))
    tunable = tunable_direct(size)
    form = form_of(tunable, scene.tuned)
    build = functools.partial(direct, replace(size, form=form))
    if norm is not None:
        covers, x, arguments = (*norm.covers, *covers), norm.covers[0].inputs[0], (*norm.arguments, *arguments)
    return Work(covers, build, (x,), arguments, others, frozenset([x]) if is_first else frozenset(), tunable=tunable, form=form)


def conv_transpose(scene: Scene, node: Node) -> Work | None:
    """Phase by phase, unless almost every phase has a window of its own, as dilations beside strides may have it: code has its bounds."""
    x, w, *bias = node.inputs
    if not (is_blocked(x) and is_blocked(node)) or w.weights is None or any(b.weights is None for b in bias):
        return None
    (c_in, rows, cols), (c_out, *out), (*_, k_rows, k_cols), op = extents(x), extents(node), w.typed.concrete(), node.op
    size = Transposed(rows, cols, (k_rows, k_cols), op, (out[0], out[1]))
    if len(size.lattices()) > MOST_LATTICES or not size.taps:
        return None
    covers, steps, others = followers(scene, node)
    shift = bias_of(node, c_out, bias)

    def filters(values: Values) -> Array:
        """[C,O/groups,KH,KW] as an ordinary convolution's, [O,C/groups,KH,KW]."""
        split = values(w).reshape(op.groups, c_in // op.groups, c_out // op.groups, k_rows, k_cols)
        return split.swapaxes(1, 2).reshape(c_out, c_in // op.groups, k_rows, k_cols)

    if op.groups == c_in == c_out:
        shape = (size.taps * blocks(c_out), LANES)
        packed = Argument(f"{node.name}.packed", shape, "f32", lambda values: pack_depthwise(filters(values), size))
        build = functools.partial(depthwise_transposed, size, batch_of(x), c_in, steps, scene.processor)
        return Work(covers, build, (x,), (packed, shift), others)
    groups, merged = _wide_groups(op.groups, c_in, c_out)
    shape = (size.taps * blocks(c_out) * (blocks(c_in) // groups), LANES, LANES)
    packed = Argument(
        f"{node.name}.packed", shape, "f32", lambda values: pack_phases(_widened(filters(values), op.groups, merged), groups, size)
    )
    build = functools.partial(transposed, size, batch_of(x), blocks(c_in), blocks(c_out), groups, steps, scene.processor)
    return Work(covers, build, (x,), (packed, shift), others)


def winograd_of(node: Node, asked: Winograd, processor: Processor) -> int:
    """The tile of the Winograd form that computes a convolution, or 0 for none. `asked` is auto, one of WINOGRAD, or tiles by name."""
    op, (_, rows, cols) = node.op, extents(node)
    c_out, c_in, r, k_cols = node.inputs[1].typed.concrete()
    tiles = winograd_transforms.FORMS.get(r, ())
    if not tiles or k_cols != r or op.strides != (1, 1) or op.dilations != (1, 1) or op.groups != 1 or c_in < LANES:
        return 0
    if asked != "auto":
        m = WINOGRAD[asked] - r + 1 if isinstance(asked, str) else asked.get(node.name, 0)
        return m if m in tiles else 0
    is_dear = (batch_of(node) or 1) == 1 and 4 * math.prod(packed_shape(6, c_in, c_out)) > processor.winograd_4_weights
    if 4 in tiles and min(rows, cols) >= (processor.winograd_4_alone if is_dear else processor.winograd_4):
        return 4
    if 4 * r * r * c_in * c_out <= CACHE:
        return 2
    # weights come from memory meanwhile, and are more where products are fewer
    a = 2 + r - 1
    tiled = _cost(a * a * -(-rows // 2) * -(-cols // 2), a * a, processor)
    return 2 if tiled < _cost(r * r * rows * cols, r * r, processor) else 0


def _cost(products: int, weights: int, processor: Processor) -> float:
    """Of a pair of channels, as many multiply-adds."""
    return max(products, 4 * weights * processor.macs_per_byte)


def bias_of(node: Node, c_out: int, bias: list[Node]) -> Argument:
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
