"""What only a training has, in random networks: weights that move by their gradient, and what a max pool gives back."""

from __future__ import annotations

from convc.ir.graph import Node
from convc.ir.ops import conv, elementwise, pool
from convc.ir.ops import conv_weight_gradient as learned
from convc.ir.ops import max_pool_gradient as returned
from convc.tests.fuzz.network_builder import Builder
from convc.tests.fuzz.single_layers import windows


def moved_weight(b: Builder, x: Node) -> Node:
    """A convolution, and another one whose weights are what the first gives for a gradient, made small."""
    c_in = b.channels(x)
    groups = b.pick(*(g for g in (1, 1, 2, 3, c_in) if c_in % g == 0))
    kernel, strides, dilations, pads = b.pair(1, 3), b.pair(1, 3), b.pick((1, 1), (1, 1), (2, 1)), b.pads()
    w = b.filters(x, groups * b.int(1, 3), c_in // groups, *kernel)
    window = conv.Conv2d(strides, pads, dilations, groups)
    y = b.op(conv.CONV2D, window, x, w)
    moved = b.op(learned.CONV2D_WEIGHT_GRADIENT, learned.Conv2dWeightGradient(kernel, strides, pads, dilations, groups), x, y)
    small = b.op(elementwise.MUL, elementwise.Mul(), moved, b.param(init="full", value=1 / 256))
    b.hide(moved)
    b.hide(small)
    return b.op(conv.CONV2D, window, x, small)


def given_back(b: Builder, x: Node) -> Node:
    """Values given back where the greatest of whole numbers lie: of floats that are all but equal, engines would choose differently."""
    window, is_ceil = windows(b, x), b.flag(3)
    whole = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), b.input_like(x, "i32"))
    y = b.op(pool.MAX_POOL, pool.MaxPool(*window, is_ceil), b.pick(x, whole))
    b.hide(whole)
    b.hide(y)
    return b.op(returned.MAX_POOL_GRADIENT, returned.MaxPoolGradient(*window, is_ceil), whole, y)
