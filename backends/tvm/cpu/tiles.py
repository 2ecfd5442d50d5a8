"""Which layers take fewer products, by their sizes and the processor alone: quarters, or Winograd's tiles of which size."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ....ir.graph import Graph, Node
from ....ir.ops.conv import CONV2D
from ....ir.ops.conv_transpose import CONV_TRANSPOSE2D
from ....ir.ops.conv_weight_gradient import CONV2D_WEIGHT_GRADIENT
from ..processor import Processor
from .kernels.direct.size import CACHE, HALF
from .kernels.layout import LANES
from .kernels.strassen.quarters import QUARTERED
from .kernels.winograd.arrangement import packed_shape
from .kernels.winograd.transforms import TILES
from .kernels.winograd.weight_gradient import points_along
from .quartered import KINDS, is_faster, quarters_of
from .unit_strides import UnitStrides, unit_strides
from .work import batch_of, extents, has_blocks, is_blocked

__all__ = ["possible_tiles", "tiles_by_size"]

TILED = (*KINDS, CONV_TRANSPOSE2D, CONV2D_WEIGHT_GRADIENT)
# What a tile reads along an axis. F(4x4,3x3) and F(2x2,5x5) share the input transform, and are as noisy.
ASKED = {"off": 0, "f2": 4, "f4": 6}
# A product of tiles with its transforms costs as many direct ones: 1.23 to 1.58, for 64 to 512 channels in phases of 5 to 14 rows. Of 3,
# 128 channels took 1.3 times as long as the direct kernel.
DEARER, LEAST_PHASE = 1.5, 5
# Of weights that a run computes, a number is written and read again meanwhile; and of images nobody has counted there are so many.
TRANSFORMED_BYTES, SOME_IMAGES = 8, 8


def tiles_by_size(graph: Graph, asked: str, processor: Processor) -> dict[str, int]:
    """By the layer's name the m of F(m x m), off, f2 or f4 wherever there are such tiles, auto where they are fast; auto QUARTERED, too."""
    tiles = {node.name: _tile(node, asked, processor) for node in graph.ops if node.kind in TILED and graph.uses[node]}
    return {name: m for name, m in tiles.items() if m}


def possible_tiles(node: Node) -> tuple[int, ...]:
    """Every m that could be a convolution's, a transposed one's with stride 1, or that of a gradient by weights."""
    form = unit_strides(node)
    if form is None or node.typed.dtype != "f32":
        return ()
    is_gradient, (r, k_cols) = node.kind is CONV2D_WEIGHT_GRADIENT, form.kernel
    if not (all(map(is_blocked, node.inputs)) and (r, form.dilations) == (3, (1, 1)) if is_gradient else has_blocks(node)):
        return ()
    if form.groups > 1:
        is_usual = k_cols == r and node.kind is CONV2D and _has_whole_groups(node, form)
    else:
        is_usual = k_cols == r and extents(node.inputs[0])[0] >= LANES and _has_whole_phases(node, form)
    return TILES.get(r, ()) if is_usual else ()


def _has_whole_groups(node: Node, form: UnitStrides) -> bool:
    """Whether groups are whole blocks of channels, of filters that are known."""
    channels = extents(node.inputs[0])[0], extents(node)[0]
    is_known = node.inputs[1].weights is not None
    return is_known and form.dilations == (1, 1) and not any(count % (form.groups * LANES) for count in channels)


def _has_whole_phases(node: Node, form: UnitStrides) -> bool:
    """Whether the pixels that one dilated window may meet are as many from each start, so that they are images of one size."""
    _, rows, cols = extents(node.inputs[0])
    return not any(size % form.dilations[axis % 2] for axis, size in enumerate((rows, cols, *form.pads)))


def _tile(node: Node, asked: str, processor: Processor) -> int:
    """0 for none."""
    if node.kind in KINDS and (quarters := quarters_of(node)) is not None:
        return QUARTERED if asked == "auto" and is_faster(quarters, processor, is_image=node.kind is CONV2D) else 0
    possible = possible_tiles(node)
    if not possible:
        return 0
    if asked == "auto":
        return _fast_tile(node, possible, processor)
    form = unit_strides(node)
    assert form is not None
    m = ASKED[asked] - form.kernel[0] + 1
    return m if m in possible else 0


def _fast_tile(node: Node, possible: tuple[int, ...], processor: Processor) -> int:
    form = unit_strides(node)
    assert form is not None
    if node.kind is CONV2D_WEIGHT_GRADIENT:
        _, rows, cols = extents(node.inputs[1])
        products = {m: points_along(m, rows) * points_along(m, cols) for m in possible}
        return _tile_of_computed(batch_of(node.inputs[1]) or SOME_IMAGES, 3, 9 * rows * cols, products, processor)
    (c_out, rows, cols), (c_in, *_), (r, _), (down, along) = extents(node), extents(node.inputs[0]), form.kernel, form.dilations
    if form.dilations != (1, 1):
        return _tile_of_phases(rows // down, cols // along, r, possible)
    if node.inputs[1].weights is None:
        halves = 2 if c_out <= HALF and processor.halves else 1  # of a vector, of which the direct kernel does but one
        products = {m: (m + r - 1) ** 2 * -(-rows // m) * -(-cols // m) for m in possible}
        return _tile_of_computed(batch_of(node) or SOME_IMAGES, r, r * r * rows * cols / halves, products, processor)
    if form.groups > 1:
        return _tile_of_groups(rows, cols, r, possible, processor.macs_per_byte if batch_of(node) == 1 else 0)
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


def _tile_of_groups(rows: int, cols: int, r: int, possible: tuple[int, ...], macs_per_byte: float) -> int:
    """By products, and what could be done while weights come from memory, where one image has them all to pay for.

    Groups of 16 channels on Zen 4, one thread, in networks: tiles of 4x4 took 0.5 of the direct kernel's time @28, 0.95 @14 and 1.5 @7.
    """
    costs = {m: (m + r - 1) ** 2 * (DEARER * -(-rows // m) * -(-cols // m) + 4 * macs_per_byte) for m in possible}
    m = min(costs, key=costs.__getitem__)
    return m if min(rows, cols) >= LEAST_PHASE and costs[m] < r * r * (rows * cols + 4 * macs_per_byte) else 0


def _tile_of_computed(images: int, r: int, direct: float, products: Mapping[int, int], processor: Processor) -> int:
    """By multiply-adds of a pair of channels, for an image `direct` ones or by m the `products` of its tiles, and what could be done while
    transformed weights are written and read.
    """
    each = TRANSFORMED_BYTES * processor.macs_per_byte
    costs = {m: DEARER * images * count + (m + r - 1) ** 2 * each for m, count in products.items()}
    m = min(costs, key=costs.__getitem__)
    return m if costs[m] < images * direct else 0


def _cost(products: int, weights: int, processor: Processor) -> float:
    """Of a pair of channels, as many multiply-adds."""
    return max(products, 4 * weights * processor.macs_per_byte)
