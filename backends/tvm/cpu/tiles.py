"""Which layers take fewer products, by their sizes and the processor alone: quarters, or Winograd's tiles of which size."""

from __future__ import annotations

import math

from ....ir.graph import Graph, Node
from ....ir.ops.conv import CONV2D
from ..processor import Processor
from .kernels.direct.size import CACHE
from .kernels.layout import LANES
from .kernels.strassen.quarters import QUARTERED
from .kernels.winograd.arrangement import packed_shape
from .kernels.winograd.transforms import TILES
from .quartered import KINDS, is_faster, quarters_of
from .work import batch_of, extents, is_blocked_layer

__all__ = ["possible_tiles", "tiles_by_size"]

# What a tile reads along an axis. F(4x4,3x3) and F(2x2,5x5) share the input transform, and are as noisy.
ASKED = {"off": 0, "f2": 4, "f4": 6}
# A product of tiles with its transforms costs as many direct ones: 1.23 to 1.58, for 64 to 512 channels in phases of 5 to 14 rows. Of 3,
# 128 channels took 1.3 times as long as the direct kernel.
DEARER, LEAST_PHASE = 1.5, 5


def tiles_by_size(graph: Graph, asked: str, processor: Processor) -> dict[str, int]:
    """By the layer's name the m of F(m x m), off, f2 or f4 wherever there are such tiles, auto where they are fast; auto QUARTERED, too."""
    tiles = {node.name: _tile(node, asked, processor) for node in graph.ops if node.kind in KINDS and graph.uses[node]}
    return {name: m for name, m in tiles.items() if m}


def possible_tiles(node: Node) -> tuple[int, ...]:
    """Every m that could be a convolution's."""
    if not is_blocked_layer(node) or node.kind is not CONV2D or node.typed.dtype != "f32":
        return ()
    op, (_, c_in, r, k_cols) = node.op, node.inputs[1].typed.concrete()
    is_usual = k_cols == r and op.strides == (1, 1) and op.groups == 1 and c_in >= LANES and _has_whole_phases(node)
    return TILES.get(r, ()) if is_usual else ()


def _has_whole_phases(node: Node) -> bool:
    """Whether the pixels that one dilated window may meet are as many from each start, so that they are images of one size."""
    _, rows, cols = extents(node.inputs[0])
    return not any(size % node.op.dilations[axis % 2] for axis, size in enumerate((rows, cols, *node.op.pads)))


def _tile(node: Node, asked: str, processor: Processor) -> int:
    """0 for none."""
    if (quarters := quarters_of(node)) is not None:
        return QUARTERED if asked == "auto" and is_faster(quarters, processor, is_image=node.kind is CONV2D) else 0
    possible = possible_tiles(node)
    if not possible:
        return 0
    if asked == "auto":
        return _fast_tile(node, possible, processor)
    m = ASKED[asked] - node.inputs[1].typed.concrete()[2] + 1
    return m if m in possible else 0


def _fast_tile(node: Node, possible: tuple[int, ...], processor: Processor) -> int:
    (_, rows, cols), (c_out, c_in, r, _) = extents(node), node.inputs[1].typed.concrete()
    if node.op.dilations != (1, 1):
        return _tile_of_phases(rows // node.op.dilations[0], cols // node.op.dilations[1], r, possible)
    is_dear = (batch_of(node) or 1) == 1 and 4 * math.prod(packed_shape(6, c_in, c_out)) > processor.winograd_4_weights
    if 4 in possible and min(rows, cols) >= (processor.winograd_4_alone if is_dear else processor.winograd_4):
        return 4
    if 4 * r * r * c_in * c_out <= CACHE:
        return 2
    # weights come from memory meanwhile, and are more where products are fewer
    a = 2 + r - 1
    tiled = _cost(a * a * -(-rows // 2) * -(-cols // 2), a * a, processor)
    return 2 if tiled < _cost(r * r * rows * cols, r * r, processor) else 0


def _tile_of_phases(rows: int, cols: int, r: int, possible: tuple[int, ...]) -> int:
    """By products alone: the weights serve every phase."""
    products = {m: DEARER * (m + r - 1) ** 2 * -(-rows // m) * -(-cols // m) for m in possible}
    m = min(products, key=products.__getitem__)
    return m if min(rows, cols) >= LEAST_PHASE and products[m] < r * r * rows * cols else 0


def _cost(products: int, weights: int, processor: Processor) -> float:
    """Of a pair of channels, as many multiply-adds."""
    return max(products, 4 * weights * processor.macs_per_byte)
