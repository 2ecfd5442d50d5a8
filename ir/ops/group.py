"""Normalization by the statistics of the value itself: instance_norm, group_norm, layer_norm, mean_variance_norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import BY_STATISTICS, Facts
from ..op import OpDef
from ..terms import Term
from ..types import Array, TensorType
from .check import need_axis, need_elements, need_float, need_same_dtype

__all__ = [
    "GROUP_NORM",
    "INSTANCE_NORM",
    "LAYER_NORM",
    "MEAN_VARIANCE_NORM",
    "OPS",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "MeanVarianceNorm",
]

TINY = 1e-9  # what ONNX adds to the deviation in MeanVarianceNormalization


@dataclass(frozen=True, slots=True)
class InstanceNorm:
    """scale * (x - mean) / sqrt(var + epsilon) + bias with mean and var of each channel of each image.

    Ulyanov et al. 2016; ONNX InstanceNormalization. Shapes: x[N,C,...], scale[C], bias[C] -> x.
    """

    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True)
class GroupNorm:
    """As instance_norm, with mean and var of `groups` equal ranges of channels. Wu & He 2018; ONNX GroupNormalization-21.

    Shapes: x[N,C,...], scale[C], bias[C] -> x.
    """

    groups: int
    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """scale * (x - mean) / sqrt(var + epsilon) + bias over the axes from `axis` on. Ba et al. 2016; ONNX LayerNormalization.

    Shapes: x[N,...,A,B], scale[A,B], bias[A,B] (may be left out) -> x, for axis -2.
    """

    axis: int = -1
    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True)
class MeanVarianceNorm:
    """(x - mean) / (sqrt(var) + 1e-9) with mean and var over `axes`. ONNX MeanVarianceNormalization. Shapes: x -> x."""

    axes: tuple[int, ...] = (0, 2, 3)


def infer_channels(op: InstanceNorm | GroupNorm, x: TensorType, scale: TensorType, bias: TensorType) -> TensorType:
    """Raises: ShapeError without positions, or unless scale and bias have one value per channel."""
    need_float(x)
    need_same_dtype(x, scale, bias)
    _need_epsilon(op.epsilon)
    if x.rank < 3:
        raise ShapeError(f"input is {x}, expected channels on axis 1 and positions after it")
    for what, type_ in (("scale", scale), ("bias", bias)):
        if type_.shape != (x.shape[1],):
            raise ShapeError(f"{what} is {type_}, expected one value for each of {x.shape[1]} channels")
    return x


def infer_group_norm(op: GroupNorm, x: TensorType, scale: TensorType, bias: TensorType) -> TensorType:
    """Raises: ShapeError also when the channels do not divide into the groups."""
    infer_channels(op, x, scale, bias)
    channels = x.shape[1]
    if op.groups < 1 or not isinstance(channels, int) or channels % op.groups:
        raise ShapeError(f"{channels} channels do not divide into {op.groups} groups")
    return x


def infer_layer_norm(op: LayerNorm, x: TensorType, scale: TensorType, bias: TensorType | None = None) -> TensorType:
    """Raises: ShapeError unless scale and bias have the shape of the normalized axes."""
    need_float(x)
    need_same_dtype(x, scale, bias)
    _need_epsilon(op.epsilon)
    inner = x.shape[need_axis(op.axis, x.rank) :]
    for what, type_ in (("scale", scale), ("bias", bias)):
        if type_ is not None and type_.shape != inner:
            raise ShapeError(f"{what} is {type_}, expected the shape of the normalized axes, [{','.join(map(str, inner))}]")
    return x


def infer_mean_variance_norm(op: MeanVarianceNorm, x: TensorType) -> TensorType:
    """Raises: ShapeError for whole numbers, an axis out of range, named twice or of no elements."""
    need_float(x)
    axes = [need_axis(axis, x.rank) for axis in op.axes]
    if len(set(axes)) != len(axes):
        raise ShapeError(f"axes {list(op.axes)} name an axis twice")
    need_elements(x, *axes)
    return x


def _need_epsilon(epsilon: float) -> None:
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise ShapeError(f"epsilon {epsilon} must be a number that is not negative")


@dataclass(frozen=True, slots=True)
class _Grouped:
    """`rows`: x as [M,K], one row for what shares a mean. `gain` and `shift` broadcast against `shape`."""

    rows: Array
    shape: tuple[int, ...]
    gain: Array
    shift: Array | None


def _by_channel(x: Array, groups: int, scale: Array, bias: Array) -> _Grouped:
    """The channels of each image in so many groups."""
    per_channel = (slice(None), *(None,) * (x.ndim - 2))
    return _Grouped(x.reshape(x.shape[0] * groups, math.prod(x.shape[1:]) // groups), x.shape, scale[per_channel], bias[per_channel])


def _instances(op: InstanceNorm, x: Array, scale: Array, bias: Array) -> _Grouped:
    return _by_channel(x, x.shape[1], scale, bias)


def _groups(op: GroupNorm, x: Array, scale: Array, bias: Array) -> _Grouped:
    return _by_channel(x, op.groups, scale, bias)


def _layers(op: LayerNorm, x: Array, scale: Array, bias: Array | None = None) -> _Grouped:
    axis = need_axis(op.axis, x.ndim)
    return _Grouped(x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), x.shape, scale, bias)


def _normalized(of: _Grouped, epsilon: float) -> Array:
    x = of.rows
    centred = x - x.mean(axis=1, keepdims=True)
    var = np.square(centred).mean(axis=1, keepdims=True)
    y = (centred / np.sqrt(var + x.dtype.type(epsilon))).reshape(of.shape) * of.gain
    return y if of.shift is None else y + of.shift


def _magnitude(of: _Grouped, epsilon: float) -> Array:
    """Rounding of x and its mean, and of var, which engines may find as mean(x^2) - mean(x)^2: then its error is of mean(x^2)."""
    x = of.rows
    mean = x.mean(axis=1, keepdims=True)
    power = np.square(x).mean(axis=1, keepdims=True)
    spread = np.square(x - mean).mean(axis=1, keepdims=True) + x.dtype.type(epsilon)
    terms = abs(x) + abs(x).mean(axis=1, keepdims=True) + abs(x - mean) * (1 + power / spread)
    total = (terms / np.sqrt(spread)).reshape(of.shape) * abs(of.gain)
    return total if of.shift is None else total + abs(of.shift)


def instance_norm(op: InstanceNorm, x: Array, scale: Array, bias: Array) -> Array:
    return _normalized(_instances(op, x, scale, bias), op.epsilon)


def instance_norm_magnitude(op: InstanceNorm, x: Array, scale: Array, bias: Array) -> Array:
    return _magnitude(_instances(op, x, scale, bias), op.epsilon)


def group_norm(op: GroupNorm, x: Array, scale: Array, bias: Array) -> Array:
    return _normalized(_groups(op, x, scale, bias), op.epsilon)


def group_norm_magnitude(op: GroupNorm, x: Array, scale: Array, bias: Array) -> Array:
    return _magnitude(_groups(op, x, scale, bias), op.epsilon)


def layer_norm(op: LayerNorm, x: Array, scale: Array, bias: Array | None = None) -> Array:
    return _normalized(_layers(op, x, scale, bias), op.epsilon)


def layer_norm_magnitude(op: LayerNorm, x: Array, scale: Array, bias: Array | None = None) -> Array:
    return _magnitude(_layers(op, x, scale, bias), op.epsilon)


def mean_variance_norm(op: MeanVarianceNorm, x: Array) -> Array:
    centred = x - x.mean(axis=op.axes, keepdims=True)
    var = np.square(centred).mean(axis=op.axes, keepdims=True)
    return centred / (np.sqrt(var) + x.dtype.type(TINY))


def mean_variance_norm_magnitude(op: MeanVarianceNorm, x: Array) -> Array:
    """As of the others, where the spread is at least what half the digits of the values leave of it."""
    mean, power = x.mean(axis=op.axes, keepdims=True), np.square(x).mean(axis=op.axes, keepdims=True)
    spread = np.square(x - mean).mean(axis=op.axes, keepdims=True) + TINY**2
    return (abs(x) + abs(x).mean(axis=op.axes, keepdims=True) + abs(x - mean) * (1 + power / spread)) / np.sqrt(spread)


def norm_arithmetic(op: Any, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, out.numel * 8  # sum; difference, square, sum; quotient, product, sum; and a root now and then


def _statistics_roundings(count: Dim) -> Dim:
    return count + 16  # the longest sum, and what is done with it


def instance_norm_roundings(op: InstanceNorm, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return _statistics_roundings(TensorType(out.dtype, out.shape[2:]).numel)


def group_norm_roundings(op: GroupNorm, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return _statistics_roundings(TensorType(out.dtype, out.shape[1:]).numel // op.groups)


def mean_variance_norm_roundings(op: MeanVarianceNorm, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return _statistics_roundings(TensorType(out.dtype, tuple(out.shape[axis] for axis in op.axes)).numel)


def layer_norm_roundings(op: LayerNorm, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return _statistics_roundings(inputs[1].numel)


def _standard(x: Term, axes: tuple[int, ...], epsilon: float) -> tuple[Term, Term]:
    """x without its mean and in units of its deviation over the axes, and that deviation."""
    centred = x - x.mean(*axes, keepdims=True)
    deviation = ((centred * centred).mean(*axes, keepdims=True) + epsilon).op("sqrt")
    return centred / deviation, deviation


def _through(x: Term, g: Term, axes: tuple[int, ...], epsilon: float) -> Term:
    """What g of the standard form adds to x, which moves its mean and its deviation too."""
    form, deviation = _standard(x, axes, epsilon)
    return (g - g.mean(*axes, keepdims=True) - form * (g * form).mean(*axes, keepdims=True)) / deviation


def _of_channels(x: Term) -> tuple[int, ...]:
    return (0, *range(2, x.rank))


def instance_norm_input_gradient(op: InstanceNorm, g: Term, y: Term, x: Term, scale: Term, bias: Term) -> Term:
    return _through(x, g * scale.along_channels(x.rank), tuple(range(2, x.rank)), op.epsilon)


def instance_norm_scale_gradient(op: InstanceNorm, g: Term, y: Term, x: Term, scale: Term, bias: Term) -> Term:
    return (g * _standard(x, tuple(range(2, x.rank)), op.epsilon)[0]).sum(*_of_channels(x))


def channel_bias_gradient(op: InstanceNorm | GroupNorm, g: Term, y: Term, x: Term, scale: Term, bias: Term) -> Term:
    return g.sum(*_of_channels(x))


def _in_groups(op: GroupNorm, x: Term) -> Term:
    return x.reshape(x.shape[0], op.groups, TensorType(x.type.dtype, x.shape[1:]).numel // op.groups)


def group_norm_input_gradient(op: GroupNorm, g: Term, y: Term, x: Term, scale: Term, bias: Term) -> Term:
    moved = _in_groups(op, g * scale.along_channels(x.rank))
    return _through(_in_groups(op, x), moved, (2,), op.epsilon).reshape(*x.shape)


def group_norm_scale_gradient(op: GroupNorm, g: Term, y: Term, x: Term, scale: Term, bias: Term) -> Term:
    form, _ = _standard(_in_groups(op, x), (2,), op.epsilon)
    return (g * form.reshape(*x.shape)).sum(*_of_channels(x))


def _inner(op: LayerNorm, x: Term) -> tuple[int, ...]:
    return tuple(range(op.axis % x.rank, x.rank))


def layer_norm_input_gradient(op: LayerNorm, g: Term, y: Term, x: Term, scale: Term, *bias: Term) -> Term:
    return _through(x, g * scale, _inner(op, x), op.epsilon)


def layer_norm_scale_gradient(op: LayerNorm, g: Term, y: Term, x: Term, scale: Term, *bias: Term) -> Term:
    return (g * _standard(x, _inner(op, x), op.epsilon)[0]).fit(scale)


def layer_norm_bias_gradient(op: LayerNorm, g: Term, y: Term, x: Term, scale: Term, bias: Term) -> Term:
    return g.fit(bias)


def mean_variance_norm_gradient(op: MeanVarianceNorm, g: Term, y: Term, x: Term) -> Term:
    """As the others, but for what is added to the deviation: that does not move."""
    axes = tuple(axis % x.rank for axis in op.axes)
    centred = x - x.mean(*axes, keepdims=True)
    deviation = (centred * centred).mean(*axes, keepdims=True).op("sqrt")
    own = centred / deviation * ((g * y).mean(*axes, keepdims=True))
    return (g - g.mean(*axes, keepdims=True) - own) / (deviation + TINY)


INSTANCE_NORM = OpDef(
    "instance_norm",
    InstanceNorm,
    (3, 3),
    infer_channels,
    instance_norm,
    norm_arithmetic,
    instance_norm_magnitude,
    instance_norm_roundings,
    facts=Facts(reuse=BY_STATISTICS),
    gradient=(instance_norm_input_gradient, instance_norm_scale_gradient, channel_bias_gradient),
)
GROUP_NORM = OpDef(
    "group_norm",
    GroupNorm,
    (3, 3),
    infer_group_norm,
    group_norm,
    norm_arithmetic,
    group_norm_magnitude,
    group_norm_roundings,
    facts=Facts(reuse=BY_STATISTICS),
    gradient=(group_norm_input_gradient, group_norm_scale_gradient, channel_bias_gradient),
)
LAYER_NORM = OpDef(
    "layer_norm",
    LayerNorm,
    (2, 3),
    infer_layer_norm,
    layer_norm,
    norm_arithmetic,
    layer_norm_magnitude,
    layer_norm_roundings,
    facts=Facts(reuse=BY_STATISTICS),
    gradient=(layer_norm_input_gradient, layer_norm_scale_gradient, layer_norm_bias_gradient),
)
MEAN_VARIANCE_NORM = OpDef(
    "mean_variance_norm",
    MeanVarianceNorm,
    (1, 1),
    infer_mean_variance_norm,
    mean_variance_norm,
    norm_arithmetic,
    mean_variance_norm_magnitude,
    mean_variance_norm_roundings,
    facts=Facts(),
    gradient=(mean_variance_norm_gradient,),
)
OPS = (INSTANCE_NORM, GROUP_NORM, LAYER_NORM, MEAN_VARIANCE_NORM)
