"""Pictures whose channels come last, where a layer takes them for channels first."""

from __future__ import annotations

from .graph import Graph
from .ops.conv import CONVS
from .ops.norm import BATCH_NORM
from .ops.pool import AVG_POOL, GLOBAL_AVG_POOL, MAX_POOL
from .types import TensorType

__all__ = ["channels_last", "looks_last"]

READERS = frozenset((*CONVS, MAX_POOL, AVG_POOL, GLOBAL_AVG_POOL, BATCH_NORM))
FEWEST = 5  # rows: 3x3 pixels in 3 channels may be either


def channels_last(graph: Graph) -> str:
    """What to say of the first input that looks like pictures [N,H,W,3] and is read as H channels of W x 3; empty if none does."""
    pictures = (node for node in graph.inputs if looks_last(node.typed))
    found = next((node for node in pictures if any(each.kind in READERS for each in graph.readers[node])), None)
    if found is None:
        return ""
    batch, rows, cols, channels = found.typed.shape
    layer = next(each for each in graph.readers[found] if each.kind in READERS)
    return (
        f"input '{found.name}' is {found.type}, which {layer.where} reads as {rows} channels of {cols}x{channels} pixels; if its channels "
        f"are last, transpose it first, or make it {batch},{channels},{rows},{cols}"
    )


def looks_last(type_: TensorType) -> bool:
    """Whether a type is that of square pictures [N,H,W,3], or of grey ones."""
    if type_.rank != 4:
        return False
    _, rows, cols, channels = type_.shape
    return rows == cols and channels in (1, 3) and isinstance(rows, int) and rows >= FEWEST
