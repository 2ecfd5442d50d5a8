"""The rules for norms by statistics of the value itself: of groups of channels, of rows of scores, of the features of each pixel."""

from __future__ import annotations

import numpy as np

from ....ir.graph import Node
from ....ir.ops.elementwise import CAST
from ....ir.ops.group import GROUP_NORM, LAYER_NORM
from ....ir.ops.shape import TRANSPOSE
from ....ir.types import DTYPES, Array
from ..cpu.laid import Argument, ParamValues
from ..cpu.work import Followers, batch_of, only_reader
from .kernels.group_norms import can_group, gpu_group_norm
from .kernels.layout import Stored, by_halves
from .work import Around, GpuWork, element_of, following, image_of, packed_for_gpu

__all__ = ["channel_norm", "group_norm", "group_norm_of"]


def group_norm(around: Around, node: Node) -> GpuWork | None:
    x = node.inputs[0]
    return group_norm_of(x, following(around, node)) if around.may_pad(x) and around.may_pad(node) else None


def group_norm_of(x: Node, covered: Followers) -> GpuWork | None:
    """A norm of `x` and what follows it; of scores a layer norm is that of one group."""
    covers, steps, others = covered
    node, *_ = covers
    groups = _groups(node)
    if groups is None or not can_group(image_of(x)[0], groups) or any(each.weights is None for each in node.inputs[1:]):
        return None
    kernel = gpu_group_norm.of(batch_of(x), image_of(x), groups, node.op.epsilon, element_of(x).dtype, steps)
    return GpuWork(covers, kernel, (x,), _numbers(node, image_of(x)[0]), others)


def _groups(node: Node) -> int | None:
    if node.kind is LAYER_NORM:
        return 1 if node.typed.rank == 2 and node.op.axis in (1, -1) else None
    return node.op.groups if node.kind is GROUP_NORM else image_of(node)[0]


def _numbers(node: Node, channels: int) -> tuple[Argument, ...]:
    """Gain and shift; of a layer norm the latter may be left out."""
    _, scale, *bias = node.inputs
    zeros = by_halves(channels)

    def shift(values: ParamValues) -> Array:
        return zeros.pack(values(bias[0]) if bias else np.zeros(channels, np.float32))

    return packed_for_gpu(f"{node.name}.gain", zeros, scale), Argument(f"{node.name}.shift", zeros.shape, zeros.dtype, shift)


def channel_norm(around: Around, node: Node, x: Node) -> GpuWork | None:
    """A norm of the features of each pixel of `x` between two transposes, where nothing else reads what lies in between."""
    order, chain = TRANSPOSE.of(node).perm, [node]
    rank = len(order)
    if x not in around.padded or rank < 3 or order != (0, *range(2, rank), 1):
        return None
    for kind in (LAYER_NORM, TRANSPOSE):
        reader = only_reader(around.graph, chain[-1])
        if reader is not None and reader.kind is CAST and reader.typed.is_float:
            chain.append(reader)
            reader = only_reader(around.graph, reader)
        if reader is None or reader.kind is not kind or reader.inputs[0] is not chain[-1]:
            return None
        chain.append(reader)
    back, norm = chain[-1], next(each for each in chain if each.kind is LAYER_NORM)
    is_back = tuple(order[axis] for axis in TRANSPOSE.of(back).perm) == tuple(range(rank))
    if not is_back or norm.op.axis not in (-1, rank - 1) or any(each.weights is None for each in norm.inputs[1:]):
        return None
    if not around.may_stay(back):
        return None
    after = only_reader(around.graph, back)
    if after is not None and after.kind is CAST and after.typed.dtype == x.typed.dtype:
        chain.append(after)
    last, narrow = chain[-1], element_of(x).dtype
    covers, steps, others = following(around, last) if last.typed.dtype == x.typed.dtype else ((last,), (), ())
    kernel = gpu_group_norm.of(batch_of(x), image_of(x), 1, norm.op.epsilon, narrow, steps, by_pixel=True)
    if last.typed.dtype != x.typed.dtype:
        kernel = kernel.storing(Stored(DTYPES[last.typed.dtype].name))
    return GpuWork((*chain[:-1], *covers), kernel, (x,), _numbers(norm, image_of(x)[0]), others)
