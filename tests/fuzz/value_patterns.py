"""Patterns on values of any kind: arithmetic, cuts and joins, choices, whole numbers; and their near misses."""

from __future__ import annotations

from convc.ir.graph import Node
from convc.ir.ops import (
    activation,
    activation_variants,
    compare,
    conv,
    elementwise,
    group,
    integer,
    qlinear,
    quantize,
    rearrange,
    reduce,
    select,
    shape,
    unary,
)
from convc.tests.fuzz.network_builder import MOST_PRODUCTS, Builder, Refused
from convc.tests.fuzz.single_layers import act, act_or_not, constant, conv2d, cut, nothing, pad, scale_or_shift, softmax


def mean(b: Builder, x: Node) -> Node:
    return b.op(reduce.REDUCE_MEAN, reduce.ReduceMean(b.pick((x.typed.rank - 1,), (2, 3), (-1, -2), (1,), (1, 2), ()), b.flag()), x)


def arithmetic_twice(b: Builder, x: Node) -> Node:
    """Two constants in a row, of like or unlike shapes; now and then of whole numbers, which truncate."""
    if b.flag(4):
        y = b.input_like(x, "i32")
        if b.flag(3) and x.typed.rank == 4:
            w = b.param(2, b.channels(x), *b.pair(1, 2), init="ones", dtype="i32")
            y = b.op(conv.CONV2D, conv.Conv2d(), y, w)
            b.hide(y)
        kinds = b.pick((elementwise.ADD, elementwise.SUB), (elementwise.DIV, elementwise.MUL))
        for _ in range(2):
            kind = b.pick(*kinds)
            y = b.op(kind, kind.Attrs(), y, b.param(init="full", value=b.pick(3.0, 2.0), like="k", dtype="i32"))
            b.hide(y)
        y = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), y)
        return b.op(elementwise.MUL, elementwise.Mul(), y, b.param(init="full", value=0.0625, like="k", dtype=x.typed.dtype))
    first = scale_or_shift(b, x)
    second = scale_or_shift(b, first)
    return b.op(elementwise.ADD, elementwise.Add(), first, second) if b.flag(5) and first.type == second.type else second


TWISTS = ("", "", "", "swapped", "front", "gap", "tail", "overlap", "step", "source", "axis", "two axes", "work", "whole", "thrice")


def slices_joined(b: Builder, x: Node) -> Node:
    """Cut in two and put together again: whole and in order, or with one thing about it different."""
    axis = b.pick(1, 1, 2, 3) if x.typed.rank == 4 else 1
    size = x.typed.shape[axis] if axis < x.typed.rank else 0
    if not isinstance(size, int) or size < 2:
        raise Refused
    at, twist = b.int(1, size - 1), b.pick(*TWISTS)
    at = size // 2 if twist == "axis" else at  # halves may be joined along another axis
    first, second = (int(twist == "front"), at), (at, b.pick(2**31, size))
    second = {"gap": (at + 1, size), "tail": (at, size - 1), "overlap": (at - 1, size)}.get(twist, second)
    other = b.pick(b.fellow(x), act(b, x)) if twist == "source" else x
    steps = (2,) if twist == "step" else b.pick((), (1,))
    if twist == "two axes" and axis != 3 and x.typed.rank == 4:
        parts = [b.op(shape.SLICE, shape.Slice((axis, 3), (start, 0), (end, 2)), x) for start, end in (first, second)]
    else:
        parts = [b.op(shape.SLICE, shape.Slice((axis,), first[:1], first[1:]), x)]
        parts.append(b.op(shape.SLICE, shape.Slice((axis,), second[:1], second[1:], steps), other))
    if twist == "swapped":
        parts.reverse()
    elif twist == "thrice":
        parts.append(parts[0])
    elif twist == "work":
        parts[0] = act(b, parts[0])
    elif twist == "whole":
        parts[1] = act(b, x)
    along = b.int(1, x.typed.rank - 1) if twist == "axis" else axis
    y = b.op(shape.CONCAT, shape.Concat(b.pick(along, along - x.typed.rank)), *parts)
    return act(b, y) if b.flag() else y


def joined_then_cut(b: Builder, x: Node) -> Node:
    """A slice that takes one operand of a concat, part of one, or parts of two."""
    other = b.pick(x, b.fellow(x), act(b, x))
    c = b.channels(x)
    y = b.op(shape.CONCAT, shape.Concat(1), x, other)
    start = b.pick(0, c, 1, c - 1)
    return b.op(shape.SLICE, shape.Slice((1,), (start,), (b.pick(start + c, c, 2 * c, start + 1),)), y)


def turned(b: Builder, x: Node) -> Node:
    """To channels last and back, with work in between that may or may not allow dropping both."""
    rank = x.typed.rank
    there = (0, *range(2, rank), 1) if rank > 2 else tuple(reversed(range(rank)))
    back = tuple(there.index(axis) for axis in range(rank))
    y = b.op(shape.TRANSPOSE, shape.Transpose(there), x)
    for _ in range(b.int(0, 2)):
        y = b.pick(act, scale_or_shift, nothing, lambda b, x: pad(b, x, spatial=False), softmax)(b, y)
    return b.op(shape.TRANSPOSE, shape.Transpose(b.pick(back, back, back, there) if y.typed.rank == rank else there), y)


def reshaped(b: Builder, x: Node) -> Node:
    """A channel shuffle, or a chain of reshapes with work in between."""
    if x.typed.rank != 4:
        return b.op(shape.FLATTEN, shape.Flatten(b.pick(1, 0, x.typed.rank)), x)
    n, c, rows, cols = x.typed.shape
    if not isinstance(c, int):
        raise Refused
    if c % 2 == 0 and b.flag():
        y = b.op(shape.RESHAPE, shape.Reshape((n, 2, c // 2, rows, cols)), x)
        y = b.op(shape.TRANSPOSE, shape.Transpose((0, 2, 1, 3, 4)), y)
        return b.op(shape.RESHAPE, shape.Reshape((n, c, rows, cols)), y)
    y = b.op(shape.FLATTEN, shape.Flatten(b.pick(1, 2, 3)), x)
    if b.flag(3):
        y = b.pick(act, scale_or_shift)(b, y)
    return b.op(shape.RESHAPE, shape.Reshape((n, *b.pick((c, rows, cols), (c, cols, rows), (-1,)))), y)


def product(b: Builder, x: Node) -> Node:
    """Arithmetic of two activations; a divisor is kept away from 0."""
    b.products += 1
    if b.products > MOST_PRODUCTS:
        raise Refused
    other = b.fellow(x)
    if b.flag():
        gate = b.op(activation.SIGMOID, activation.Sigmoid(), other)
        half = b.param(init="full", value=0.5, like="k")
        return b.op(elementwise.DIV, elementwise.Div(), x, b.op(elementwise.ADD, elementwise.Add(), gate, half))
    return b.op(elementwise.MUL, elementwise.Mul(), x, other)


def cast_there_and_back(b: Builder, x: Node) -> Node:
    y = b.op(elementwise.CAST, elementwise.Cast("f64"), x)
    return b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), b.pick(y, act(b, y)) if x.typed.dtype != "f64" else y)


def second_input(b: Builder, x: Node) -> Node:
    """Another argument of the network, floating or whole numbers."""
    if b.flag(3):
        whole = b.op(elementwise.ADD, elementwise.Add(), b.input_like(x, "i32"), b.param(init="full", value=3.0, like="k", dtype="i32"))
        other = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), whole)
        b.hide(whole)
        scale = b.param(init="full", value=0.0625, like="k", dtype=x.typed.dtype)  # of -100 to 100
        other = b.op(elementwise.MUL, elementwise.Mul(), other, scale)
    else:
        other = b.input_like(x)
    return b.op(*b.pick((elementwise.ADD, elementwise.Add()), (shape.CONCAT, shape.Concat(1))), x, other)


def cut_of_cut(b: Builder, x: Node) -> Node:
    first = b.pick(cut, pad)(b, x)
    return b.pick(cut, pad)(b, first)


def curve(b: Builder, x: Node) -> Node:
    """Functions that overflow or have no value somewhere, kept where they are tame: between 0.5 and 1.5."""
    share = b.op(activation.SIGMOID, activation.Sigmoid(), x)
    y = b.op(elementwise.ADD, elementwise.Add(), share, b.param(init="full", value=0.5, like="k"))
    if b.flag(3):
        other = b.pick(b.param(init="full", value=b.pick(2.0, -0.5), like="k"), share)
        return b.op(elementwise.POW, elementwise.Pow(), y, other)
    return b.op(*b.pick((unary.EXP, unary.Exp()), (unary.LOG, unary.Log()), (unary.SQRT, unary.Sqrt())), y)


def greatest(b: Builder, x: Node) -> Node:
    kind = b.pick(elementwise.MAXIMUM, elementwise.MINIMUM)
    other = b.pick(b.fellow(x), constant(b, x), act(b, x))
    return b.op(kind, kind.Attrs(), *b.pick((x, other), (other, x)))


def learned_slope(b: Builder, x: Node) -> Node:
    return b.op(activation_variants.PRELU, activation_variants.Prelu(), x, constant(b, x))


def choice(b: Builder, x: Node) -> Node:
    """One of two values, as whole numbers decide: at floats that are all but equal, engines would differ."""
    whole = b.input_like(x, "i32")
    limit = b.param(init="full", value=b.pick(3.0, -20.0), like="k", dtype="i32")
    kind = b.pick(*compare.COMPARISONS)
    truth = b.op(kind, kind.Attrs(), whole, limit)
    b.hide(truth)
    if b.flag(3):
        kind = b.pick(compare.LOGICAL_AND, compare.LOGICAL_OR)
        other = b.op(compare.GREATER, compare.Greater(), limit, whole)
        truth = b.op(kind, kind.Attrs(), truth, other)
        b.hide(other), b.hide(truth)
    if b.flag(3):
        truth = b.op(unary.LOGICAL_NOT, unary.LogicalNot(), truth)
        b.hide(truth)
    return b.op(compare.WHERE, compare.Where(), truth, *b.pick((x, b.fellow(x)), (x, constant(b, x)), (act(b, x), x)))


def stairs(b: Builder, x: Node) -> Node:
    """Whole numbers of halves, which every engine has exactly."""
    halves = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), b.input_like(x, "i32"))
    halves = b.op(elementwise.MUL, elementwise.Mul(), halves, b.param(init="full", value=0.5, like="k", dtype=x.typed.dtype))
    y = b.op(*b.pick((unary.FLOOR, unary.Floor()), (unary.CEIL, unary.Ceil()), (unary.ROUND, unary.Round())), halves)
    y = b.op(elementwise.MUL, elementwise.Mul(), y, b.param(init="full", value=0.0625, like="k", dtype=x.typed.dtype))
    return b.op(elementwise.ADD, elementwise.Add(), x, y)


def own_statistics(b: Builder, x: Node) -> Node:
    """A norm by the value's own mean and variance, and what may follow it."""
    if b.flag(3):
        if not isinstance(x.typed.shape[-1] if x.typed.rank else "none", int):
            raise Refused
        parameters = [b.param(x.typed.shape[-1], init=init, like="k") for init in ("around_one", "small")]
        y = b.op(group.LAYER_NORM, group.LayerNorm(-1, b.pick(1e-2, 0.1)), x, *parameters[: b.int(1, 2)])
    else:
        c = b.channels(x)
        groups = b.pick(*(g for g in (1, 2, 3, c) if c % g == 0))
        kind, op = b.pick((group.INSTANCE_NORM, group.InstanceNorm(1e-2)), (group.GROUP_NORM, group.GroupNorm(groups, 0.1)))
        y = b.op(kind, op, x, b.param(c, init="around_one", like="scale"), b.param(c, init="small", like="shift"))
    return act_or_not(b, y)


def rearranged(b: Builder, x: Node) -> Node:
    """Pixels to channels and back, or not quite back."""
    there = b.pick(
        (rearrange.SPACE_TO_DEPTH, rearrange.SpaceToDepth(2)), (rearrange.DEPTH_TO_SPACE, rearrange.DepthToSpace(2, b.pick("DCR", "CRD")))
    )
    if b.flag(3):
        x = b.op(rearrange.TILE, rearrange.Tile((1, b.pick(1, 4, 2), 2, 2)), x)
    elif there[0] is rearrange.DEPTH_TO_SPACE:
        x = conv2d(b, x, kernel=(1, 1), strides=(1, 1), pads=(0, 0, 0, 0), c_out=4, groups=1)
    y = act_or_not(b, b.op(*there, x))
    if there[0] is rearrange.SPACE_TO_DEPTH and b.flag():
        y = b.op(rearrange.DEPTH_TO_SPACE, rearrange.DepthToSpace(2, b.pick("DCR", "DCR", "CRD")), y)
    return y


def spread(b: Builder, x: Node) -> Node:
    """One value for an axis, or two, and back to the shape it had."""
    axes = b.pick((x.typed.rank - 1,), (-1, -2), (1,))
    if b.flag(4):
        share = b.op(activation.SIGMOID, activation.Sigmoid(), x)
        tame = b.op(elementwise.ADD, elementwise.Add(), share, b.param(init="full", value=0.5, like="k"))
        y = b.op(reduce.REDUCE_PROD, reduce.ReduceProd(axes), tame)
    else:
        kind = b.pick(reduce.REDUCE_SUM, reduce.REDUCE_MAX, reduce.REDUCE_MIN)
        y = b.op(kind, kind.Attrs(axes, b.pick(True, True, False)), x)
    if y.typed.rank != x.typed.rank or b.flag(4):
        return y
    return b.op(elementwise.SUB, elementwise.Sub(), x, b.op(rearrange.EXPAND, rearrange.Expand(x.typed.shape), y))


def picked(b: Builder, x: Node) -> Node:
    """Parts of an axis by constant indices, or its greatest values."""
    if not x.typed.rank:
        raise Refused
    axis = b.int(0, x.typed.rank - 1)
    if b.flag():
        k = b.int(1, 3)
        return b.op(select.TOP_K_VALUES, select.TopKValues(k, axis, b.flag()), x)
    indices = b.param(*b.pick((2,), (), (1, 2)), init="full", value=b.pick(0.0, -1.0), like="i", dtype=b.pick("i64", "i32"))
    return b.op(select.GATHER, select.Gather(b.pick(axis, axis - x.typed.rank)), x, indices)


def placed(b: Builder, x: Node) -> Node:
    """Where the greatest of whole numbers lies: of floats that are all but equal, engines would choose differently."""
    axis = b.int(0, x.typed.rank - 1) if x.typed.rank else 0
    kind = b.pick(reduce.ARG_MAX, reduce.ARG_MIN, select.TOP_K_INDICES)
    op = select.TopKIndices(1, axis, b.flag()) if kind is select.TOP_K_INDICES else kind.Attrs(axis, True, b.flag())
    places = b.op(kind, op, b.input_like(x, b.pick("i32", "i64")))
    b.hide(places)
    y = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), places)
    y = b.op(elementwise.MUL, elementwise.Mul(), y, b.param(init="full", value=0.125, like="k", dtype=x.typed.dtype))
    return b.op(elementwise.ADD, elementwise.Add(), x, y)


def quantized(b: Builder, x: Node) -> Node:
    """Halves, which every engine has exactly, to bytes and back."""
    dtype = x.typed.dtype
    halves = b.op(elementwise.CAST, elementwise.Cast(dtype), b.input_like(x, "i32"))
    scale = b.param(init="full", value=b.pick(2.0, 0.5), like="s", dtype=dtype)
    zero = b.param(init="full", value=b.pick(0.0, 7.0), like="z", dtype=b.pick("i8", "u8"))
    steps = b.op(quantize.QUANTIZE_LINEAR, quantize.QuantizeLinear(), halves, scale, zero)
    b.hide(steps)
    back = b.param(init="full", value=0.0625, like="s", dtype=dtype)
    return b.op(elementwise.ADD, elementwise.Add(), x, b.op(quantize.DEQUANTIZE_LINEAR, quantize.DequantizeLinear(), steps, back, zero))


def quantized_layer(b: Builder, x: Node) -> Node:
    """A quantized product of whole numbers, over a kernel of 1 or by columns; scales are powers of two, so every engine has the same steps."""
    if b.dtype != "f32" or x.typed.rank < 2:
        raise Refused

    def number(value: float, *dims: int, dtype: str = "f32") -> Node:
        return b.param(*dims, init="full", value=value, like="q", dtype=dtype)

    byte, axes = b.pick("u8", "i8"), x.typed.rank - 2
    whole = b.op(elementwise.CAST, elementwise.Cast("f32"), b.input_like(x, "i32"))
    scale, zero = number(b.pick(1.0, 2.0)), number(b.pick(0.0, 7.0), dtype=byte)
    steps = b.op(quantize.QUANTIZE_LINEAR, quantize.QuantizeLinear(), whole, scale, zero)
    b.hide(steps)
    is_conv = axes == 3 or (axes in (1, 2) and b.flag())
    size = b.channels(x) if is_conv else x.typed.shape[-1]
    if not isinstance(size, int):
        raise Refused
    stored = number(b.pick(1.0, 3.0), size, size, *(1,) * (axes if is_conv else 0), dtype="i8" if is_conv else byte)
    own = number(0.5, *b.pick((), (size,)))
    rest = (own, b.param(*own.typed.shape, init="zeros", like="z", dtype=stored.typed.dtype), number(4.0), zero)
    if is_conv:
        kind = qlinear.QLINEAR_CONVS[axes - 1]
        bias = [b.param(size, init="full", value=5.0, like="b", dtype="i32")] if b.flag() else []
        op = kind.Attrs((1,) * axes, (0,) * (2 * axes), (1,) * axes)
        y = b.op(kind, op, steps, scale, zero, stored, *rest, *bias)
    else:
        y = b.op(qlinear.QLINEAR_MATMUL, qlinear.QLinearMatMul(), steps, scale, zero, stored, *rest)
    b.hide(y)
    back = b.op(quantize.DEQUANTIZE_LINEAR, quantize.DequantizeLinear(), y, number(0.0625), zero)
    return b.op(elementwise.ADD, elementwise.Add(), x, back)


def dynamic_layer(b: Builder, x: Node) -> Node:
    """Whole numbers in steps of their own, whose sums of products stay whole; over a kernel of 1, or a matrix."""
    if b.dtype != "f32" or x.typed.rank < 2:
        raise Refused
    whole = b.op(elementwise.CAST, elementwise.Cast("f32"), b.input_like(x, "i8"))
    b.hide(whole)
    scale = b.op(quantize.DYNAMIC_SCALE, quantize.DynamicScale(), whole)
    zero = b.op(quantize.DYNAMIC_ZERO, quantize.DynamicZero(), whole, scale)
    steps = b.op(quantize.QUANTIZE_LINEAR, quantize.QuantizeLinear(), whole, scale, zero)
    axes = x.typed.rank - 2
    is_conv = axes == 3 or (axes in (1, 2) and b.flag())
    size = b.channels(x) if is_conv else x.typed.shape[-1]
    if not isinstance(size, int):
        raise Refused
    byte = b.pick("i8", "u8")
    stored = b.param(size, size, *(1,) * (axes if is_conv else 0), init="full", value=3.0, like="q", dtype=byte)
    zeros = (zero, b.param(*b.pick((), (size,)), init="full", value=2.0, like="z", dtype=byte))[: b.int(0, 2)]
    kind = integer.CONV_INTEGERS[axes - 1] if is_conv else integer.MATMUL_INTEGER
    op = kind.Attrs((1,) * axes, (0,) * (2 * axes), (1,) * axes) if is_conv else kind.Attrs()
    sums = b.op(kind, op, steps, stored, *zeros)
    back = b.op(elementwise.MUL, elementwise.Mul(), b.op(elementwise.CAST, elementwise.Cast("f32"), sums), scale)
    for node in (scale, zero, steps, sums):
        b.hide(node)
    small = b.op(elementwise.MUL, elementwise.Mul(), back, b.param(init="full", value=2.0**-10, like="k"))
    return b.op(elementwise.ADD, elementwise.Add(), x, small)


def stored_weight(b: Builder, x: Node) -> Node:
    """A row of bytes that is turned once it is dequantized."""
    if not x.typed.rank or not isinstance(size := x.typed.shape[-1], int):
        raise Refused
    dtype = x.typed.dtype
    stored = b.param(size, 1, like="w", dtype="i8")
    scale, zero = b.param(size, init="around_one", like="s", dtype=dtype), b.param(size, init="zeros", like="z", dtype="i8")
    row = b.op(quantize.DEQUANTIZE_LINEAR, quantize.DequantizeLinear(0), stored, scale, zero)
    return b.op(elementwise.ADD, elementwise.Add(), x, b.op(shape.TRANSPOSE, shape.Transpose((1, 0)), row))
