"""Affine quantization: quantize_linear and dequantize_linear. Jacob et al. 2018, sec. 2.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..facts import BY_PLACE, Facts
from ..op import OpDef, elementwise_cost, no_rounding, rounded
from ..types import Array, TensorType
from .check import need_axis, need_float, need_same_dtype

__all__ = ["DEQUANTIZE_LINEAR", "OPS", "QUANTIZE_LINEAR", "DequantizeLinear", "QuantizeLinear"]


@dataclass(frozen=True, slots=True)
class QuantizeLinear:
    """saturate(round(x / scale) + zero_point), half to even, in the element type of zero_point. ONNX QuantizeLinear.

    Shapes: x[...], scale[] or scale[C] along `axis`, zero_point like scale -> x's.
    """

    axis: int = 1


@dataclass(frozen=True, slots=True)
class DequantizeLinear:
    """(x - zero_point) * scale, in the element type of scale. ONNX DequantizeLinear.

    Shapes: x[...], scale[] or scale[C] along `axis`, zero_point like scale -> x's.
    """

    axis: int = 1


def infer_quantize(op: QuantizeLinear, x: TensorType, scale: TensorType, zero_point: TensorType) -> TensorType:
    """Raises: ShapeError for a zero point that is not 8 or 16 bits wide, or a scale that does not lie along the axis."""
    need_float(x)
    need_same_dtype(x, scale)
    if zero_point.dtype not in ("i8", "u8", "i16", "u16"):
        raise ShapeError(f"zero point is {zero_point}, expected i8, u8, i16 or u16")
    _need_along_axis(op, x, scale, zero_point)
    return TensorType(zero_point.dtype, x.shape)


def infer_dequantize(op: DequantizeLinear, x: TensorType, scale: TensorType, zero_point: TensorType) -> TensorType:
    """Raises: ShapeError for an input that is not quantized, or a scale that does not lie along the axis."""
    if x.dtype not in ("i8", "u8", "i16", "u16", "i32"):
        raise ShapeError(f"input is {x}, expected i8, u8, i16, u16 or i32")
    need_float(scale)
    need_same_dtype(x, zero_point)
    _need_along_axis(op, x, scale, zero_point)
    return TensorType(scale.dtype, x.shape)


def _need_along_axis(op: Any, x: TensorType, scale: TensorType, zero_point: TensorType) -> None:
    if scale.rank > 1 or (scale.rank == 1 and scale.shape[0] != x.shape[need_axis(op.axis, x.rank)]):
        raise ShapeError(f"scale is {scale}, expected one number, or one for each element of axis {op.axis} of {x}")
    if zero_point.shape != scale.shape:
        raise ShapeError(f"zero point is {zero_point}, expected the shape of the scale, {scale}")


def _along(axis: int, values: Array, rank: int) -> Array:
    return values if values.ndim == 0 else values.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def quantize_linear(op: QuantizeLinear, x: Array, scale: Array, zero_point: Array) -> Array:
    """The quotient is a float32, as every engine takes it: a wider one would fall on the other side of a half now and then."""
    scale, offset = (_along(op.axis, values, x.ndim) for values in (scale, zero_point))
    steps = np.rint(x.astype(np.float32) / scale.astype(np.float32))
    bounds = np.iinfo(zero_point.dtype)
    return np.clip(steps + offset.astype(np.float32), bounds.min, bounds.max).astype(zero_point.dtype)


def dequantize_linear(op: DequantizeLinear, x: Array, scale: Array, zero_point: Array) -> Array:
    scale, offset = (_along(op.axis, values, x.ndim) for values in (scale, zero_point))
    return (x.astype(np.int64) - offset).astype(scale.dtype) * scale


def dequantize_magnitude(op: DequantizeLinear, x: Array, scale: Array, zero_point: Array) -> Array:
    """Engines take the difference after both are floats."""
    scale, offset = (_along(op.axis, values, x.ndim) for values in (scale, zero_point))
    return (abs(x.astype(scale.dtype)) + abs(offset.astype(scale.dtype))) * abs(scale)


# Neither is pointwise as broadcasting has it: the scale may lie along any axis.
QUANTIZE_LINEAR = OpDef(
    "quantize_linear",
    QuantizeLinear,
    (3, 3),
    infer_quantize,
    quantize_linear,
    elementwise_cost(4),
    roundings=no_rounding,
    facts=Facts(),  # the result never has the operand's size
)
DEQUANTIZE_LINEAR = OpDef(
    "dequantize_linear",
    DequantizeLinear,
    (3, 3),
    infer_dequantize,
    dequantize_linear,
    elementwise_cost(2),
    dequantize_magnitude,
    rounded(3),  # operands and difference of 32 bits, and the product
    facts=Facts(reuse=BY_PLACE),  # of i32
)
OPS = (QUANTIZE_LINEAR, DEQUANTIZE_LINEAR)
