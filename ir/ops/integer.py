"""Products of quantized values whose sums stay whole: conv_integer1d to 3d and matmul_integer. Jacob et al. 2018, sec. 2.3.

Every number on the way is whole, so engines give the same digits or are wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef, no_rounding
from ..types import Array, TensorType
from .conv import CONVS, Conv, Conv1d, Conv2d, Conv3d, by_channel
from .linear import MATMUL, MatMul

__all__ = ["CONV_INTEGERS", "MATMUL_INTEGER", "OPS", "ConvInteger1d", "ConvInteger2d", "ConvInteger3d", "MatMulInteger"]


@dataclass(frozen=True, slots=True)
class ConvInteger1d(Conv1d):
    """conv1d(x - x_zero, w - w_zero) in i32, which wraps; zero points left out are 0. ONNX ConvInteger.

    Shapes: x[N,C,L], w[O,C/groups,K], x_zero[], w_zero[] or [O]: each i8 or u8, a zero point of the type it is subtracted from -> [N,O,L'].
    """


@dataclass(frozen=True, slots=True)
class ConvInteger2d(Conv2d):
    """conv2d(x - x_zero, w - w_zero) in i32, which wraps; zero points left out are 0. ONNX ConvInteger.

    Shapes: x[N,C,H,W], w[O,C/groups,KH,KW], x_zero[], w_zero[] or [O]: types as in conv_integer1d -> [N,O,H',W'].
    """


@dataclass(frozen=True, slots=True)
class ConvInteger3d(Conv3d):
    """conv3d(x - x_zero, w - w_zero) in i32, which wraps; zero points left out are 0. ONNX ConvInteger.

    Shapes: x[N,C,D,H,W], w[O,C/groups,KD,KH,KW], x_zero[], w_zero[] or [O]: types as in conv_integer1d -> [N,O,D',H',W'].
    """


@dataclass(frozen=True, slots=True)
class MatMulInteger:
    """matmul(a - a_zero, b - b_zero) in i32, which wraps; zero points left out are 0. ONNX MatMulInteger.

    Shapes: a[...,M,K], b[...,K,N], a_zero[], [M] or [...,M,1], b_zero[], [N] or [...,1,N]: each i8 or u8, a zero point of the type it is
    subtracted from -> [...,M,N].
    """


def infer_conv_integer(
    op: Conv, x: TensorType, w: TensorType, x_zero: TensorType | None = None, w_zero: TensorType | None = None
) -> TensorType:
    """Raises: ShapeError for operands that are not of 8 bits, zero points that do not fit, and as a convolution."""
    _need_bytes(("input", x, x_zero), ("weight", w, w_zero))
    out = _plain(op).infer(op, TensorType("i32", x.shape), TensorType("i32", w.shape))
    if x_zero is not None and x_zero.shape not in ((), (1,)):
        raise ShapeError(f"zero point of the input is {x_zero}, expected one number")
    if w_zero is not None and w_zero.shape not in ((), (1,), w.shape[:1]):
        raise ShapeError(f"zero point of the weight is {w_zero}, expected one number, or one for each of {w.shape[0]} filters")
    return out


def infer_matmul_integer(
    op: MatMulInteger, a: TensorType, b: TensorType, a_zero: TensorType | None = None, b_zero: TensorType | None = None
) -> TensorType:
    """Raises: ShapeError for operands that are not of 8 bits, zero points that do not fit, and as matmul."""
    _need_bytes(("first operand", a, a_zero), ("second operand", b, b_zero))
    out = MATMUL.infer(MatMul(), TensorType("f32", a.shape), TensorType("f32", b.shape))
    for zero, x, what, along in ((a_zero, a, "row", -2), (b_zero, b, "column", -1)):
        of_each = tuple(dim if axis == x.rank + along or axis < x.rank - 2 else 1 for axis, dim in enumerate(x.shape))
        if zero is not None and zero.shape not in ((), (1,), (x.shape[along],), of_each):
            raise ShapeError(f"zero point is {zero}, expected one number, or one for each {what} of {x}")
    return TensorType("i32", out.shape)


def _need_bytes(*operands: tuple[str, TensorType, TensorType | None]) -> None:
    for what, x, zero in operands:
        if x.dtype not in ("i8", "u8"):
            raise ShapeError(f"{what} is {x}, expected i8 or u8")
        if zero is not None and zero.dtype != x.dtype:
            raise ShapeError(f"zero point of the {what} is {zero}, expected {x.dtype} as the {what} is")


def conv_integer(op: Conv, x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None) -> Array:
    filters = None if w_zero is None or w_zero.size == 1 else by_channel(w_zero, w.ndim - 1)
    return _wrapped(_plain(op).meaning(op, _off(x, x_zero), _off(w, w_zero if filters is None else filters)))


def matmul_integer(op: MatMulInteger, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None) -> Array:
    rows = a_zero[:, None] if a_zero is not None and a_zero.ndim == 1 else a_zero
    return _wrapped(MATMUL.meaning(MatMul(), _off(a, rows), _off(b, b_zero)))


def _off(x: Array, zero: Array | None) -> Array:
    """The difference as a float64: BLAS sums those, and no sum of such products comes near what it has digits for."""
    wide = x.astype(np.float64)
    return wide if zero is None else wide - zero


def _wrapped(sums: Array) -> Array:
    return sums.astype(np.int64).astype(np.int32)


def _plain(op: Conv) -> OpDef[Any]:
    """The convolution over as many axes."""
    return CONVS[len(op.strides) - 1]


def conv_arithmetic(op: Conv, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return _plain(op).arithmetic(op, inputs[:2], out)


def matmul_arithmetic(op: MatMulInteger, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return MATMUL.arithmetic(MatMul(), inputs[:2], out)


def _conv_integer(name: str, Attrs: type[Any]) -> OpDef[Any]:
    return OpDef(name, Attrs, (2, 4), infer_conv_integer, conv_integer, conv_arithmetic, roundings=no_rounding, facts=Facts())


# By the number of axes, from one on.
CONV_INTEGERS = (
    _conv_integer("conv_integer1d", ConvInteger1d),
    _conv_integer("conv_integer2d", ConvInteger2d),
    _conv_integer("conv_integer3d", ConvInteger3d),
)
MATMUL_INTEGER = OpDef(
    "matmul_integer",
    MatMulInteger,
    (2, 4),
    infer_matmul_integer,
    matmul_integer,
    matmul_arithmetic,
    roundings=no_rounding,
    facts=Facts(),
)
OPS = (*CONV_INTEGERS, MATMUL_INTEGER)
