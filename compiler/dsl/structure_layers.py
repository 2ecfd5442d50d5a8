"""Layers on structure: norms by a value's own statistics, pixels to channels and back, sums and extremes over axes."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dims import Dim
from ...ir.errors import ShapeError
from ...ir.ops.group import GROUP_NORM, INSTANCE_NORM, LAYER_NORM, GroupNorm, InstanceNorm, LayerNorm
from ...ir.ops.rearrange import DEPTH_TO_SPACE, SPACE_TO_DEPTH, DepthToSpace, SpaceToDepth
from ...ir.ops.reduce import ARG_MAX, REDUCE_MAX, REDUCE_SUM, ArgMax, ReduceMax, ReduceSum
from .trace import Value
from .user_line import user_line

__all__ = [
    "arg_max",
    "depth_to_space",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "pixel_shuffle",
    "reduce_max",
    "reduce_sum",
    "space_to_depth",
]


def instance_norm(x: Value, epsilon: float = 1e-5, name: str = "") -> Value:
    """Normalization of each channel of each image by its own mean and variance. Ulyanov et al. 2016."""
    layer = x.trace.layer_name("in", name)
    return x.trace.emit(INSTANCE_NORM, InstanceNorm(epsilon), (x, *_scale_and_bias(x, layer, (x.channels,))), layer)


def group_norm(x: Value, groups: int = 32, epsilon: float = 1e-5, name: str = "") -> Value:
    """Normalization of `groups` equal ranges of channels; 32 is the paper's. Wu & He 2018."""
    layer = x.trace.layer_name("gn", name)
    return x.trace.emit(GROUP_NORM, GroupNorm(groups, epsilon), (x, *_scale_and_bias(x, layer, (x.channels,))), layer)


def layer_norm(x: Value, axis: int = -1, epsilon: float = 1e-5, bias: bool = True, name: str = "") -> Value:
    """Normalization over the axes from `axis` on. Ba et al. 2016."""
    if not -x.rank <= axis < x.rank:
        raise ShapeError(f"{user_line()}: axis {axis} is outside the {x.rank} axes of {x.node.where}")
    layer = x.trace.layer_name("ln", name)
    scale, *shift = _scale_and_bias(x, layer, x.shape[axis:], bias=bias)
    return x.trace.emit(LAYER_NORM, LayerNorm(axis, epsilon), (x, scale, *shift), layer)


def depth_to_space(x: Value, block: int, mode: str = "DCR") -> Value:
    """Channels to squares of `block` by `block` pixels, the place in the square slower (DCR) or the channel (CRD)."""
    return x.trace.emit(DEPTH_TO_SPACE, DepthToSpace(block, mode), (x,))


def pixel_shuffle(x: Value, scale: int) -> Value:
    """Rows and columns grown by `scale` out of channels, in PyTorch's order. Shi et al. 2016."""
    return depth_to_space(x, scale, "CRD")


def space_to_depth(x: Value, block: int) -> Value:
    """Squares of pixels to channels, the place in the square slower."""
    return x.trace.emit(SPACE_TO_DEPTH, SpaceToDepth(block), (x,))


def reduce_sum(x: Value, *axes: int, keepdims: bool = True) -> Value:
    return x.trace.emit(REDUCE_SUM, ReduceSum(axes, keepdims), (x,))


def reduce_max(x: Value, *axes: int, keepdims: bool = True) -> Value:
    return x.trace.emit(REDUCE_MAX, ReduceMax(axes, keepdims), (x,))


def arg_max(x: Value, axis: int = 1, keepdims: bool = False) -> Value:
    """Place of the greatest value, the first of equals: the class of a row of scores."""
    return x.trace.emit(ARG_MAX, ArgMax(axis, keepdims), (x,))


def _scale_and_bias(x: Value, layer: str, shape: Sequence[Dim], *, bias: bool = True) -> list[Value]:
    sizes = tuple(size for size in shape if isinstance(size, int))
    if len(sizes) != len(shape):
        raise ShapeError(f"{user_line()}: {x.node.where} is {x.node.type}; the normalized axes need sizes in numbers")
    scale = x.trace.param(f"{layer}.scale", sizes, "around_one")
    return [scale, x.trace.param(f"{layer}.bias", sizes, "small")] if bias else [scale]
