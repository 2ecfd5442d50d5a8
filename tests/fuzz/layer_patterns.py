"""Patterns of several layers that passes look for, and their near misses."""

from __future__ import annotations

import math

from convc.ir.graph import Node
from convc.ir.ops import activation, conv, elementwise, pool, shape
from convc.tests.fuzz.network_builder import MOST_CHANNELS, MOST_PRODUCTS, Builder, Refused
from convc.tests.fuzz.single_layers import (
    act,
    avg_pool,
    batch_norm,
    conv2d,
    conv_transpose,
    cut,
    dense,
    depthwise,
    global_pool,
    lrn,
    matmul,
    max_pool,
    nothing,
    pad,
    pointwise,
    resample,
    same_conv,
    scale_or_shift,
    softmax,
    window,
)


def conv_bn_act(b: Builder, x: Node) -> Node:
    product = b.pick(conv2d, conv2d, pointwise, depthwise, conv_transpose)(b, x)
    y = batch_norm(b, product)
    if b.flag(6):
        act(b, product)  # another reader of the raw result
    return y if b.flag(3) else act(b, y)


def before_conv(b: Builder, x: Node) -> Node:
    """What a conv or pool could take in from the layer before: norm, scale, shift, pad, activation."""
    y = b.pick(batch_norm, scale_or_shift, pad, act)(b, x)
    return b.pick(window, conv2d, pointwise, same_conv)(b, y)


def after_conv(b: Builder, x: Node) -> Node:
    """What a conv could take in from the layer after: norms, scales, shifts, slices, strides."""
    y = b.pick(conv2d, same_conv, pointwise, depthwise, conv_transpose)(b, x)
    for _ in range(b.int(1, 3)):
        y = b.pick(scale_or_shift, batch_norm, cut)(b, y)
    return y


def padded_window(b: Builder, x: Node) -> Node:
    y = act(b, x) if b.flag(3) else x
    y = pad(b, y, spatial=not b.flag(6), most=b.pick(1, 1, 2))
    if b.flag(4):
        y = pad(b, y)
    if b.flag(3):
        return b.pick(conv2d, pointwise, depthwise)(b, y)
    kernel = b.pick((3, 3), (3, 3), (2, 3), (2, 2))
    geometry = (
        kernel,
        b.pick((1, 1), (2, 2), (2, 3)),
        b.pick((0, 0, 0, 0), (0, 0, 0, 0), (1, 0, 0, 1)),
        b.pick((1, 1), (1, 1), (1, 1), (2, 1)),
    )
    if b.flag():
        return b.op(pool.MAX_POOL, pool.MaxPool(*geometry, b.flag(3)), y)
    return b.op(pool.AVG_POOL, pool.AvgPool(*geometry, b.flag(3), b.flag()), y)


def lowest_padded_pool(b: Builder, x: Node) -> Node:
    """Padding of -inf under a max pool whose windows all reach the input; infinity goes nowhere else."""
    ends, kernel = [b.int(0, 1) for _ in range(4)], b.pair(2, 3)
    before, after = b.fit(x, tuple(ends[:2])), b.fit(x, tuple(ends[2:]))
    padded = b.op(shape.PAD, shape.Pad((0, 0, *before, 0, 0, *after), -math.inf), x)
    b.hide(padded)
    if b.flag(5):
        y = b.op(*b.pick((activation.RELU, activation.Relu()), (activation.SIGMOID, activation.Sigmoid())), padded)
    else:
        own = b.pick((0, 0, 0, 0), (1, 0, 0, 1)) if max(ends) + 1 < min(kernel) else (0, 0, 0, 0)
        y = b.op(pool.MAX_POOL, pool.MaxPool(kernel, b.pair(1, 2), own, ceil_mode=b.flag(4) and not any(ends)), padded)
    return y


def whole_pool(b: Builder, x: Node) -> Node:
    """A pool whose window is the whole image, or nearly, or more."""
    rows, cols = x.typed.shape[2:]
    if not isinstance(rows, int) or not isinstance(cols, int):
        raise Refused
    top, left, bottom, right = pads = b.pick((0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 1, 1))
    kernel, dilations = (rows + b.pick(0, top, top + bottom), cols + b.pick(0, left, left + right)), (1, 1)
    if b.flag(5) and rows > 2:
        kernel, dilations = ((rows + 1) // 2, kernel[1]), (2, 1)
    geometry = kernel, b.pick((1, 1), (2, 2)), pads, dilations
    if b.flag():
        return b.op(pool.MAX_POOL, pool.MaxPool(*geometry), x)
    return b.op(pool.AVG_POOL, pool.AvgPool(*geometry, b.flag(4), b.flag()), x)


def pool_of_conv(b: Builder, x: Node) -> Node:
    """A conv, 1x1 or not quite, before an average or after a resize."""
    if b.flag(3):
        x = resample(b, x)
    kernel, strides = b.pick((1, 1), (1, 1), (1, 1), (2, 1), (3, 3)), b.pick((1, 1), (1, 1), (1, 1), (2, 2))
    y = conv2d(b, x, kernel=kernel, strides=strides, pads=b.pick((0,) * 4, (0,) * 4, (1,) * 4), groups=1, c_out=b.int(1, 5))
    if b.flag(5):
        act(b, y)  # another reader
    return b.pick(avg_pool, global_pool, resample, max_pool)(b, y)


def strided_readers(b: Builder, x: Node) -> Node:
    """A window, work at each place, and only strided 1x1 convs that read it: all with one stride, or nearly."""
    y = b.pick(same_conv, conv2d, max_pool, avg_pool)(b, x)
    for _ in range(b.int(0, 3)):
        how = b.int(0, 3)
        if how == 0:
            y = b.pick(act, batch_norm)(b, y)
        elif how == 1:
            y = scale_or_shift(b, y)
        elif how == 2:
            y = b.op(elementwise.ADD, elementwise.Add(), y, b.pick(b.fellow(y), same_conv(b, x, b.channels(y))))
        else:
            if y.typed.rank != 4:
                raise Refused
            c, rows, cols = y.typed.shape[1:]
            dims = b.pick((1, 1, 1, cols), (1, 1, rows, 1), (1, c, 1, 1), (c, rows, cols))
            if not all(isinstance(size, int) for size in dims):
                raise Refused
            y = b.op(*b.pick((elementwise.MUL, elementwise.Mul()), (elementwise.ADD, elementwise.Add())), y, b.param(*dims, like="k"))
    stride, ends = b.pick((2, 2), (2, 1), (3, 2)), []
    for _ in range(b.int(1, 2)):
        kernel, own = b.pick((1, 1), (1, 1), (1, 1), (1, 1), (2, 1)), b.pick(stride, stride, stride, (4, 2), (1, 1))
        ends.append(conv2d(b, y, kernel=kernel, strides=own, pads=b.pick((0,) * 4, (0,) * 4, (1, 0, 0, 0)), groups=1, c_out=3))
    return b.op(elementwise.ADD, elementwise.Add(), *ends) if len(ends) == 2 and ends[0].type == ends[1].type else ends[-1]


def two_convs(b: Builder, x: Node) -> Node:
    """With nothing, or little, in between: composed, or a stride moved from one to the other."""
    y = b.pick(conv2d, pointwise, depthwise, same_conv)(b, x)
    if b.flag(3):
        y = b.pick(act, cut, nothing, batch_norm)(b, y)
    return b.pick(pointwise, conv2d, depthwise, cut, max_pool)(b, y)


def activations(b: Builder, x: Node) -> Node:
    y = b.pick(act, max_pool, softmax)(b, x)
    return b.pick(act, max_pool, scale_or_shift, global_pool)(b, y)


def residual(b: Builder, x: Node) -> Node:
    y = same_conv(b, x)
    if b.flag():
        y = act(b, b.pick(batch_norm, act, scale_or_shift)(b, y))
    if b.flag():
        y = same_conv(b, y, b.channels(x))
    shortcut = b.pick(x, x, b.fellow(y))
    operands = (shortcut, y) if b.flag() else (y, shortcut)
    y = b.op(
        *b.pick((elementwise.ADD, elementwise.Add()), (elementwise.ADD, elementwise.Add()), (elementwise.SUB, elementwise.Sub())), *operands
    )
    return act(b, y) if b.flag() else y


def add_convs(b: Builder, x: Node) -> Node:
    """A sum of two convs of the same input, or of two inputs."""
    c_out, other = b.int(1, 4), b.pick(x, b.fellow(x))
    return b.op(elementwise.ADD, elementwise.Add(), same_conv(b, x, c_out), same_conv(b, other, c_out))


def siblings(b: Builder, x: Node) -> Node:
    """Convs of one value with one kind of window and what follows each, joined in order or nearly: one conv, or one and slices."""
    kernel, strides = b.pick((1, 1), (1, 1), (3, 3)), b.pick((1, 1), (1, 1), (2, 1))
    c_in, follows, ends = b.channels(x), b.pick(None, activation.RELU, activation.SIGMOID), []
    for _ in range(b.int(2, 3)):
        w = b.filters(x, b.int(1, 3), c_in, *kernel)
        bias = (b.param(w.typed.shape[0], init="small", like="b"),) if b.flag() else ()
        y = b.op(conv.CONV2D, conv.Conv2d(strides, (kernel[0] // 2,) * 4), x, w, *bias)
        ends.append(b.op(follows, follows.Attrs(), y) if follows and not b.flag(8) else y)
    parts = b.pick(ends, ends, [*ends, ends[0]], ends[::-1], [*ends, act(b, ends[0])])
    return act(b, ends[0]) if b.flag(4) else b.op(shape.CONCAT, shape.Concat(1), *parts)


def squeeze(b: Builder, x: Node) -> Node:
    """A 1x1 conv, or one that is not quite, of a concat of channels, or one that is not quite."""
    parts = [b.pick(act, same_conv, lambda b, x: x)(b, x) for _ in range(b.int(2, 3))]
    y = b.op(shape.CONCAT, shape.Concat(b.pick(1, 1, 1, -3, 2)), *parts)
    if b.flag(5):
        act(b, y)  # another reader
    return conv2d(b, y, kernel=b.pick((1, 1), (1, 1), (1, 1), (3, 1)), groups=1, c_out=b.int(1, 2))


def branches(b: Builder, x: Node) -> Node:
    """Parallel layers on one value, concatenated; convs of one kind, or different ones, or a branch in a branch."""
    alike = b.flag()
    parts = []
    for _ in range(b.int(2, 3)):
        if alike:
            kernel, groups = b.pick((1, 1), (1, 1), (3, 3)), b.pick(1, 1, 2) if b.channels(x) % 2 == 0 else 1
            parts.append(conv2d(b, x, kernel=kernel, strides=(1, 1), pads=(kernel[0] // 2,) * 4, groups=groups, c_out=b.pick(2, 4)))
        else:
            parts.append(b.pick(same_conv, act, nothing, lrn, batch_norm, lambda b, x: x)(b, x))
        if b.flag(4):
            parts[-1] = act(b, parts[-1])
    y = b.op(shape.CONCAT, shape.Concat(b.pick(1, 1, 1, -3)), *parts)
    if b.flag(3):
        y = b.op(shape.CONCAT, shape.Concat(1), *b.pick((y, x), (x, y), (y, y)))
    return y if b.flag() else b.pick(act, batch_norm, conv2d, pointwise, scale_or_shift, cut)(b, y)


def shared_weights(b: Builder, x: Node) -> Node:
    """Two convs with one weight: on two values, or one after the other; only one of them has a norm."""
    c = b.channels(x)
    w = b.filters(x, c, c, *b.pick((1, 1), (3, 3)))
    first = conv2d(b, x, w=w, strides=(1, 1), pads=(1, 1, 1, 1))
    if b.flag():
        first = batch_norm(b, first)
    second = conv2d(b, b.pick(x, first, b.fellow(x)), w=w, strides=(1, 1), pads=(1, 1, 1, 1))
    if first.type == second.type and b.flag():
        return b.op(elementwise.ADD, elementwise.Add(), first, second)
    return second


def shared_stats(b: Builder, x: Node) -> Node:
    """Two norms with the same parameters."""
    c = b.channels(x)
    stats = [
        b.param(c, init=init, like=like)
        for init, like in (("around_one", "scale"), ("small", "shift"), ("small", "mean"), ("around_one", "var"))
    ]
    first = batch_norm(b, same_conv(b, x, c), stats)
    return batch_norm(b, b.pick(first, x, same_conv(b, first, c)), stats)


def twice(b: Builder, x: Node) -> Node:
    """A layer literally duplicated, its parameters too, or one thing about it different."""
    first = b.pick(act, same_conv, batch_norm, max_pool, scale_or_shift, nothing)(b, x)
    operands = tuple(b.twin(n) if n.weights is not None and b.flag() else n for n in first.inputs)
    second = b.op(first.kind, first.op, *operands)
    if b.flag(3):
        second = act(b, second)
    if second.type != first.type:
        return second
    return b.op(
        *b.pick((elementwise.ADD, elementwise.Add()), (shape.CONCAT, shape.Concat(1)), (elementwise.SUB, elementwise.Sub())), first, second
    )


def computed_weights(b: Builder, x: Node) -> Node:
    """Parameters that are computed from parameters: scaled, added, reshaped, cut."""
    c = b.channels(x)
    w = b.filters(x, b.int(1, 4), c, *b.pair(1, 3))
    dims = w.typed.shape
    how = b.int(0, 3)
    if how == 0:
        w = b.op(elementwise.MUL, elementwise.Mul(), w, b.param(dims[0], *(1,) * (len(dims) - 1), init="around_one", like="k"))
    elif how == 1:
        flat = b.op(shape.RESHAPE, shape.Reshape((-1,)), w)
        b.hide(flat)
        w = b.op(shape.RESHAPE, shape.Reshape(dims), flat)
    elif how == 2:
        w = b.op(shape.TRANSPOSE, shape.Transpose((0, 1, 3, 2)), w)
    else:
        w = b.op(elementwise.ADD, elementwise.Add(), w, b.twin(w))
    b.hide(w)
    y = conv2d(b, x, w=w, groups=1)
    return batch_norm(b, y) if b.flag() else y


def squeeze_and_excite(b: Builder, x: Node) -> Node:
    """x times a value per channel that x decides. Hu et al. 2018."""
    b.products += 1
    if b.products > MOST_PRODUCTS:
        raise Refused
    y = pointwise(b, b.op(pool.GLOBAL_AVG_POOL, pool.GlobalAvgPool(), x)) if b.flag() else x
    gate = b.op(activation.SIGMOID, activation.Sigmoid(), same_conv(b, y, b.channels(x)))
    return b.op(elementwise.MUL, elementwise.Mul(), *b.pick((x, gate), (gate, x)))


def shuffled(b: Builder, x: Node) -> Node:
    """Channels in groups, mixed, and halves of them, or a conv. Zhang et al. 2018."""
    if x.typed.rank < 2:
        raise Refused
    y = b.op(shape.CONCAT, shape.Concat(b.pick(1, 1 - x.typed.rank)), x, act(b, x)) if b.flag() else x
    batch, channels, *image = y.typed.shape
    if not isinstance(channels, int) or channels % 2 or sum(not isinstance(size, int) for size in y.typed.shape) > 1:
        raise Refused
    parts = b.pick((2, channels // 2), (channels // 2, 2), (2, channels // 2, 1))
    order = tuple(reversed(range(1, 1 + len(parts)))) if b.flag(2) else tuple(range(1, 1 + len(parts)))
    split = b.op(shape.RESHAPE, shape.Reshape((batch, *parts, *image)), y)
    turned = b.op(shape.TRANSPOSE, shape.Transpose((0, *order, *range(1 + len(parts), split.typed.rank))), split)
    mixed = b.op(shape.RESHAPE, shape.Reshape(y.typed.shape), turned)
    if b.flag():
        return b.pick(pointwise, conv2d, depthwise)(b, mixed)
    halves = [b.op(shape.SLICE, shape.Slice((1,), (start,), (start + channels // 2,)), mixed) for start in (0, channels // 2)]
    return b.op(shape.CONCAT, shape.Concat(1), halves[1], act(b, halves[0]))


def narrow_groups(b: Builder, x: Node) -> Node:
    """Groups of 2 to 15 channels between two 1x1 convolutions, or not all of that. Xie et al. 2016; Radosavovic et al. 2020."""
    width, groups = b.pick((8, 2), (4, 3), (2, 4), (16, 1), (3, 5), (5, 3), (15, 2), (7, 2), (12, 2), (6, 4), (10, 3), (2, 15))
    y = conv2d(b, x, kernel=(1, 1), strides=(1, 1), pads=(0, 0, 0, 0), groups=1, c_out=width * groups)
    if b.flag():
        y = act(b, y)
    thick = b.pick(width, width, width, max(width // 2, 1), min(2 * width, MOST_CHANNELS // groups))
    kernel = b.pick((3, 3), (3, 3), (1, 1), (5, 5), (1, 3))
    pads = tuple(size // 2 for size in kernel * 2)
    y = conv2d(b, y, kernel=kernel, strides=b.pick((1, 1), (1, 1), (2, 2)), pads=pads, groups=groups, c_out=thick * groups)
    y = b.pick(act, batch_norm, nothing)(b, y)
    if b.flag():
        return y
    y = conv2d(b, y, kernel=(1, 1), strides=(1, 1), pads=(0, 0, 0, 0), groups=1, c_out=b.channels(x))
    return b.op(elementwise.ADD, elementwise.Add(), x, y) if x.type == y.type else y


def whole_groups(b: Builder, x: Node) -> Node:
    """Groups of 16 and 32 channels, of any stride, dilation and padding, between two 1x1 convolutions: on a small image of their own, or on x."""
    image = x if b.flag(3) else b.input("image", x.typed.shape[0], b.int(1, 4), b.int(5, 12), b.int(5, 12))
    channels, one = b.channels(image), {"kernel": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0), "groups": 1}
    groups, c_in, c_out = b.pick((2, 16, 16), (3, 16, 16), (2, 32, 16), (2, 16, 32), (2, 32, 32), (1, 16, 16))
    kernel = b.pick((3, 3), (3, 3), (3, 3), (5, 5), (1, 1), (3, 1))
    strides, dilations = (b.pick((1, 1), (1, 1), (1, 1), (1, 1), (2, 2), (2, 1)) for _ in range(2))
    same = tuple(size // 2 * step for size, step in zip(kernel, dilations, strict=True)) * 2
    with b.room(elements=20_000, channels=96):
        y = conv2d(b, image, c_out=groups * c_in, **one)
        if b.flag():
            y = act(b, y)
        bias = (b.param(groups * c_out, init="small", like="b"),) if b.flag() else ()
        op = conv.Conv2d(strides, b.pick(same, same, b.pads()), dilations, groups)
        y = b.op(conv.CONV2D, op, y, b.filters(y, groups * c_out, c_in, *kernel), *bias)
        y = b.pick(act, batch_norm, nothing)(b, y)
        if b.flag(3):
            y = b.op(elementwise.ADD, elementwise.Add(), b.fellow(y), y)
        y = conv2d(b, y, c_out=channels, **one)
    return b.op(elementwise.ADD, elementwise.Add(), image, y) if image.type == y.type else y


def classifier(b: Builder, x: Node) -> Node:
    """The tail of a network: down to rows of features, dense layers, probabilities."""
    if b.flag():
        x = b.op(pool.GLOBAL_AVG_POOL, pool.GlobalAvgPool(), x)
    y = b.op(*b.pick((shape.FLATTEN, shape.Flatten(b.pick(1, 1, 1, 0, 2))), (shape.RESHAPE, shape.Reshape((x.typed.shape[0], -1)))), x)
    if b.flag(3):
        y = act(b, y)
    y = b.pick(dense, matmul)(b, y)
    if b.flag():
        y = b.pick(act, batch_norm, scale_or_shift, nothing)(b, y)
    if b.flag():
        y = dense(b, y)
    return softmax(b, y) if b.flag() else y
