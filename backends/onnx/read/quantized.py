"""Rows of quantized numbers: to steps and back, and products of steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....ir.graph import Node
from ....ir.ops.integer import CONV_INTEGERS
from ....ir.ops.qlinear import QLINEAR_CONVS
from ....ir.types import DTYPES
from .call import Call, Row
from .pointwise import cast_to, element_type, matrix_product
from .shapes import axis_of
from .windows import convolution

__all__ = ["ROWS"]


def quantize(c: Call) -> Node:
    """The result is of the zero point's type, which `output_dtype` may only repeat, or else say."""
    code = c.attribute("output_dtype", 0)
    scale, zero = _scales(c, element_type(c, code) if code else "u8")
    if code and zero.typed.dtype != element_type(c, code):
        raise c.refuse(f"output_dtype is {element_type(c, code)}, but its zero point is {zero.typed}")
    axis, block = _place(c, c.x(), scale)
    return c.named("quantize_linear", cast_to(c, c.x(), scale.typed.dtype, "x"), scale, zero, axis=axis, block=block)


def dequantize(c: Call) -> Node:
    """The result is of the scale's type, or of `output_dtype`."""
    scale, zero = _scales(c, c.x().typed.dtype)
    code = c.attribute("output_dtype", 0)
    dtype = element_type(c, code) if code else scale.typed.dtype
    suffix = "" if dtype == scale.typed.dtype else "wide"
    axis, block = _place(c, c.x(), scale)
    y = c.named("dequantize_linear", c.x(), scale, zero, axis=axis, block=block, suffix=suffix)
    return cast_to(c, y, dtype) if suffix else y


def _scales(c: Call, dtype: str) -> tuple[Node, Node]:
    """Scale and zero point, which is 0 of `dtype` where it is left out; one of each is a scalar."""
    scale = c.x(1)
    zero = c.maybe(2) or _zero(c, scale, dtype, "zero_point")
    if c.attribute("block_size", 0):
        return scale, zero
    return _one(c, scale, "one_scale"), _one(c, zero, "one_zero")


def _one(c: Call, values: Node, suffix: str) -> Node:
    return c.named("reshape", values, shape=(), suffix=suffix) if values.typed.shape == (1,) else values


def _place(c: Call, x: Node, scale: Node) -> tuple[int, int]:
    """Axis and block. A scalar scale has no axis, and the default of 1 may lie outside a vector."""
    axis = c.attribute("axis", 1)
    return axis_of(c, axis, x.typed.rank) if scale.typed.rank else 0, c.attribute("block_size", 0)


def _zero(c: Call, scale: Node, dtype: str, suffix: str) -> Node:
    return c.constant(np.zeros(scale.typed.concrete(), DTYPES[dtype]), suffix)


def dynamic_quantize(c: Call) -> Sequence[Node | None]:
    """Steps, their size and their zero: a node each."""
    names = (*c.results, "", "")[:3]
    x = c.x()
    scale = c.named("dynamic_scale", x, suffix="" if names[1] else "scale", result=1 if names[1] else 0)
    zero = c.named("dynamic_zero", x, scale, suffix="" if names[2] else "zero", result=2 if names[2] else 0)
    return [c.named("quantize_linear", x, scale, zero, axis=0), scale, zero][: len(c.results)]


def q_linear_conv(c: Call) -> Node:
    """x, w and y, each with its scale and zero point, and a bias of scale x_scale * w_scale."""
    scales = [_scalar(c, i) if c.x(i).typed.shape == (1,) else c.x(i) for i in (1, 2, 4, 5, 6, 7)]
    kind, op = convolution(c, c.x(0), c.x(3), QLINEAR_CONVS)
    bias = c.maybe(8)
    return c.make(kind, op, c.x(0), *scales[:2], c.x(3), *scales[2:], *([] if bias is None else [bias]))


def q_linear_matmul(c: Call) -> Node:
    """a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero; a may have a scale for each row, b one for each column."""
    scales = [_scalar(c, i) if c.x(i).typed.rank and c.x(i).typed.numel == 1 else c.x(i) for i in (1, 2, 4, 5, 6, 7)]
    if any(scale.typed.rank > 1 for scale in scales) or scales[4].typed.rank:
        raise c.refuse("scales of more than rows or columns; one for each row of a, or column of b, can be compiled")
    return c.named("qlinear_matmul", c.x(0), *scales[:2], c.x(3), *scales[2:])


def conv_integer(c: Call) -> Node:
    kind, op = convolution(c, c.x(0), c.x(1), CONV_INTEGERS)
    return c.make(kind, op, c.x(0), c.x(1), *_zero_points(c))


def matmul_integer(c: Call) -> Node:
    zeros = _zero_points(c)
    return matrix_product(c, lambda a, b, suffix: c.named("matmul_integer", a, b, *zeros, suffix=suffix))


def _zero_points(c: Call) -> list[Node]:
    """Of both operands; the first is written down where only the second is given."""
    first, second = c.maybe(2), c.maybe(3)
    if first is None and second is not None:
        first = c.constant(np.zeros((), DTYPES[c.x().typed.dtype]), "zero")
    return [zero for zero in (first, second) if zero is not None]


def _scalar(c: Call, index: int) -> Node:
    return c.named("reshape", c.x(index), shape=(), suffix=f"s{index}")


ROWS: dict[str, Row] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": dynamic_quantize,
    "QLinearConv": q_linear_conv,
    "QLinearMatMul": q_linear_matmul,
    "ConvInteger": conv_integer,
    "MatMulInteger": matmul_integer,
}
