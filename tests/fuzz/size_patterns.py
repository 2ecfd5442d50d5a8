"""Sizes that are awkward: multiples and sums of names along rows and columns, sequences of three axes, weights that nobody can fold."""

from __future__ import annotations

from convc.ir.graph import Node
from convc.ir.ops import activation, conv_transpose, elementwise, reduce, shape
from convc.tests.fuzz.network_builder import Builder, Refused
from convc.tests.fuzz.single_layers import act_or_not, batch_norm, conv2d, matmul, scale_or_shift, softmax

__all__ = ["computed_in_a_row", "sequence", "thinned_twice"]


def thinned_twice(b: Builder, x: Node) -> Node:
    """Convs and pools with strides, one after another, over an image of its own whose rows and columns are multiples of names, and odd."""
    image = b.input("in", x.typed.shape[0] if x.typed.rank else 1, b.int(1, 3), b.pick("2*H", "3*H", "H", 6), b.pick("3*W", "2*W", "W", 5))
    if b.flag():
        image = b.op(shape.PAD, shape.Pad((0, 0, b.int(0, 1), b.int(0, 2), 0, 0, b.int(0, 1), 0)), image)
    y = image
    for _ in range(b.int(2, 3)):
        kernel, pads = b.pick(((1, 1), (0, 0, 0, 0)), ((1, 1), (0, 0, 0, 0)), ((3, 3), (1, 1, 1, 1)), ((2, 3), (0, 1, 1, 0)))
        y = conv2d(b, y, kernel=kernel, strides=b.pick((2, 2), (2, 3), (3, 1), (1, 1)), pads=pads, c_out=b.int(1, 4), groups=1)
        y = act_or_not(b, y) if b.flag(4) else y
    return y


def computed_in_a_row(b: Builder, x: Node) -> Node:
    """Products in a row of which one or more have weights that depend on an input, so no pass may look into them."""
    c = b.channels(x)
    for _ in range(2):
        kernel = b.pick((1, 1), (1, 1), (1, 4), (3, 2))
        c_out = b.int(1, 4)
        if b.flag(3):
            w = b.param(c_out, c, *kernel)
        else:
            given = b.input("weights", c_out, c, *kernel)
            w = b.op(activation.TANH, activation.Tanh(), given)
            b.hide(given), b.hide(w)
        if b.flag(4) and x.typed.dtype == "f32":
            turned = b.op(shape.TRANSPOSE, shape.Transpose((1, 0, 2, 3)), w)
            b.hide(turned)
            x = b.op(conv_transpose.CONV_TRANSPOSE2D, conv_transpose.ConvTranspose2d(b.pick((1, 1), (2, 2), (1, 4))), x, turned)
        else:
            x = conv2d(b, x, w=w, groups=1, strides=b.pick((1, 1), (2, 2)), pads=b.pick((0, 0, 0, 0), (1, 1, 1, 1)))
        c = c_out
        x = b.pick(scale_or_shift, batch_norm)(b, x) if b.flag(3) else x
    return x


def sequence(b: Builder, x: Node) -> Node:
    """Places as a sequence [N,C,L] or [N,L,C]: what is told from a conv's or dense layer's neighbours by its axes alone."""
    if x.typed.rank != 4 or not all(isinstance(size, int) for size in x.typed.shape[1:]):
        raise Refused
    n, c, rows, cols = x.typed.shape
    y = b.op(shape.RESHAPE, shape.Reshape((n, c, rows * cols)), x)
    if b.flag():
        y = b.op(shape.TRANSPOSE, shape.Transpose((0, 2, 1)), y)
    for _ in range(b.int(1, 4)):
        y = b.pick(matmul, batch_norm, scale_or_shift, softmax, act_or_not, _mean)(b, y)
    return y


def _mean(b: Builder, x: Node) -> Node:
    kept = b.op(reduce.REDUCE_MEAN, reduce.ReduceMean((b.pick(1, 2, -1),)), x)
    return b.op(elementwise.SUB, elementwise.Sub(), x, kept)
