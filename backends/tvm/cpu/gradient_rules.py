"""The rules for what only a step of training computes."""

from __future__ import annotations

from ....ir.graph import Node
from .kernels.layout import LANES
from .kernels.weight_gradient import WeightGradient, weight_gradient
from .kernels.windows import UNROLLED, Window
from .work import Surroundings, Work, batch_of, extents, is_blocked

__all__ = ["conv_weight_gradient"]


def conv_weight_gradient(around: Surroundings, node: Node) -> Work | None:
    """Of a convolution in one group, whose windows may be written out along a row; the sums are left plainly."""
    (x, g), op = node.inputs, node.op
    if not (is_blocked(x) and is_blocked(g)) or op.groups != 1 or op.kernel[1] > UNROLLED:
        return None
    (c_in, rows, cols), c_out = extents(x), extents(g)[0]
    is_image = c_in < LANES // 2 and x not in around.in_blocks
    window = Window(rows, cols, op.kernel, op.strides, op.pads, op.dilations)
    size = WeightGradient(batch_of(x), c_in, c_out, window, is_image, around.processor)
    return Work((node,), weight_gradient.of(size), (x, g), plain=frozenset([node, *([x] if is_image else [])]))
