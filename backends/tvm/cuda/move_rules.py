"""The rules for what moves values, and for softmax: pieces of images, margins, concatenations, scores that are images of one pixel."""

from __future__ import annotations

from ....ir.graph import Node
from ....ir.ops.activation import LOG_SOFTMAX
from ....ir.ops.shape import SLICE
from ....ir.types import DTYPES
from ..cpu.work import batch_of
from .kernels.kernel import VIEW, GpuKernel
from .kernels.layout import CHUNK
from .kernels.moves import channel_places, gpu_concat, gpu_gather, gpu_uneven_concat
from .kernels.slices import Piece, gpu_pad, gpu_slice
from .kernels.softmax import gpu_softmax
from .work import Around, GpuWork, element_of, following, image_of, packed_for_gpu

__all__ = ["concat", "gather", "one_pixel", "piece", "softmax", "softmax_of"]

MOST_OPERANDS = 64  # of a concatenation: a kernel has 4 KiB of arguments, and the compiler a stack


def concat(around: Around, node: Node) -> GpuWork | None:
    """Along the channels."""
    if (
        node.op.axis not in (1, 1 - node.typed.rank)
        or not all(map(around.may_pad, (node, *node.inputs)))
        or len(node.inputs) > MOST_OPERANDS
    ):
        return None
    channels, (_, rows, cols) = tuple(image_of(operand)[0] for operand in node.inputs), image_of(node)
    kind = gpu_uneven_concat if any(c % CHUNK for c in channels[:-1]) else gpu_concat
    return GpuWork((node,), kind.of(batch_of(node), channels, rows, cols, element_of(node).dtype), node.inputs)


def piece(around: Around, node: Node) -> GpuWork | None:
    """A slice, or a pad, of a value that lies in the layout already: for it alone none is brought there."""
    (x,) = node.inputs
    if x not in around.padded or not around.may_stay(node) or node.typed.dtype != x.typed.dtype:
        return None
    found = _sliced(x, node) if node.kind is SLICE else _with_margin(x, node)
    if found is None:
        return None
    covers, steps, others = following(around, node)
    kernel = gpu_slice if node.kind is SLICE else gpu_pad
    return GpuWork(covers, kernel.of(batch_of(x), found, element_of(x).dtype, steps), (x,), others=others)


def gather(around: Around, node: Node) -> GpuWork | None:
    """Of channels, by a list that the network has, of a value that lies in the layout already."""
    x, indices = node.inputs
    is_of_channels = node.op.axis in (1, 1 - x.typed.rank) and indices.weights is not None and indices.typed.rank == 1
    if not is_of_channels or x not in around.padded or not around.may_stay(node):
        return None
    places = packed_for_gpu(f"{node.name}.packed", channel_places(image_of(x)[0], image_of(node)[0]), indices)
    kernel = gpu_gather.of(batch_of(x), image_of(x), image_of(node)[0], element_of(x).dtype)
    return GpuWork((node,), kernel, (x,), (places,))


def _sliced(x: Node, node: Node) -> Piece | None:
    """Of whole images, forward, and of neighbouring channels."""
    op, rank = node.op, x.typed.rank
    firsts, strides = [0, 0, 0], [1, 1, 1]
    for axis, start, end, step in zip(op.axes, op.starts, op.ends, op.steps or (1,) * len(op.axes), strict=True):
        place = _place(axis, rank)
        if place < 0 or step < 1 or not (isinstance(start, int) and isinstance(end, int)):
            return None
        firsts[place], *_ = slice(start, end).indices(image_of(x)[place])
        strides[place] = step
    if strides[0] != 1:
        return None
    return Piece(image_of(x), image_of(node), (firsts[0], firsts[1], firsts[2]), (strides[1], strides[2]))


def _with_margin(x: Node, node: Node) -> Piece | None:
    op, rank = node.op, x.typed.rank
    if op.pads[0] or op.pads[rank] or (op.mode != "constant" and (op.pads[1] or op.pads[rank + 1])):
        return None
    firsts = [0, 0, 0]
    for axis in range(1, rank):
        firsts[_place(axis, rank)] = -op.pads[axis]
    return Piece(image_of(x), image_of(node), (firsts[0], firsts[1], firsts[2]), value=op.value, mode=op.mode)


def _place(axis: int, rank: int) -> int:
    """Of an axis among channels, rows and columns; a sequence's are columns. Before 0 it is that of images."""
    axis = axis + rank if axis < 0 else axis
    return axis - 1 if axis < 2 or rank == 4 else axis


def softmax(around: Around, node: Node) -> GpuWork | None:
    """Of a value that lies in the layout already."""
    (x,) = node.inputs
    return softmax_of(around, x, (node,)) if x in around.padded and node.typed.dtype == x.typed.dtype and around.may_stay(node) else None


def softmax_of(around: Around, x: Node, covers: tuple[Node, ...]) -> GpuWork | None:
    """Over the channels; what the caller gets is stored as he wants it."""
    node, *_ = covers
    if node.op.axis not in (1, 1 - x.typed.rank):
        return None
    result = covers[-1]
    plain = DTYPES[result.typed.dtype].name if result in around.graph.outputs else None
    kernel = gpu_softmax.of(batch_of(x), image_of(x), element_of(x).dtype, node.kind is LOG_SOFTMAX, plain)
    return GpuWork(covers, kernel, (x,), plain=frozenset([result] if plain else []))


def one_pixel(x: Node, node: Node) -> GpuWork | None:
    """What is flattened is a view of itself where it is one pixel."""
    _, rows, cols = image_of(x)
    return GpuWork((node,), GpuKernel(VIEW, _nothing), (x,)) if rows == cols == 1 and node.op.axis == 1 else None


def _nothing() -> None:
    """No kernel is written for a view."""
