"""Pictures whose channels come last, where a layer takes them for channels first."""

from __future__ import annotations

from .graph import Graph, Node
from .ops.conv import CONVS
from .ops.norm import BATCH_NORM
from .ops.pool import AVG_POOL, GLOBAL_AVG_POOL, MAX_POOL

__all__ = ["channels_last"]

READERS = frozenset((*CONVS, MAX_POOL, AVG_POOL, GLOBAL_AVG_POOL, BATCH_NORM))
FEWEST = 5  # rows: 3x3 pixels in 3 channels may be either


def channels_last(graph: Graph) -> str:
    """What to say of the first input that looks like pictures [N,H,W,3] and is read as H channels of W x 3; empty if none does."""
    found = next((node for node in graph.inputs if _is_picture(node) and any(each.kind in READERS for each in graph.readers[node])), None)
    if found is None:
        return ""
    batch, rows, cols, channels = found.typed.shape
    layer = next(each for each in graph.readers[found] if each.kind in READERS)
    return (
        f"input '{found.name}' is {found.type}, which {layer.where} reads as {rows} channels of {cols}x{channels} pixels; if its channels "
        f"are last, transpose it first, or make it {batch},{channels},{rows},{cols}"
    )


def _is_picture(node: Node) -> bool:
    if node.typed.rank != 4:
        return False
    _, rows, cols, channels = node.typed.shape
    return rows == cols and channels in (1, 3) and isinstance(rows, int) and rows >= FEWEST
