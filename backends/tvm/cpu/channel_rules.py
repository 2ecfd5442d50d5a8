"""The rules for pads along the channels: a kernel's own, and sums over the channels near each, which are slices of what is padded."""

from __future__ import annotations

from ....ir.graph import Graph, Node
from ....ir.ops.elementwise import ADD
from ....ir.ops.shape import PAD, SLICE
from .kernels.layout import LANES
from .kernels.moves import pad_channels
from .kernels.norms import neighbouring_channels
from .work import Surroundings, Work, batch_of, extents, is_blocked, only_reader

__all__ = ["padded_channels"]


def padded_channels(around: Surroundings, node: Node) -> Work | None:
    """Of a value in blocks, where zeros come before and after its channels alone."""
    (x,), op = node.inputs, PAD.of(node)
    if x not in around.in_blocks or not (is_blocked(x) and is_blocked(node)) or node.typed.dtype != "f32" or x.typed.rank != 4:
        return None
    _, before, _, _, _, after, *_ = op.pads
    if op.pads != (0, before, 0, 0, 0, after, 0, 0) or min(before, after) < 0 or op.mode != "constant" or op.value:
        return None
    (channels, rows, cols), batch = extents(x), batch_of(x)
    if (covers := _sum_of_slices(around.graph, node, channels, before + after + 1)) is not None:
        return Work(covers, neighbouring_channels.of(batch, channels, rows, cols, before, after), (x,))
    if before % LANES:
        return None
    return Work((node,), pad_channels.of(batch, channels, rows, cols, before, extents(node)[0]), (x,))


def _sum_of_slices(graph: Graph, padded: Node, channels: int, count: int) -> tuple[Node, ...] | None:
    """What a local response norm's gradient makes of padded channels: so many slices, each by one channel further, added in turn."""
    slices = sorted(graph.readers[padded], key=lambda reader: reader.op.starts if reader.kind is SLICE else ())
    if padded in graph.outputs or len(slices) != count or count < 2 or any(reader.kind is not SLICE for reader in slices):
        return None
    for first, each in enumerate(slices):
        op = SLICE.of(each)
        if (op.axes, op.starts, op.ends) != ((1,), (first,), (first + channels,)) or any(step != 1 for step in op.steps):
            return None
    covers, total = [padded, *slices], slices[0]
    for each in slices[1:]:
        reader = only_reader(graph, total)
        if reader is None or reader.kind is not ADD or reader.inputs != (total, each) or only_reader(graph, each) is not reader:
            return None
        covers.append(reader)
        total = reader
    return tuple(covers)
