"""Layers: functions from values to values, in the words of the papers.

Input channels and flattened features are inferred. `pad` is `"same"`, `"valid"`, a number, or
(top, left, bottom, right); a kernel or stride is a number or (rows, columns). `name` names the layer;
`weights` names its parameters, which every layer that says the same shares.
"""

from __future__ import annotations

import math

from ...ir.dims import Dim
from ...ir.errors import ShapeError
from ...ir.ops.conv import CONV2D, CONV_TRANSPOSE2D, Conv2d, ConvTranspose2d
from ...ir.ops.elementwise import CAST, IDENTITY, Cast, Identity
from ...ir.ops.linear import DENSE, MATMUL, Dense, MatMul
from ...ir.ops.norm import BATCH_NORM, LOCAL_RESPONSE_NORM, BatchNorm, LocalResponseNorm
from ...ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from ...ir.ops.reduce import REDUCE_MEAN, ReduceMean
from ...ir.ops.resize import RESIZE, Resize
from ...ir.ops.shape import CONCAT, FLATTEN, PAD, RESHAPE, SLICE, TRANSPOSE, Concat, Flatten, Pad, Reshape, Slice, Transpose
from ...ir.ops.window import Pads, Pair, dilated
from ...ir.types import Array
from . import activations, structure_layers
from .activations import *  # noqa: F403  every layer is found here
from .structure_layers import *  # noqa: F403
from .trace import Value
from .user_line import user_line

__all__ = [
    "avg_pool",
    "batch_norm",
    "cast",
    "concat",
    "constant",
    "conv",
    "conv_bn",
    "conv_bn_relu",
    "conv_relu",
    "conv_transpose",
    "conv_with",
    "dense",
    "flatten",
    "global_avg_pool",
    "global_max_pool",
    "identity",
    "local_response_norm",
    "matmul",
    "max_pool",
    "pad",
    "reduce_mean",
    "reshape",
    "slice_axis",
    "transpose",
    "upsample",
]
__all__ += activations.__all__
__all__ += structure_layers.__all__

TO_THE_END = 2**31 - 1  # as ONNX writes it
Size = int | Pair
Padding = str | int | Pads


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
        raise ShapeError(f"{user_line()}: {x.channels} channels do not divide into {groups} groups")
    layer = x.trace.layer_name("conv", name)
    parameters = [x.trace.param(f"{weights or layer}.w", (c_out, x.channels // groups, k_rows, k_cols), "he")]
    if bias:
        parameters.append(x.trace.param(f"{weights or layer}.b", (c_out,), "small"))
    return x.trace.emit(CONV2D, Conv2d(strides, pads, dilations, groups), (x, *parameters), layer)


def conv_with(x: Value, w: Value, b: Value | None = None, stride: Size = 1, pad: Padding = 0, groups: int = 1, dilation: Size = 1) -> Value:
    """Convolution with filters that are values, as `constant` makes them. Shapes: w[O,C/groups,KH,KW], b[O]."""
    if w.rank != 4 or not all(isinstance(size, int) for size in w.shape):
        raise ShapeError(f"{user_line()}: filters are {w.node.type}, expected 4 axes of numbers (O,C/groups,KH,KW)")
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
        raise ShapeError(f"{user_line()}: {c_out} filters do not divide into {groups} groups")
    layer = x.trace.layer_name("conv_transpose", name)
    parameters = [x.trace.param(f"{layer}.w", (x.channels, c_out // groups, k_rows, k_cols), "he")]
    if bias:
        parameters.append(x.trace.param(f"{layer}.b", (c_out,), "small"))
    pads: Pads = (pad, pad, pad, pad) if isinstance(pad, int) else pad
    op = ConvTranspose2d(pair(stride), pads, pair(dilation), groups, pair(output_padding))
    return x.trace.emit(CONV_TRANSPOSE2D, op, (x, *parameters), layer)


def batch_norm(x: Value, epsilon: float = 1e-5, gain: str = "around_one", name: str = "") -> Value:
    """Normalization by stored statistics; `gain` is how random scales are drawn."""
    layer = x.trace.layer_name("bn", name)
    inits = {"scale": gain, "shift": "small", "mean": "small", "var": "around_one"}
    stats = [x.trace.param(f"{layer}.{stat}", (x.channels,), init) for stat, init in inits.items()]
    return x.trace.emit(BATCH_NORM, BatchNorm(epsilon), (x, *stats), layer)


def conv_relu(x: Value, c_out: int, kernel: Size, stride: Size = 1, pad: Padding = 0) -> Value:
    return activations.relu(conv(x, c_out, kernel, stride, pad))


def conv_bn(x: Value, c_out: int, kernel: Size, stride: Size = 1, pad: Padding = 0, gain: str = "around_one") -> Value:
    """Convolution without bias, then batch norm."""
    return batch_norm(conv(x, c_out, kernel, stride, pad, bias=False), gain=gain)


def conv_bn_relu(x: Value, c_out: int, kernel: Size, stride: Size = 1, pad: Padding = 0) -> Value:
    return activations.relu(conv_bn(x, c_out, kernel, stride, pad))


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


def max_pool(x: Value, kernel: Size, stride: Size | None = None, pad: Padding = 0, dilation: Size = 1, ceil_mode: bool = False) -> Value:
    """Greatest value of each window; the stride is the kernel unless given."""
    sizes, strides, dilations = pair(kernel), pair(kernel if stride is None else stride), pair(dilation)
    op = MaxPool(sizes, strides, pads_of(pad, x, sizes, strides, dilations), dilations, ceil_mode)
    return x.trace.emit(MAX_POOL, op, (x,))


def avg_pool(
    x: Value,
    kernel: Size,
    stride: Size | None = None,
    pad: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Value:
    """Mean of each window; the stride is the kernel unless given."""
    sizes, strides = pair(kernel), pair(kernel if stride is None else stride)
    op = AvgPool(sizes, strides, pads_of(pad, x, sizes, strides, (1, 1)), (1, 1), ceil_mode, count_include_pad)
    return x.trace.emit(AVG_POOL, op, (x,))


def global_avg_pool(x: Value) -> Value:
    return x.trace.emit(GLOBAL_AVG_POOL, GlobalAvgPool(), (x,))


def global_max_pool(x: Value) -> Value:
    return x.trace.emit(GLOBAL_MAX_POOL, GlobalMaxPool(), (x,))


def local_response_norm(x: Value, size: int = 5, alpha: float = 5e-4, beta: float = 0.75, bias: float = 2.0) -> Value:
    """The defaults are AlexNet's: its alpha of 1e-4 is not divided by the size. Krizhevsky 2012, sec. 3.3."""
    return x.trace.emit(LOCAL_RESPONSE_NORM, LocalResponseNorm(size, alpha, beta, bias), (x,))


def concat(*xs: Value, axis: int = 1) -> Value:
    """Values one after another along an axis, given one by one."""
    if not xs or not all(isinstance(x, Value) for x in xs):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ShapeError(f"{user_line()}: concat takes values, as in concat(a, b, axis=1)")
    return xs[0].trace.emit(CONCAT, Concat(axis), xs)


def slice_axis(x: Value, axis: int, start: int = 0, end: int | None = None, step: int = 1) -> Value:
    """x[start:end:step] along one axis; without `end`, to the last element."""
    last = TO_THE_END if end is None else end
    return x.trace.emit(SLICE, Slice((axis,), (start,), (last,), (step,) if step != 1 else ()), (x,))


def pad(x: Value, pads: int | Pads, value: float = 0.0, mode: str = "constant") -> Value:
    """A border around the rows and columns of an image."""
    top, left, bottom, right = (pads,) * 4 if isinstance(pads, int) else pads
    return x.trace.emit(PAD, Pad((0, 0, top, left, 0, 0, bottom, right), value, mode), (x,))


def flatten(x: Value, axis: int = 1) -> Value:
    return x.trace.emit(FLATTEN, Flatten(axis), (x,))


def reshape(x: Value, *shape: Dim) -> Value:
    """The same elements in another shape; one -1 stands for the rest, and `x.shape[0]` keeps a named batch."""
    return x.trace.emit(RESHAPE, Reshape(shape), (x,))


def transpose(x: Value, *perm: int) -> Value:
    return x.trace.emit(TRANSPOSE, Transpose(perm), (x,))


def upsample(x: Value, scale: float = 2.0, mode: str = "bilinear") -> Value:
    """Rows and columns grown by `scale`; nearest takes the pixel at or before (asymmetric, floor)."""
    if mode == "nearest":
        return x.trace.emit(RESIZE, Resize((scale, scale), mode, "asymmetric", "floor"), (x,))
    return x.trace.emit(RESIZE, Resize((scale, scale), mode), (x,))


def reduce_mean(x: Value, *axes: int, keepdims: bool = True) -> Value:
    return x.trace.emit(REDUCE_MEAN, ReduceMean(axes, keepdims), (x,))


def cast(x: Value, to: str) -> Value:
    return x.trace.emit(CAST, Cast(to), (x,))


def identity(x: Value, name: str = "") -> Value:
    """The same value under a name of its own."""
    return x.trace.emit(IDENTITY, Identity(), (x,), x.trace.named(name) if name else "")


def constant(x: Value, values: Array | float, name: str = "") -> Value:
    """Fixed numbers in the network that `x` belongs to."""
    return x.trace.constant(values, name)


def pair(size: Size) -> Pair:
    return (size, size) if isinstance(size, int) else size


def pads_of(pad: Padding, x: Value, kernel: Pair, strides: Pair, dilations: Pair) -> Pads:
    """Four pads from the user's word. "same" gives ceil(n/stride) positions, the odd pixel after (ONNX SAME_UPPER).

    Raises: ShapeError for another word, or "same" with a stride over a named size.
    """
    if isinstance(pad, int):
        return (pad, pad, pad, pad)
    if not isinstance(pad, str):
        return pad
    if pad == "valid":
        return (0, 0, 0, 0)
    if pad != "same":
        raise ShapeError(f"{user_line()}: pad is '{pad}', expected 'same', 'valid', a number or (top, left, bottom, right)")
    if x.rank != 4:
        raise ShapeError(f"{user_line()}: {x.node.where} is {x.node.type}; a window needs 4 axes (N,C,H,W)")
    totals: list[int] = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        extent = dilated(k, dilation)
        if stride == 1:
            totals.append(extent - 1)
        elif isinstance(size, int):
            totals.append(max((math.ceil(size / stride) - 1) * stride + extent - size, 0))
        else:
            raise ShapeError(f"{user_line()}: 'same' with stride {stride} depends on the named size {size}; give the pads as numbers")
    rows, cols = totals
    return (rows // 2, cols // 2, rows - rows // 2, cols - cols // 2)


def _pair_of(dims: tuple[Dim, ...]) -> Pair:
    rows, cols = (dim for dim in dims if isinstance(dim, int))
    return rows, cols


def _need_count(what: str, count: object) -> None:
    """Raises: ShapeError unless `count` is a whole number of at least 1."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ShapeError(f"{user_line()}: {what} is {count!r}, expected a whole number of at least 1")
