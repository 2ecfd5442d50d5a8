"""Affine quantization: quantize_linear and dequantize_linear, dynamic_scale and dynamic_zero. Jacob et al. 2018, sec. 2.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import BY_PLACE, Facts, fixed
from ..op import OpDef, elementwise_cost, no_rounding, rounded
from ..terms import NoGradient
from ..types import BITS, Array, TensorType, range_of
from .check import need_axis, need_float, need_same_dtype

__all__ = [
    "DEQUANTIZE_LINEAR",
    "DYNAMIC_SCALE",
    "DYNAMIC_ZERO",
    "OPS",
    "QUANTIZE_LINEAR",
    "DequantizeLinear",
    "DynamicScale",
    "DynamicZero",
    "QuantizeLinear",
]

STEP_TYPES = (*BITS, "i8", "u8", "i16", "u16")
STEPS = 255  # from the least to the greatest u8


@dataclass(frozen=True, slots=True)
class QuantizeLinear:
    """saturate(round(x / scale) + zero_point), half to even, in the element type of zero_point. ONNX QuantizeLinear.

    Shapes: x[...], scale[] or scale[C] along `axis`, or with `block` one for each so many elements along it, else as x; zero_point like
    scale -> x's.
    """

    axis: int = 1
    block: int = 0


@dataclass(frozen=True, slots=True)
class DequantizeLinear:
    """(x - zero_point) * scale, in the element type of scale. ONNX DequantizeLinear.

    Shapes: x[...], scale[] or scale[C] along `axis`, or with `block` one for each so many elements along it, else as x; zero_point like
    scale -> x's.
    """

    axis: int = 1
    block: int = 0


@dataclass(frozen=True, slots=True)
class DynamicScale:
    """The step with which 255 of them reach from the least element to the greatest, 0 among them; 1 where all are 0.

    With dynamic_zero and quantize_linear ONNX DynamicQuantizeLinear. Shapes: x[...] of f32 -> [].
    """


@dataclass(frozen=True, slots=True)
class DynamicZero:
    """The u8 that stands for 0 where 0 stands for the least element, or for 0 if that is less: round(-least / scale), half to even.

    Shapes: x[...] of f32, scale[] -> [] of u8.
    """


def infer_quantize(op: QuantizeLinear, x: TensorType, scale: TensorType, zero_point: TensorType) -> TensorType:
    """Raises: ShapeError for a zero point of more than 16 bits, or a scale that does not lie along the axis."""
    need_float(x)
    need_same_dtype(x, scale)
    if zero_point.dtype not in STEP_TYPES:
        raise ShapeError(f"zero point is {zero_point}, expected {', '.join(STEP_TYPES[:-1])} or {STEP_TYPES[-1]}")
    _need_along_axis(op, x, scale, zero_point)
    return TensorType(zero_point.dtype, x.shape)


def infer_dequantize(op: DequantizeLinear, x: TensorType, scale: TensorType, zero_point: TensorType) -> TensorType:
    """Raises: ShapeError for an input that is not quantized, or a scale that does not lie along the axis."""
    if x.dtype not in (*STEP_TYPES, "i32"):
        raise ShapeError(f"input is {x}, expected {', '.join(STEP_TYPES)} or i32")
    need_float(scale)
    need_same_dtype(x, zero_point)
    _need_along_axis(op, x, scale, zero_point)
    return TensorType(scale.dtype, x.shape)


def infer_dynamic_scale(op: DynamicScale, x: TensorType) -> TensorType:
    """Raises: ShapeError for anything but f32."""
    if x.dtype != "f32":
        raise ShapeError(f"input is {x}, expected f32; cast it")
    return TensorType("f32", ())


def infer_dynamic_zero(op: DynamicZero, x: TensorType, scale: TensorType) -> TensorType:
    """Raises: ShapeError for anything but f32, or a scale that is not one number."""
    if scale != infer_dynamic_scale(DynamicScale(), x):
        raise ShapeError(f"scale is {scale}, expected f32[]")
    return TensorType("u8", ())


def _need_along_axis(op: Any, x: TensorType, scale: TensorType, zero_point: TensorType) -> None:
    if op.block < 0:
        raise ShapeError(f"blocks of {op.block} elements; expected 1 or more, or 0 for none")
    if op.block:
        axis = need_axis(op.axis, x.rank)
        wanted = TensorType(scale.dtype, tuple(_blocks(dim, op.block) if i == axis else dim for i, dim in enumerate(x.shape)))
        if scale != wanted:
            raise ShapeError(f"scale is {scale}, expected {wanted}, one for each {op.block} elements along axis {op.axis} of {x}")
    elif scale.rank > 1 or (scale.rank == 1 and scale.shape[0] != x.shape[need_axis(op.axis, x.rank)]):
        raise ShapeError(f"scale is {scale}, expected one number, or one for each element of axis {op.axis} of {x}")
    if zero_point.shape != scale.shape:
        raise ShapeError(f"zero point is {zero_point}, expected the shape of the scale, {scale}")


def _blocks(extent: Dim, block: int) -> Dim:
    return (extent + (block - 1)) // block


def _along(op: Any, values: Array, x: Array) -> Array:
    if op.block:
        axis, block = int(op.axis), int(op.block)
        extent: int = x.shape[axis]
        return np.take(values, np.arange(extent) // block, axis=axis)
    return values if values.ndim == 0 else values.reshape([-1 if i == op.axis % x.ndim else 1 for i in range(x.ndim)])


def quantize_linear(op: QuantizeLinear, x: Array, scale: Array, zero_point: Array) -> Array:
    """The quotient is a float32, as every engine takes it: a wider one would fall on the other side of a half now and then."""
    scale, offset = (_along(op, values, x) for values in (scale, zero_point))
    steps = np.rint(x.astype(np.float32) / scale.astype(np.float32))
    return np.clip(steps + offset.astype(np.float32), *range_of(zero_point.dtype)).astype(zero_point.dtype)


def dequantize_linear(op: DequantizeLinear, x: Array, scale: Array, zero_point: Array) -> Array:
    scale, offset = (_along(op, values, x) for values in (scale, zero_point))
    return (x.astype(np.int64) - offset.astype(np.int64)).astype(scale.dtype) * scale


def dequantize_magnitude(op: DequantizeLinear, x: Array, scale: Array, zero_point: Array) -> Array:
    """Engines take the difference after both are floats."""
    scale, offset = (_along(op, values, x) for values in (scale, zero_point))
    return (abs(x.astype(scale.dtype)) + abs(offset.astype(scale.dtype))) * abs(scale)


def dynamic_scale(op: DynamicScale, x: Array) -> Array:
    reach = x.max(initial=0) - x.min(initial=0)
    return np.where(reach == 0, 1, reach / STEPS).astype(x.dtype)


def dynamic_zero(op: DynamicZero, x: Array, scale: Array) -> Array:
    return quantize_linear(QuantizeLinear(0), np.asarray(-x.min(initial=0)), scale, np.zeros((), np.uint8))


def dynamic_arithmetic(op: Any, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, inputs[0].numel * (2 if len(inputs) == 1 else 1)


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
NO_GRADIENT = NoGradient("numbers of few bits move in steps; train in floats, and quantize then")

DEQUANTIZE_LINEAR = OpDef(
    "dequantize_linear",
    DequantizeLinear,
    (3, 3),
    infer_dequantize,
    dequantize_linear,
    elementwise_cost(2),
    dequantize_magnitude,
    rounded(3),  # operands and difference of 32 bits, and the product
    facts=Facts(reuse=BY_PLACE),  # of i32,
    gradient=NO_GRADIENT,
)
DYNAMIC_SCALE = OpDef(
    "dynamic_scale",
    DynamicScale,
    (1, 1),
    infer_dynamic_scale,
    dynamic_scale,
    dynamic_arithmetic,
    roundings=rounded(2),
    facts=Facts(least=fixed(0.0)),
    gradient=NO_GRADIENT,
)
DYNAMIC_ZERO = OpDef(
    "dynamic_zero", DynamicZero, (2, 2), infer_dynamic_zero, dynamic_zero, dynamic_arithmetic, roundings=no_rounding, facts=Facts()
)
OPS = (QUANTIZE_LINEAR, DEQUANTIZE_LINEAR, DYNAMIC_SCALE, DYNAMIC_ZERO)
