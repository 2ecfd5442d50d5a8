"""How many multiply-adds kernels do themselves: what is counted of a convolution, or fewer by Winograd's tiles or by quarters."""

from __future__ import annotations

import math

from ....ir.direct_products import direct_products
from ....ir.graph import Node
from ....ir.ops.conv_weight_gradient import CONV2D_WEIGHT_GRADIENT
from .kernels.strassen.quarters import PRODUCTS, QUARTERED
from .kernels.winograd.weight_gradient import TiledWeightGradient
from .quartered import quarters_of
from .unit_strides import unit_strides
from .work import extents

__all__ = ["products"]


def products(tile: int, node: Node) -> int:
    """Of a node without named sizes, whose kernel has this `tile` (`CpuKernel.tile`). What fills vectors up is left out, as everywhere.

    Tiles at the end of a row or column are whole ones, except where a gradient by weights evaluates them at fewer points.
    """
    if not tile:
        return direct_products(node)
    if tile == QUARTERED:
        size = quarters_of(node)
        assert size is not None
        return (size.batch or 1) * PRODUCTS * size.pairs * size.c_in * size.c_out // 4
    form = unit_strides(node)
    assert form is not None
    if node.kind is CONV2D_WEIGHT_GRADIENT:
        return _of_gradient(tile, node)
    images, c_out, rows, cols = node.typed.concrete()
    (down, along), c_in = form.dilations, extents(node.inputs[0])[0]
    grid = down * along * -(-rows // down // tile) * -(-cols // along // tile)
    return images * c_in * c_out // form.groups * (tile + form.kernel[0] - 1) ** 2 * grid


def _of_gradient(tile: int, node: Node) -> int:
    (images, c_in, rows, cols), (_, c_out, *_) = (operand.typed.concrete() for operand in node.inputs)
    size = TiledWeightGradient(tile, images, c_in, c_out, rows, cols, node.op.pads)
    return images * c_in * c_out * sum(math.prod(size.grid_at(x, y)) for x in range(size.a) for y in range(size.a))
