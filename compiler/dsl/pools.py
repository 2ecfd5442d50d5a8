"""Pools: one value for each window, or for a whole image, sequence or volume."""

from __future__ import annotations

from ...ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from ...ir.ops.unpool import MAX_POOL_INDICES, MAX_UNPOOL, MaxPoolIndices, MaxUnpool
from .trace import Value
from .window_arguments import Padding, Size, axes_of, each, pads_of

__all__ = ["avg_pool", "global_avg_pool", "global_max_pool", "max_pool", "max_pool_indices", "max_unpool"]


def max_pool(x: Value, kernel: Size, stride: Size | None = None, pad: Padding = 0, dilation: Size = 1, ceil_mode: bool = False) -> Value:
    """Greatest value of each window; the stride is the kernel unless given. Shapes: x[N,C,H,W] -> [N,C,H',W'], sequences and volumes alike.

    kernel, stride, dilation: a number for all axes, or one for each.
    pad: places at the borders, which are never the greatest; as for `conv`.
    ceil_mode: whether a last window counts that lies partly outside.
    """
    axes = axes_of(x)
    sizes, strides, dilations = each(kernel, axes), each(kernel if stride is None else stride, axes), each(dilation, axes)
    op = MaxPool(sizes, strides, pads_of(pad, x, sizes, strides, dilations), dilations, ceil_mode)
    return x.trace.emit(MAX_POOL, op, (x,))


def max_pool_indices(
    x: Value, kernel: Size, stride: Size | None = None, pad: Padding = 0, dilation: Size = 1, ceil_mode: bool = False
) -> Value:
    """Where the values of the max_pool of these words lie, for `max_unpool`: a place in its channel, counted from 0. Shapes: as `max_pool`.

    `x`, `kernel`, `stride`, `pad`, `dilation` and `ceil_mode` are those of `max_pool`.
    """
    axes = axes_of(x)
    sizes, strides, dilations = each(kernel, axes), each(kernel if stride is None else stride, axes), each(dilation, axes)
    op = MaxPoolIndices(sizes, strides, pads_of(pad, x, sizes, strides, dilations), dilations, ceil_mode)
    return x.trace.emit(MAX_POOL_INDICES, op, (x,))


def max_unpool(x: Value, indices: Value, kernel: Size, stride: Size | None = None, pad: Padding = 0, like: Value | None = None) -> Value:
    """Values put back where `indices` say, zeros elsewhere; `like` is the value that was pooled, if the result is to have its size.

    `kernel`, `stride` and `pad` are those of the `max_pool` that `x` and `indices` are of.
    """
    axes = axes_of(x)
    kernels, strides = each(kernel, axes), each(kernel if stride is None else stride, axes)
    pads = pads_of(pad, x if like is None else like, kernels, strides, (1,) * axes)
    return x.trace.emit(MAX_UNPOOL, MaxUnpool(kernels, strides, pads, () if like is None else like.shape[2:]), (x, indices))


def avg_pool(
    x: Value,
    kernel: Size,
    stride: Size | None = None,
    pad: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Value:
    """Mean of each window; the stride is the kernel unless given. Shapes: x[N,C,H,W] -> [N,C,H',W'], sequences and volumes alike.

    kernel, stride: a number for all axes, or one for each.
    pad: zeros at the borders, as for `conv`.
    ceil_mode: whether a last window counts that lies partly outside.
    count_include_pad: whether the mean is over those zeros too.
    """
    axes = axes_of(x)
    sizes, strides, dilations = each(kernel, axes), each(kernel if stride is None else stride, axes), (1,) * axes
    op = AvgPool(sizes, strides, pads_of(pad, x, sizes, strides, dilations), dilations, ceil_mode, count_include_pad)
    return x.trace.emit(AVG_POOL, op, (x,))


def global_avg_pool(x: Value) -> Value:
    """The mean of each channel over its image. Shapes: x[N,C,H,W] -> [N,C,1,1]."""
    return x.trace.emit(GLOBAL_AVG_POOL, GlobalAvgPool(), (x,))


def global_max_pool(x: Value) -> Value:
    """The greatest value of each channel. Shapes: x[N,C,H,W] -> [N,C,1,1]."""
    return x.trace.emit(GLOBAL_MAX_POOL, GlobalMaxPool(), (x,))
