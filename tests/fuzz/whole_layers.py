"""Layers that networks have at their ends: sums named by letters, recurrent layers, places read between the pixels."""

from __future__ import annotations

from convc.ir.graph import Node
from convc.ir.ops import activation, attention, conv, deform, einsum, elementwise, recurrent, sample, shape
from convc.tests.fuzz.network_builder import Builder, Refused


def lettered(b: Builder, x: Node) -> Node:
    rank = x.typed.rank
    if rank < 2 or not isinstance(x.typed.shape[-1], int):
        raise Refused
    w = b.param(x.typed.shape[-1], b.int(1, 4))
    equation, operands = b.pick(("...ij->...ji", (x,)), ("...i,ij->...j", (x, w)), ("...i,ij->j...", (x, w)), ("...ij->...i", (x,)))
    return b.op(einsum.EINSUM, einsum.Einsum(equation), *operands)


def recurrent_layer(b: Builder, x: Node) -> Node:
    """Images as steps, channels as sequences, pixels as values; now and then with a second result."""
    if x.typed.rank < 3 or any(not isinstance(dim, int) for dim in x.typed.shape[1:]):
        raise Refused
    n, c, *rest = x.typed.shape
    size = 1
    for dim in rest:
        size *= dim
    x = b.op(shape.RESHAPE, shape.Reshape((n, c, size)), x) if len(rest) > 1 else x
    kind, gates = b.pick((recurrent.LSTM, 4), (recurrent.GRU, 3), (recurrent.RNN, 1))
    hidden, direction = b.int(1, 3), b.pick("forward", "reverse", "bidirectional")
    count = 2 if direction == "bidirectional" else 1
    w, r = b.param(count, gates * hidden, size, init="small"), b.param(count, gates * hidden, hidden, init="small")
    bias = (b.param(count, 2 * gates * hidden, init="small", like="b"),) if b.flag() else ()
    attributes = {"hidden": hidden, "direction": direction, "given": ("bias",) * len(bias)}
    if b.flag():
        b.op(kind, kind.Attrs(**attributes, result=1), x, w, r, *bias)
    return b.op(kind, kind.Attrs(**attributes), x, w, r, *bias)


def attended(b: Builder, x: Node) -> Node:
    """An image's channels, or rows, attend to each other; now and then turned by their places first."""
    if x.typed.rank not in (3, 4) or any(not isinstance(dim, int) for dim in x.typed.shape[1:]):
        raise Refused
    heads = b.pick(1, 2) if x.typed.rank == 3 else 0
    if heads and x.typed.shape[2] % heads:
        raise Refused
    width = x.typed.shape[-1] // max(heads, 1)
    op = attention.Attention(heads, heads, causal=b.flag(), softcap=b.pick(0.0, 2.0))
    if width % 2 == 0 and b.flag() and isinstance(x.typed.shape[0], int):
        tables = [b.param(x.typed.shape[0], x.typed.shape[-2], width // 2, like="t") for _ in range(2)]
        x = b.op(attention.ROTARY_EMBEDDING, attention.RotaryEmbedding(heads, b.flag()), x, *tables)
    x = b.op(activation.TANH, activation.Tanh(), x)
    return b.op(attention.ATTENTION, op, x, x, x)


def looked_up(b: Builder, x: Node) -> Node:
    """At places that vary a little; nearest ones would jump."""
    if x.typed.rank != 4:
        raise Refused
    if b.flag(3):
        rois = b.param(2, 4, init="around_one", like="r")
        images = b.param(2, init="zeros", like="i", dtype="i64")
        op = sample.RoiAlign(b.pair(1, 2), "avg", b.int(1, 2), b.pick(1.0, 2.0), b.flag())
        return b.op(sample.ROI_ALIGN, op, x, rois, images)
    grid = b.input("grid", x.typed.shape[0], *b.pair(2, 4), 2)
    grid = b.op(activation.TANH, activation.Tanh(), grid)
    b.hide(grid)
    grid = b.op(elementwise.MUL, elementwise.Mul(), grid, b.param(init="full", value=1.25, like="k"))
    b.hide(grid)
    padding = b.pick(*sample.PADDINGS)
    return b.op(sample.GRID_SAMPLE, sample.GridSample(b.pick("linear", "cubic"), padding, b.flag()), x, grid)


def deformed(b: Builder, x: Node) -> Node:
    """A convolution whose taps a little convolution moves, now and then weighed by a mask."""
    if x.typed.rank != 4:
        raise Refused
    c_in, size, groups = b.channels(x), 4, b.pick(1, 1, 2)
    if c_in % groups:
        raise Refused
    strides, pads = b.pick((1, 1), (2, 1)), b.pick((0, 0, 1, 1), (1, 0, 0, 1))
    window = conv.Conv2d(strides, pads)

    def for_each_tap(count: int) -> Node:
        y = b.op(conv.CONV2D, window, x, b.param(groups * size * count, c_in, 2, 2, init="small"))
        y = b.op(activation.TANH, activation.Tanh(), y)
        b.hide(y)
        return y

    offset = for_each_tap(2)
    mask = (for_each_tap(1),) if b.flag() else ()
    op = deform.DeformConv2d(strides, pads, offset_groups=groups, given=("mask",) * len(mask))
    return b.op(deform.DEFORM_CONV2D, op, x, b.param(b.int(1, 4), c_in, 2, 2), offset, *mask)
