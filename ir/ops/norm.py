"""Normalization: batch_norm (inference form) and local_response_norm. NCHW."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import BY_PLACE, Facts
from ..op import OpDef, rounded
from ..terms import Term
from ..types import Array, TensorType
from .check import need_float, need_same_dtype

__all__ = ["BATCH_NORM", "LOCAL_RESPONSE_NORM", "OPS", "BatchNorm", "LocalResponseNorm"]


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """scale * (x - mean) / sqrt(var + epsilon) + shift, per channel. Ioffe & Szegedy 2015, alg. 2; ONNX BatchNormalization.

    Shapes: x[N,C,...], scale[C], shift[C], mean[C], var[C] -> x.
    """

    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True)
class LocalResponseNorm:
    """x / (bias + alpha/size * sum of x^2 over `size` neighbouring channels)^beta. ONNX LRN; Krizhevsky 2012, sec. 3.3.

    The paper's alpha is not divided by the size: its 1e-4 with n=5 is alpha=5e-4 here. Shapes: x[N,C,...] -> x.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0


def infer_batch_norm(op: BatchNorm, x: TensorType, *stats: TensorType) -> TensorType:
    """Raises: ShapeError unless scale, shift, mean and var have one value per channel."""
    need_float(x)
    need_same_dtype(x, *stats)
    if x.rank < 2:
        raise ShapeError(f"input is {x}, expected channels on axis 1")
    if op.epsilon < 0:
        raise ShapeError(f"epsilon {op.epsilon} is negative")
    for what, stat in zip(("scale", "shift", "mean", "var"), stats, strict=True):
        if stat.shape != (x.shape[1],):
            raise ShapeError(f"{what} is {stat}, expected one value for each of {x.shape[1]} channels")
    return x


def batch_norm(op: BatchNorm, x: Array, scale: Array, shift: Array, mean: Array, var: Array) -> Array:
    gain = scale / np.sqrt(var + x.dtype.type(op.epsilon))
    per_channel = (slice(None), *(None,) * (x.ndim - 2))
    return (x - mean[per_channel]) * gain[per_channel] + shift[per_channel]


def batch_norm_magnitude(op: BatchNorm, x: Array, scale: Array, shift: Array, mean: Array, var: Array) -> Array:
    return batch_norm(op, abs(x), abs(scale), abs(shift), -abs(mean), var)


def infer_local_response_norm(op: LocalResponseNorm, x: TensorType) -> TensorType:
    need_float(x)
    if x.rank < 3:
        raise ShapeError(f"input is {x}, expected channels on axis 1 and positions after it")
    if op.size < 1:
        raise ShapeError(f"size {op.size} must be at least 1")
    return x


def local_response_norm(op: LocalResponseNorm, x: Array) -> Array:
    before, after = (op.size - 1) // 2, op.size // 2
    channels = x.shape[1]
    square = x * x
    total = np.zeros_like(x)
    for shift in range(-before, after + 1):
        low, high = max(0, -shift), min(channels, channels - shift)
        if low < high:
            total[:, low:high] += square[:, low + shift : high + shift]
    return x / (op.bias + op.alpha / op.size * total) ** x.dtype.type(op.beta)


def batch_norm_arithmetic(op: BatchNorm, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, out.numel * 2  # one gain and one shift per element, both known before


def local_response_norm_arithmetic(op: LocalResponseNorm, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, out.numel * (op.size + 4)


def local_response_norm_roundings(op: LocalResponseNorm, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return op.size + 16  # the sum of squares, and a power of a few units in the last place


def batch_norm_input_gradient(op: BatchNorm, g: Term, y: Term, x: Term, scale: Term, shift: Term, mean: Term, var: Term) -> Term:
    """In training mean and var are of this x, and it moves them: Ioffe & Szegedy 2015, sec. 3, with the sums taken together."""
    gain = (scale / _root(op, var)).along_channels(x.rank)
    if not _is_training(x, mean, var):
        return g * gain
    axes = _all_but_channels(x)
    centred, count = _normalized(op, x, mean, var), x.count(*axes)
    of_mean, of_spread = (total.sum(*axes) / count for total in (g, g * centred))
    return (g - of_mean.along_channels(x.rank) - centred * of_spread.along_channels(x.rank)) * gain


def batch_norm_scale_gradient(op: BatchNorm, g: Term, y: Term, x: Term, scale: Term, shift: Term, mean: Term, var: Term) -> Term:
    return (g * _normalized(op, x, mean, var)).sum(*_all_but_channels(x))


def batch_norm_shift_gradient(op: BatchNorm, g: Term, y: Term, x: Term, *stats: Term) -> Term:
    return g.sum(*_all_but_channels(x))


def batch_norm_mean_gradient(op: BatchNorm, g: Term, y: Term, x: Term, scale: Term, shift: Term, mean: Term, var: Term) -> Term | None:
    """None in training, where the input's rule has it."""
    if _is_training(x, mean, var):
        return None
    return -(g.sum(*_all_but_channels(x)) * (scale / _root(op, var)))


def batch_norm_var_gradient(op: BatchNorm, g: Term, y: Term, x: Term, scale: Term, shift: Term, mean: Term, var: Term) -> Term | None:
    if _is_training(x, mean, var):
        return None
    moved = (g * _normalized(op, x, mean, var)).sum(*_all_but_channels(x))
    return moved * scale / (var + op.epsilon) * -0.5


def _all_but_channels(x: Term) -> tuple[int, ...]:
    return (0, *range(2, x.rank))


def _root(op: BatchNorm, var: Term) -> Term:
    return (var + op.epsilon).op("sqrt")


def _normalized(op: BatchNorm, x: Term, mean: Term, var: Term) -> Term:
    """A quotient a channel, and not one an element."""
    root = _root(op, var)
    return (x - mean.along_channels(x.rank)) * (root.number(1.0) / root).along_channels(x.rank)


def _is_training(x: Term, mean: Term, var: Term) -> bool:
    """Whether mean = reduce_mean(x) and var = reduce_mean((x - mean)^2) of each channel, as the step of a training has them, and nobody
    asks how the loss moves with either, which is then a value as any other.
    """
    if not all(stat.value.kind.name == "reduce_mean" and stat.value.op.axes == _all_but_channels(x) for stat in (mean, var)):
        return False
    square = var.value.inputs[0]
    if mean.value.inputs[0] is not x.value or square.kind.name != "mul" or square.inputs[0] is not square.inputs[1]:
        return False
    centred = square.inputs[0]
    if centred.kind.name != "sub" or centred.inputs[0] is not x.value:
        return False
    taken = centred.inputs[1]
    between = (mean.value, var.value, square, centred, taken)
    return _is_by_channel(taken, mean, x) and not any(map(x.maker.is_asked, between))


def _is_by_channel(taken: Any, mean: Term, x: Term) -> bool:
    """Whether the mean that was taken off is each channel's own: the last axis may have as many elements."""
    if taken is mean.value:
        return x.rank == 2
    by_channel = (x.shape[1], *(1,) * (x.rank - 2))
    return taken.kind.name == "reshape" and taken.inputs[0] is mean.value and taken.typed.shape in (by_channel, (1, *by_channel))


def local_response_norm_gradient(op: LocalResponseNorm, g: Term, y: Term, x: Term) -> Term:
    before, after = (op.size - 1) // 2, op.size // 2
    base = _neighbours(x * x, before, after) * (op.alpha / op.size) + op.bias
    moved = g * x * base.op("pow", -op.beta - 1)
    return g * base.op("pow", -op.beta) - x * _neighbours(moved, after, before) * (2 * op.alpha * op.beta / op.size)


def _neighbours(x: Term, before: int, after: int) -> Term:
    """The sum over that many channels before and after each, as far as there are."""
    channels = x.shape[1]
    if isinstance(channels, int):
        before, after = min(before, channels), min(after, channels)
    none = (0,) * x.rank
    padded = x.pad((0, before, *none[2:]), (0, after, *none[2:]))
    parts = [padded.cut(1, first, first + channels) for first in range(before + after + 1)]
    return functools.reduce(Term.__add__, parts)


BATCH_NORM = OpDef(
    "batch_norm",
    BatchNorm,
    (5, 5),
    infer_batch_norm,
    batch_norm,
    batch_norm_arithmetic,
    batch_norm_magnitude,
    rounded(8),  # epsilon, sum, root, quotient, two products, two sums
    facts=Facts(pointwise=True, by_channel=(1, 2, 3, 4), reuse=BY_PLACE),
    gradient=(
        batch_norm_input_gradient,
        batch_norm_scale_gradient,
        batch_norm_shift_gradient,
        batch_norm_mean_gradient,
        batch_norm_var_gradient,
    ),
)
LOCAL_RESPONSE_NORM = OpDef(
    "local_response_norm",
    LocalResponseNorm,
    (1, 1),
    infer_local_response_norm,
    local_response_norm,
    local_response_norm_arithmetic,
    roundings=local_response_norm_roundings,
    facts=Facts(),  # reads neighbouring channels, which would already be overwritten,
    gradient=(local_response_norm_gradient,),
)
OPS = (BATCH_NORM, LOCAL_RESPONSE_NORM)
