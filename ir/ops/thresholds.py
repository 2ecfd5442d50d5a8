"""Activations that jump: shrink at a threshold, hardmax at the greatest value of a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError
from ..facts import BY_PLACE, Facts, fixed
from ..op import OpDef, elementwise_cost, no_rounding
from ..terms import FLAT, of_one, where
from ..types import Array, TensorType
from .check import need_axis, need_elements, need_float

__all__ = ["HARDMAX", "OPS", "SHRINK", "Hardmax", "Shrink"]


@dataclass(frozen=True, slots=True)
class Shrink:
    """x + bias below -lambd, x - bias above lambd, 0 between. ONNX Shrink; bias 0 cuts, lambd itself moves (Donoho 1995)."""

    bias: float = 0.0
    lambd: float = 0.5


@dataclass(frozen=True, slots=True)
class Hardmax:
    """1 at the first of the greatest values along `axis`, 0 elsewhere; a NaN counts as the greatest. ONNX Hardmax-13."""

    axis: int = -1


def infer_shrink(op: Shrink, x: TensorType) -> TensorType:
    """Raises: ShapeError for whole numbers, or a threshold that is no number."""
    need_float(x)
    if op.lambd != op.lambd or op.bias != op.bias:
        raise ShapeError(f"lambd {op.lambd} and bias {op.bias} must be numbers")
    return x


def infer_hardmax(op: Hardmax, x: TensorType) -> TensorType:
    """Raises: ShapeError for whole numbers, an axis out of range or of no elements."""
    need_float(x)
    need_elements(x, need_axis(op.axis, x.rank))
    return x


def shrink(op: Shrink, x: Array) -> Array:
    bias, lambd = x.dtype.type(op.bias), x.dtype.type(op.lambd)
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, np.zeros((), x.dtype)))


def hardmax(op: Hardmax, x: Array) -> Array:
    out = np.zeros_like(x)
    np.put_along_axis(out, x.argmax(axis=op.axis, keepdims=True), 1, axis=op.axis)
    return out


def shrink_magnitude(op: Shrink, x: Array) -> Array:
    return abs(x) + abs(op.bias)


SHRINK = OpDef(
    "shrink",
    Shrink,
    (1, 1),
    infer_shrink,
    shrink,
    elementwise_cost(2),
    shrink_magnitude,
    facts=Facts(pointwise=True, reuse=BY_PLACE, activation=True),
    gradient=of_one(lambda op, g, y, x: where((x < -op.lambd) | (x > op.lambd), g, 0)),
)
HARDMAX = OpDef(
    "hardmax",
    Hardmax,
    (1, 1),
    infer_hardmax,
    hardmax,
    elementwise_cost(1),
    roundings=no_rounding,
    facts=Facts(least=fixed(0.0)),
    gradient=FLAT,
)
OPS = (SHRINK, HARDMAX)
