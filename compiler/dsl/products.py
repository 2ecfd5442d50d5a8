"""Products: convolutions, with what usually follows them, and dense layers."""

from __future__ import annotations

from ...ir.dims import Dim
from ...ir.errors import ShapeError
from ...ir.ops.conv import CONV2D, Conv2d
from ...ir.ops.conv_transpose import CONV_TRANSPOSE2D, ConvTranspose2d
from ...ir.ops.linear import DENSE, MATMUL, Dense, MatMul
from ...ir.ops.window import Pads, Pair
from .activations import relu
from .norms import batch_norm
from .shapes import flatten
from .trace import Value
from .user_line import naming_line
from .window_arguments import Padding, Size, pads_of, pair

__all__ = [
    "conv",
    "conv_bn",
    "conv_bn_relu",
    "conv_relu",
    "conv_transpose",
    "conv_with",
    "dense",
    "matmul",
]


def conv(
    x: Value,
    c_out: int,
    kernel: Size,
    stride: Size = 1,
    pad: Padding = 0,
    groups: int = 1,
    dilation: Size = 1,
    bias: bool = True,
    name: str = "",
    weights: str = "",
) -> Value:
    """`c_out` filters. Shapes: x[N,C,H,W] -> [N,c_out,H',W']."""
    _need_count("filters", c_out)
    (k_rows, k_cols), strides, dilations = pair(kernel), pair(stride), pair(dilation)
    pads = pads_of(pad, x, (k_rows, k_cols), strides, dilations)
    if groups < 1 or x.channels % groups:
        raise ShapeError(naming_line(f"{x.channels} channels do not divide into {groups} groups"))
    layer = x.trace.layer_name("conv", name)
    parameters = [x.trace.param(f"{weights or layer}.w", (c_out, x.channels // groups, k_rows, k_cols), "he")]
    if bias:
        parameters.append(x.trace.param(f"{weights or layer}.b", (c_out,), "small"))
    return x.trace.emit(CONV2D, Conv2d(strides, pads, dilations, groups), (x, *parameters), layer)


def conv_with(x: Value, w: Value, b: Value | None = None, stride: Size = 1, pad: Padding = 0, groups: int = 1, dilation: Size = 1) -> Value:
    """Convolution with filters that are values, as `constant` makes them. Shapes: w[O,C/groups,KH,KW], b[O]."""
    if w.rank != 4 or not all(isinstance(size, int) for size in w.shape):
        raise ShapeError(naming_line(f"filters are {w.node.type}, expected 4 axes of numbers (O,C/groups,KH,KW)"))
    kernel, strides, dilations = _pair_of(w.shape[2:]), pair(stride), pair(dilation)
    op = Conv2d(strides, pads_of(pad, x, kernel, strides, dilations), dilations, groups)
    return x.trace.emit(CONV2D, op, (x, w) if b is None else (x, w, b), x.trace.layer_name("conv"))


def conv_transpose(
    x: Value,
    c_out: int,
    kernel: Size,
    stride: Size = 1,
    pad: int | Pads = 0,
    groups: int = 1,
    dilation: Size = 1,
    output_padding: Size = 0,
    bias: bool = True,
    name: str = "",
) -> Value:
    """The adjoint of conv, which grows its input by the stride. Shapes: x[N,C,H,W] -> [N,c_out,H',W']."""
    _need_count("filters", c_out)
    k_rows, k_cols = pair(kernel)
    if groups < 1 or c_out % groups:
        raise ShapeError(naming_line(f"{c_out} filters do not divide into {groups} groups"))
    layer = x.trace.layer_name("conv_transpose", name)
    parameters = [x.trace.param(f"{layer}.w", (x.channels, c_out // groups, k_rows, k_cols), "he")]
    if bias:
        parameters.append(x.trace.param(f"{layer}.b", (c_out,), "small"))
    pads: Pads = (pad, pad, pad, pad) if isinstance(pad, int) else pad
    op = ConvTranspose2d(pair(stride), pads, pair(dilation), groups, pair(output_padding))
    return x.trace.emit(CONV_TRANSPOSE2D, op, (x, *parameters), layer)


def conv_relu(x: Value, c_out: int, kernel: Size, stride: Size = 1, pad: Padding = 0) -> Value:
    return relu(conv(x, c_out, kernel, stride, pad))


def conv_bn(x: Value, c_out: int, kernel: Size, stride: Size = 1, pad: Padding = 0, gain: str = "around_one") -> Value:
    """Convolution without bias, then batch norm."""
    return batch_norm(conv(x, c_out, kernel, stride, pad, bias=False), gain=gain)


def conv_bn_relu(x: Value, c_out: int, kernel: Size, stride: Size = 1, pad: Padding = 0) -> Value:
    return relu(conv_bn(x, c_out, kernel, stride, pad))


def dense(x: Value, features: int, bias: bool = True, name: str = "", weights: str = "") -> Value:
    """A fully connected layer; an image is flattened first. Shapes: x[N,...] -> [N,features]."""
    _need_count("features", features)
    x = flatten(x) if x.rank != 2 else x
    layer = x.trace.layer_name("fc", name)
    parameters = [x.trace.param(f"{weights or layer}.w", (features, x.channels), "he")]
    if bias:
        parameters.append(x.trace.param(f"{weights or layer}.b", (features,), "small"))
    return x.trace.emit(DENSE, Dense(), (x, *parameters), layer)


def matmul(a: Value, b: Value) -> Value:
    return a.trace.emit(MATMUL, MatMul(), (a, b))


def _pair_of(dims: tuple[Dim, ...]) -> Pair:
    rows, cols = (dim for dim in dims if isinstance(dim, int))
    return rows, cols


def _need_count(what: str, count: object) -> None:
    """Raises: ShapeError unless `count` is a whole number of at least 1."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ShapeError(naming_line(f"{what} is {count!r}, expected a whole number of at least 1"))
