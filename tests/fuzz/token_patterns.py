"""Patterns of networks of tokens: patches and a class, layers of channels last, heads that read each other, windows."""

from __future__ import annotations

from convc.ir.graph import Node
from convc.ir.ops import activation, activation_variants, elementwise, group, linear, rearrange, shape
from convc.tests.fuzz.network_builder import MOST_PRODUCTS, Builder, Refused
from convc.tests.fuzz.single_layers import act, conv2d, matmul, softmax

__all__ = ["heads", "layers_of_pixels", "mixed_channels", "tokens", "windows"]


def layers_of_pixels(b: Builder, x: Node) -> Node:
    """To channels last for a norm and products of each pixel, or not all of that, and back. Liu et al. 2022."""
    rank = x.typed.rank
    if rank < 3:
        raise Refused
    there = (0, *range(2, rank), 1)
    y = b.op(shape.TRANSPOSE, shape.Transpose(there), x)
    if b.flag(3):
        y = norm(b, y)
    for _ in range(b.int(1, 3)):
        y = b.pick(matmul, matmul, act, softmax)(b, y)
        if b.flag(10):
            b.hide(act(b, y))  # another reader, which is left dead or returned
    y = b.op(shape.TRANSPOSE, shape.Transpose(tuple(there.index(axis) for axis in range(rank))), y)
    return b.op(elementwise.ADD, elementwise.Add(), y, x) if y.type == x.type else y


def tokens(b: Builder, x: Node) -> Node:
    """Patches as tokens `[N,T,C]`, with one for the class before them and their places added, or not all of that. Dosovitskiy et al. 2020."""
    if x.typed.rank == 4 and b.flag():
        x = conv2d(b, x, kernel=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0), groups=1, c_out=b.int(2, 6))
    if x.typed.rank < 3 or not all(isinstance(dim, int) for dim in x.typed.shape[1:]):
        raise Refused
    n, c, *image = x.typed.shape
    if len(image) > 1:
        x = b.op(shape.RESHAPE, shape.Reshape((n, c, -1)), x)
    y = b.op(shape.TRANSPOSE, shape.Transpose((0, 2, 1)), x)
    if b.flag():
        first = b.op(rearrange.EXPAND, rearrange.Expand((n, 1, 1)), b.param(1, 1, c, init="small", like="k"))
        b.hide(first)
        y = b.op(shape.CONCAT, shape.Concat(1), first, y)
    if b.flag():
        y = b.op(elementwise.ADD, elementwise.Add(), y, b.param(1, y.typed.shape[1], c, init="small", like="k"))
    for _ in range(b.int(1, 2)):
        y = b.pick(mixed_channels, mixed_channels, heads)(b, y)
    return y if b.flag() else b.op(shape.SLICE, shape.Slice((1,), (0,), (1,)), y)


def mixed_channels(b: Builder, x: Node) -> Node:
    """A norm, two products with a curve between them, a scale for each channel, all of it added. Touvron et al. 2021, sec. 2."""
    last = x.typed.shape[-1] if x.typed.rank > 2 else "none"
    if not isinstance(last, int):
        raise Refused
    y = norm(b, x) if b.flag() else x
    for c_in, c_out in ((last, wide := b.int(1, 3) * last), (wide, last)):
        y = b.op(linear.MATMUL, linear.MatMul(), y, b.param(c_in, c_out))
        y = b.op(elementwise.ADD, elementwise.Add(), y, b.param(c_out, init="small", like="b"))
        if c_out == wide:
            y = act(b, y) if b.flag() else b.op(activation_variants.GELU, activation_variants.Gelu(), y)
    if b.flag():
        y = b.op(elementwise.MUL, elementwise.Mul(), y, b.param(last, init="tenth", like="k"))
    return b.op(elementwise.ADD, elementwise.Add(), *b.pick((x, y), (y, x)))


def norm(b: Builder, x: Node) -> Node:
    if not isinstance(x.typed.shape[-1], int):
        raise Refused
    parameters = [b.param(x.typed.shape[-1], init=init, like="k") for init in ("around_one", "small")]
    return b.op(group.LAYER_NORM, group.LayerNorm(-1, 1e-2), x, *parameters[: b.int(1, 2)])


def heads(b: Builder, x: Node) -> Node:
    """Queries, keys and values of one product, cut apart, and softmax between two products of theirs. Vaswani et al. 2017."""
    b.products += 2
    if b.products > MOST_PRODUCTS:
        raise Refused
    if x.typed.rank == 4:  # pixels are tokens
        n, c, rows, cols = x.typed.shape
        if not (isinstance(rows, int) and isinstance(cols, int)):
            raise Refused
        x = b.op(shape.TRANSPOSE, shape.Transpose((0, 2, 1)), b.op(shape.RESHAPE, shape.Reshape((n, c, rows * cols)), x))
    if x.typed.rank != 3 or not all(isinstance(dim, int) for dim in x.typed.shape[1:]):
        raise Refused
    n, tokens, c = x.typed.shape
    assert isinstance(c, int)
    count, depth = b.pick((2, 2), (1, 3), (3, 1))
    y = norm(b, x) if b.flag() else x
    y = b.op(linear.MATMUL, linear.MatMul(), y, b.param(c, 3 * count * depth))
    y = b.op(shape.RESHAPE, shape.Reshape((n, tokens, 3, count, depth)), y)
    y = b.op(shape.TRANSPOSE, shape.Transpose((2, 0, 3, 1, 4)), y)
    q, k, v = (
        b.op(shape.RESHAPE, shape.Reshape((n, count, tokens, depth)), b.op(shape.SLICE, shape.Slice((0,), (i,), (i + 1,)), y))
        for i in range(3)
    )
    if b.flag():
        q = b.op(elementwise.MUL, elementwise.Mul(), q, b.param(init="around_one", like="k"))
    scores = b.op(linear.MATMUL, linear.MatMul(), q, b.op(shape.TRANSPOSE, shape.Transpose((0, 1, 3, 2)), k))
    assert isinstance(tokens, int)
    if b.flag(3):
        scores = b.op(elementwise.ADD, elementwise.Add(), scores, b.param(b.pick(1, count), tokens, tokens, like="k"))
    shares = b.op(activation.SOFTMAX, activation.Softmax(b.pick(3, -1, 3, 2)), scores)
    mixed = b.op(linear.MATMUL, linear.MatMul(), shares, v)
    if b.flag(6):
        b.hide(act(b, shares))
    mixed = b.op(shape.TRANSPOSE, shape.Transpose((0, 2, 1, 3)), mixed)
    return matmul(b, b.op(shape.RESHAPE, shape.Reshape((n, tokens, count * depth)), mixed))


def windows(b: Builder, x: Node) -> Node:
    """Rows rolled around, and the image cut into windows. Liu et al. 2021."""
    if x.typed.rank != 4 or not all(isinstance(dim, int) for dim in x.typed.shape[1:]):
        raise Refused
    y = b.op(shape.TRANSPOSE, shape.Transpose((0, 2, 3, 1)), x)
    n, rows, cols, c = y.typed.shape
    assert isinstance(rows, int)
    assert isinstance(cols, int)
    if rows > 1 and b.flag():
        at = b.int(1, rows - 1)
        parts = [b.op(shape.SLICE, shape.Slice((1,), (start,), (end,)), y) for start, end in ((at, rows), (0, at))]
        y = b.op(shape.CONCAT, shape.Concat(1), *parts)
    tall, wide = (next(size for size in (3, 2, 1) if extent % size == 0) for extent in (rows, cols))
    y = b.op(shape.RESHAPE, shape.Reshape((n, rows // tall, tall, cols // wide, wide, c)), y)
    y = b.op(shape.TRANSPOSE, shape.Transpose((0, 1, 3, 2, 4, 5)), y)
    if not isinstance(n, int):
        return act(b, y)
    y = b.op(shape.RESHAPE, shape.Reshape((n * (rows // tall) * (cols // wide), tall * wide, c)), y)
    return b.pick(matmul, act)(b, y)
