"""Sums, means and extremes over axes."""

from __future__ import annotations

from ...ir.ops.reduce import ARG_MAX, REDUCE_MAX, REDUCE_MEAN, REDUCE_SUM, ArgMax, ReduceMax, ReduceMean, ReduceSum
from .trace import Value

__all__ = ["arg_max", "reduce_max", "reduce_mean", "reduce_sum"]


def reduce_sum(x: Value, *axes: int, keepdims: bool = True) -> Value:
    """The sum of x over `axes`, all of them if none is given, which stay as 1 if `keepdims`."""
    return x.trace.emit(REDUCE_SUM, ReduceSum(axes, keepdims), (x,))


def reduce_mean(x: Value, *axes: int, keepdims: bool = True) -> Value:
    """The mean over `axes`, all of them if none is given, which stay as 1 if `keepdims`. Shapes: x[N,C,H,W] over 2, 3 -> [N,C,1,1]."""
    return x.trace.emit(REDUCE_MEAN, ReduceMean(axes, keepdims), (x,))


def reduce_max(x: Value, *axes: int, keepdims: bool = True) -> Value:
    """The greatest value of x over `axes`, all of them if none is given, which stay as 1 if `keepdims`."""
    return x.trace.emit(REDUCE_MAX, ReduceMax(axes, keepdims), (x,))


def arg_max(x: Value, axis: int = 1, keepdims: bool = False) -> Value:
    """Place of the greatest value of x along `axis`, the first of equals: the class of a row of scores.

    The axis stays as 1 if `keepdims`. Shapes: x[N,C] -> [N].
    """
    return x.trace.emit(ARG_MAX, ArgMax(axis, keepdims), (x,))
