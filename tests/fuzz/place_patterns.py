"""Patterns on places and directions: angles, remainders, indices, diagonals, running sums, lengths, thresholds."""

from __future__ import annotations

from convc.ir.graph import Node
from convc.ir.ops import activation, diagonal, elementwise, group, indexed, lengths, reduce, shape, thresholds, trigonometry
from convc.tests.fuzz.network_builder import Builder, Refused

ANGLES = (*(trigonometry.SIN, trigonometry.COS, trigonometry.ATAN, trigonometry.SINH, trigonometry.COSH, trigonometry.ASINH),)
SHARES = (trigonometry.TAN, trigonometry.ASIN, trigonometry.ACOS, trigonometry.ATANH)
REDUCTIONS = (lengths.REDUCE_L1, lengths.REDUCE_L2, lengths.REDUCE_SUM_SQUARE, lengths.REDUCE_LOG_SUM_EXP)


def number(b: Builder, value: float, x: Node) -> Node:
    return b.param(init="full", value=value, like="k", dtype=x.typed.dtype)


def share(b: Builder, x: Node, least: float) -> Node:
    """Between `least` and half more."""
    y = b.op(elementwise.MUL, elementwise.Mul(), b.op(activation.SIGMOID, activation.Sigmoid(), x), number(b, 0.5, x))
    return b.op(elementwise.ADD, elementwise.Add(), y, number(b, least, x))


def angle(b: Builder, x: Node) -> Node:
    """Functions that have no value somewhere, or a steep place, kept away from there."""
    if b.flag(4):
        kind = b.pick(*SHARES)
        return b.op(kind, kind.Attrs(), share(b, x, 0.25))
    if b.flag(6):
        return b.op(trigonometry.ACOSH, trigonometry.Acosh(), share(b, x, 1.25))
    for _ in range(2):
        kind = b.pick(*ANGLES)
        x = b.op(kind, kind.Attrs(), b.op(activation.CLIP, activation.Clip(-3.0, 3.0), x))
    return x


def whole(b: Builder, x: Node, y: Node) -> Node:
    """x and a little of whole numbers."""
    y = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), y)
    return b.op(elementwise.ADD, elementwise.Add(), x, b.op(elementwise.MUL, elementwise.Mul(), y, number(b, 0.0625, x)))


def remainder(b: Builder, x: Node) -> Node:
    dividend = b.input_like(x, b.pick("i32", "i64"))
    divisor = b.param(init="full", value=b.pick(3.0, -7.0), like="k", dtype=dividend.typed.dtype)
    left = b.op(elementwise.MOD, elementwise.Mod(b.flag()), dividend, divisor)
    b.hide(left)
    return whole(b, x, left)


def halves(b: Builder, x: Node) -> Node:
    """Which every engine has exactly: at a threshold others would be on both of its sides."""
    y = b.op(elementwise.CAST, elementwise.Cast(x.typed.dtype), b.input_like(x, "i32"))
    return b.op(elementwise.MUL, elementwise.Mul(), y, number(b, 0.5, x))


def jump(b: Builder, x: Node) -> Node:
    if b.flag():
        y = b.op(thresholds.SHRINK, thresholds.Shrink(b.pick(0.0, 0.5), b.pick(0.5, 8.0)), halves(b, x))
        return b.op(elementwise.ADD, elementwise.Add(), x, b.op(elementwise.MUL, elementwise.Mul(), y, number(b, 0.0625, x)))
    if not x.typed.rank:
        raise Refused
    return b.op(thresholds.HARDMAX, thresholds.Hardmax(b.int(0, x.typed.rank - 1)), halves(b, x))


def named(b: Builder, x: Node) -> Node:
    """Elements and slices at constant places, read or written."""
    dims = tuple(dim for dim in x.typed.shape if isinstance(dim, int))
    if len(dims) != x.typed.rank or not dims:
        raise Refused
    axis, value = b.int(0, len(dims) - 1), b.pick(0.0, -1.0)
    one = tuple(1 if i == axis else size for i, size in enumerate(dims))
    if b.flag():
        indices = b.param(*one, init="full", value=value, like="i", dtype=b.pick("i64", "i32"))
        if b.flag():
            return b.op(indexed.GATHER_ELEMENTS, indexed.GatherElements(axis), x, indices)
        op = indexed.ScatterElements(axis, b.pick("none", "none", "add", "max", "min"))
        return b.op(indexed.SCATTER_ELEMENTS, op, x, indices, b.param(*one, init="small", like="u"))
    depth = b.int(1, min(len(dims), 2))
    if b.flag():
        batch = b.int(0, len(dims) - depth)
        indices = b.param(*dims[:batch], 2, depth, init="full", value=value, like="i", dtype="i64")
        return b.op(indexed.GATHER_ND, indexed.GatherNd(batch), x, indices)
    reduction = b.pick("none", "add", "mul", "max", "min")
    count = 1 if reduction == "none" else 2
    indices = b.param(count, depth, init="full", value=value, like="i", dtype="i64")
    return b.op(indexed.SCATTER_ND, indexed.ScatterNd(reduction), x, indices, b.param(count, *dims[depth:], init="around_one", like="u"))


def ones(b: Builder, x: Node) -> Node:
    """The greatest of whole numbers, marked."""
    if not x.typed.rank or not isinstance(x.typed.shape[-1], int):
        raise Refused
    places = b.op(reduce.ARG_MAX, reduce.ArgMax(x.typed.rank - 1, False), b.input_like(x, "i32"))
    b.hide(places)
    op = indexed.OneHot(x.typed.shape[-1], -1)
    return b.op(elementwise.MUL, elementwise.Mul(), x, b.op(indexed.ONE_HOT, op, places, b.param(2, init="around_one", like="v")))


def triangle(b: Builder, x: Node) -> Node:
    if b.flag():
        x = x if x.typed.rank == 2 else b.op(shape.FLATTEN, shape.Flatten(), x)
        y = b.op(diagonal.EYE_LIKE, diagonal.EyeLike(x.typed.dtype, b.int(0, 2)), x)
        return b.op(elementwise.ADD, elementwise.Add(), x, y)
    return b.op(diagonal.TRILU, diagonal.Trilu(b.flag(), b.pick(0, 1, -2)), x)


def running(b: Builder, x: Node) -> Node:
    axis = b.int(0, max(x.typed.rank - 1, 0))
    if b.flag(3):
        return b.op(diagonal.CUM_PROD, diagonal.CumProd(axis, b.flag(), b.flag()), share(b, x, 0.75))
    return b.op(diagonal.CUM_SUM, diagonal.CumSum(axis, b.flag(), b.flag()), x)


def length(b: Builder, x: Node) -> Node:
    axis = b.int(0, max(x.typed.rank - 1, 0))
    if b.flag(3):
        return b.op(lengths.REDUCE_LOG_SUM, lengths.ReduceLogSum((axis,), b.flag()), share(b, x, 0.75))
    if b.flag(3):
        one = b.op(elementwise.ADD, elementwise.Add(), b.op(activation.RELU, activation.Relu(), x), number(b, 0.5, x))
        return b.op(lengths.LP_NORMALIZATION, lengths.LpNormalization(axis, b.int(1, 2)), one)
    kind = b.pick(*REDUCTIONS)
    return b.op(kind, kind.Attrs((axis,), b.flag()), x)


def moments(b: Builder, x: Node) -> Node:
    """What is alike in a row keeps no digit, so that something else is put before it."""
    if x.typed.rank != 4:
        raise Refused
    apart = b.param(*(dim if isinstance(dim, int) else 1 for dim in x.typed.shape), like="k")
    y = b.op(elementwise.ADD, elementwise.Add(), b.op(activation.TANH, activation.Tanh(), x), apart)
    return b.op(group.MEAN_VARIANCE_NORM, group.MeanVarianceNorm(b.pick((0, 2, 3), (1, 2, 3))), y)
