"""Products of quantized values that are quantized again: qlinear_conv1d to 3d and qlinear_matmul. Jacob et al. 2018, sec. 2.2.

What they mean is said with three other ops: dequantize_linear, the product, quantize_linear. An engine with integer kernels adds integers
and rounds once; ir/opened.py writes the three ops out for those without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef, no_rounding
from ..types import Array, TensorType
from .conv import CONVS, Conv, Conv1d, Conv2d, Conv3d
from .linear import MATMUL, MatMul
from .quantize import DEQUANTIZE_LINEAR, QUANTIZE_LINEAR, DequantizeLinear, QuantizeLinear

__all__ = [
    "BY_COLUMN",
    "BY_FILTER",
    "BY_ROW",
    "OPS",
    "QLINEAR_CONVS",
    "QLINEAR_MATMUL",
    "QLinearConv1d",
    "QLinearConv2d",
    "QLinearConv3d",
    "QLinearMatMul",
]

BY_FILTER, BY_ROW, BY_COLUMN = (DequantizeLinear(axis) for axis in (0, -2, -1))  # along which scales may lie


@dataclass(frozen=True, slots=True)
class QLinearConv1d(Conv1d):
    """quantize(conv1d(dequantize(x), dequantize(w), b * x_scale * w_scale)). ONNX QLinearConv.

    Shapes: x[N,C,L], x_scale[], x_zero[], w[O,C/groups,K], w_scale[] or [O], w_zero like it, y_scale[], y_zero[], b[O] of i32
    -> [N,O,L'] of y_zero's type.
    """


@dataclass(frozen=True, slots=True)
class QLinearConv2d(Conv2d):
    """quantize(conv2d(dequantize(x), dequantize(w), b * x_scale * w_scale)). ONNX QLinearConv.

    Shapes: x[N,C,H,W], x_scale[], x_zero[], w[O,C/groups,KH,KW], w_scale[] or [O], w_zero like it, y_scale[], y_zero[], b[O] of i32
    -> [N,O,H',W'] of y_zero's type.
    """


@dataclass(frozen=True, slots=True)
class QLinearConv3d(Conv3d):
    """quantize(conv3d(dequantize(x), dequantize(w), b * x_scale * w_scale)). ONNX QLinearConv.

    Shapes: x[N,C,D,H,W], x_scale[], x_zero[], w[O,C/groups,KD,KH,KW], w_scale[] or [O], w_zero like it, y_scale[], y_zero[], b[O] of i32
    -> [N,O,D',H',W'] of y_zero's type.
    """


@dataclass(frozen=True, slots=True)
class QLinearMatMul:
    """quantize(matmul(dequantize(a), dequantize(b))). ONNX QLinearMatMul.

    Shapes: a[...,M,K], a_scale[] or [M], a_zero like it, b[...,K,N], b_scale[] or [N], b_zero like it, y_scale[], y_zero[]
    -> [...,M,N] of y_zero's type.
    """


def infer_qlinear_conv(
    op: Conv,
    x: TensorType,
    x_scale: TensorType,
    x_zero: TensorType,
    w: TensorType,
    w_scale: TensorType,
    w_zero: TensorType,
    y_scale: TensorType,
    y_zero: TensorType,
    b: TensorType | None = None,
) -> TensorType:
    """Raises: ShapeError for scales that do not fit, or a bias that is not i32, and as a convolution."""
    _need_one("input", x_scale)
    _need_one("result", y_scale)
    if b is not None and b.dtype != "i32":
        raise ShapeError(f"bias is {b}, expected i32")
    wide = [DEQUANTIZE_LINEAR.infer(BY_FILTER, x, x_scale, x_zero), DEQUANTIZE_LINEAR.infer(BY_FILTER, w, w_scale, w_zero)]
    bias = [] if b is None else [TensorType(x_scale.dtype, b.shape)]
    return QUANTIZE_LINEAR.infer(QuantizeLinear(), _plain(op).infer(op, *wide, *bias), y_scale, y_zero)


def qlinear_conv(
    op: Conv,
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    y_scale: Array,
    y_zero: Array,
    b: Array | None = None,
) -> Array:
    wide = [DEQUANTIZE_LINEAR.meaning(BY_FILTER, x, x_scale, x_zero), DEQUANTIZE_LINEAR.meaning(BY_FILTER, w, w_scale, w_zero)]
    bias = [] if b is None else [b.astype(x_scale.dtype) * (x_scale * w_scale)]
    return QUANTIZE_LINEAR.meaning(QuantizeLinear(), _plain(op).meaning(op, *wide, *bias), y_scale, y_zero)


def infer_qlinear_matmul(
    op: QLinearMatMul,
    a: TensorType,
    a_scale: TensorType,
    a_zero: TensorType,
    b: TensorType,
    b_scale: TensorType,
    b_zero: TensorType,
    y_scale: TensorType,
    y_zero: TensorType,
) -> TensorType:
    """Raises: ShapeError for scales that do not fit, and as matmul."""
    _need_one("result", y_scale)
    wide = [DEQUANTIZE_LINEAR.infer(BY_ROW, a, a_scale, a_zero), DEQUANTIZE_LINEAR.infer(BY_COLUMN, b, b_scale, b_zero)]
    return QUANTIZE_LINEAR.infer(QuantizeLinear(0), MATMUL.infer(MatMul(), *wide), y_scale, y_zero)


def qlinear_matmul(
    op: QLinearMatMul, a: Array, a_scale: Array, a_zero: Array, b: Array, b_scale: Array, b_zero: Array, y_scale: Array, y_zero: Array
) -> Array:
    wide = [DEQUANTIZE_LINEAR.meaning(BY_ROW, a, a_scale, a_zero), DEQUANTIZE_LINEAR.meaning(BY_COLUMN, b, b_scale, b_zero)]
    return QUANTIZE_LINEAR.meaning(QuantizeLinear(0), MATMUL.meaning(MatMul(), *wide), y_scale, y_zero)


def _plain(op: Conv) -> OpDef[Any]:
    """The convolution of floats over as many axes."""
    return CONVS[len(op.strides) - 1]


def _need_one(what: str, scale: TensorType) -> None:
    if scale.rank:
        raise ShapeError(f"scale of the {what} is {scale}, expected one number")


def conv_arithmetic(op: Conv, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return _plain(op).arithmetic(op, (inputs[0], inputs[3], *inputs[8:]), out)


def matmul_arithmetic(op: QLinearMatMul, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return MATMUL.arithmetic(MatMul(), (inputs[0], inputs[3]), out)


def _qlinear_conv(name: str, Attrs: type[Any]) -> OpDef[Any]:
    """The rounding is to a step; what comes before it is of the three ops."""
    return OpDef(name, Attrs, (8, 9), infer_qlinear_conv, qlinear_conv, conv_arithmetic, roundings=no_rounding, facts=Facts())


# By the number of axes, from one on.
QLINEAR_CONVS = (
    _qlinear_conv("qlinear_conv1d", QLinearConv1d),
    _qlinear_conv("qlinear_conv2d", QLinearConv2d),
    _qlinear_conv("qlinear_conv3d", QLinearConv3d),
)
QLINEAR_MATMUL = OpDef(
    "qlinear_matmul",
    QLinearMatMul,
    (8, 8),
    infer_qlinear_matmul,
    qlinear_matmul,
    matmul_arithmetic,
    roundings=no_rounding,
    facts=Facts(),
)
OPS = (*QLINEAR_CONVS, QLINEAR_MATMUL)
