"""Products: convolutions, with what usually follows them, and dense layers."""

from __future__ import annotations

from ...ir.errors import ShapeError
from ...ir.ops.conv import CONVS
from ...ir.ops.conv_transpose import CONV_TRANSPOSES
from ...ir.ops.elementwise import ADD, Add
from ...ir.ops.linear import DENSE, MATMUL, Dense, MatMul
from ...ir.ops.shape import TRANSPOSE, Transpose
from ...ir.ops.window import Borders
from .activations import relu
from .norms import batch_norm
from .shapes import flatten
from .trace import Value
from .user_line import naming_line
from .window_arguments import Padding, Size, axes_of, each, pads_of

__all__ = [
    "conv",
    "conv_bn",
    "conv_bn_relu",
    "conv_relu",
    "conv_transpose",
    "conv_with",
    "dense",
    "linear",
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
    init: str = "he",
) -> Value:
    """`c_out` filters, over as many axes as x has. Shapes: x[N,C,H,W] -> [N,c_out,H',W'], x[N,C,L] or x[N,C,D,H,W] alike.

    H' is (H + pads - dilation * (kernel - 1) - 1) // stride + 1, and with `pad="same"` ceil(H / stride), odd zeros last.

    kernel, stride, dilation: a number for all axes, or one for each.
    pad: zeros at the borders: a number for all, one for each (top, left, bottom, right), or "same", "same_lower" or "valid".
    groups: ranges of channels that are filtered apart; both the channels and c_out divide into them.
    bias: whether a number for each filter is added.
    name: of the layer; without, the next of its kind in this scope.
    weights: layers with the same word here share their parameters.
    init: how random weights are drawn, such as "he" or "xavier_uniform".

    Raises: ShapeError, with the user's line, for a window that does not fit, and for groups that do not divide the channels.
    """
    _need_count("filters", c_out)
    axes = axes_of(x)
    sizes, strides, dilations = each(kernel, axes), each(stride, axes), each(dilation, axes)
    pads = pads_of(pad, x, sizes, strides, dilations)
    if groups < 1 or x.channels % groups:
        raise ShapeError(naming_line(f"{x.channels} channels do not divide into {groups} groups"))
    layer = x.trace.layer_name("conv", name)
    parameters = [x.param(f"{weights or layer}.w", (c_out, x.channels // groups, *sizes), init)]
    if bias:
        parameters.append(x.param(f"{weights or layer}.b", (c_out,), "small"))
    kind = CONVS[axes - 1]
    return x.trace.emit(kind, kind.Attrs(strides, pads, dilations, groups), (x, *parameters), layer)


def conv_with(x: Value, w: Value, b: Value | None = None, stride: Size = 1, pad: Padding = 0, groups: int = 1, dilation: Size = 1) -> Value:
    """Convolution with filters that are values, as `constant` makes them. Shapes: x[N,C,H,W], w[O,C/groups,KH,KW], b[O] -> [N,O,H',W'].

    `stride`, `pad` and `dilation` are those of `conv`.
    """
    axes = axes_of(x)
    kernel = tuple(size for size in w.shape[2:] if isinstance(size, int))
    if w.rank != axes + 2 or len(kernel) != axes or not all(isinstance(size, int) for size in w.shape):
        names = ("K", "KH,KW", "KD,KH,KW")[axes - 1]
        raise ShapeError(naming_line(f"filters are {w.node.type}, expected {axes + 2} axes of numbers (O,C/groups,{names})"))
    strides, dilations = each(stride, axes), each(dilation, axes)
    kind = CONVS[axes - 1]
    op = kind.Attrs(strides, pads_of(pad, x, kernel, strides, dilations), dilations, groups)
    return x.trace.emit(kind, op, (x, w) if b is None else (x, w, b), x.trace.layer_name("conv"))


def conv_transpose(
    x: Value,
    c_out: int,
    kernel: Size,
    stride: Size = 1,
    pad: int | Borders = 0,
    groups: int = 1,
    dilation: Size = 1,
    output_padding: Size = 0,
    bias: bool = True,
    name: str = "",
) -> Value:
    """The adjoint of conv, which grows its input by the stride. Shapes: x[N,C,H,W] -> [N,c_out,H',W'], x[N,C,L] or x[N,C,D,H,W] alike.

    H' is (H - 1) * stride - pads + dilation * (kernel - 1) + 1 + output_padding.

    kernel, stride, dilation: a number for all axes, or one for each.
    pad: rows and columns that are cut off the result: a number for all borders, or one for each.
    groups: ranges of channels that are filtered apart.
    output_padding: rows and columns at the end, of which there are more than the input tells.
    bias: whether a number for each filter is added.
    name: of the layer; without, the next of its kind in this scope.

    Raises: ShapeError, with the user's line, for groups that do not divide the channels.
    """
    _need_count("filters", c_out)
    axes = axes_of(x)
    if groups < 1 or c_out % groups:
        raise ShapeError(naming_line(f"{c_out} filters do not divide into {groups} groups"))
    layer = x.trace.layer_name("conv_transpose", name)
    parameters = [x.param(f"{layer}.w", (x.channels, c_out // groups, *each(kernel, axes)), "he")]
    if bias:
        parameters.append(x.param(f"{layer}.b", (c_out,), "small"))
    pads: Borders = (pad,) * (2 * axes) if isinstance(pad, int) else pad
    kind = CONV_TRANSPOSES[axes - 1]
    op = kind.Attrs(each(stride, axes), pads, each(dilation, axes), groups, each(output_padding, axes))
    return x.trace.emit(kind, op, (x, *parameters), layer)


def conv_relu(x: Value, c_out: int, kernel: Size, stride: Size = 1, pad: Padding = 0) -> Value:
    """Convolution, relu: `x`, `c_out`, `kernel`, `stride` and `pad` are those of `conv`, and so are shapes."""
    return relu(conv(x, c_out, kernel, stride, pad))


def conv_bn(
    x: Value, c_out: int, kernel: Size, stride: Size = 1, pad: Padding = 0, gain: str = "around_one", groups: int = 1, dilation: Size = 1
) -> Value:
    """Convolution without bias, then batch norm, whose scale is drawn as `gain` says.

    `x`, `c_out`, `kernel`, `stride`, `pad`, `groups` and `dilation` are those of `conv`, and so are shapes.
    """
    return batch_norm(conv(x, c_out, kernel, stride, pad, groups, dilation, bias=False), gain=gain)


def conv_bn_relu(x: Value, c_out: int, kernel: Size, stride: Size = 1, pad: Padding = 0, groups: int = 1, dilation: Size = 1) -> Value:
    """Convolution without bias, batch norm, relu.

    `x`, `c_out`, `kernel`, `stride`, `pad`, `groups` and `dilation` are those of `conv`, and so are shapes.
    """
    return relu(conv_bn(x, c_out, kernel, stride, pad, groups=groups, dilation=dilation))


def dense(x: Value, features: int, bias: bool = True, name: str = "", weights: str = "", init: str = "he") -> Value:
    """A fully connected layer; an image is flattened first. Shapes: x[N,...] -> [N,features].

    `bias`, `name`, `weights` and `init` are those of `conv`.
    """
    _need_count("features", features)
    x = flatten(x) if x.rank != 2 else x
    layer = x.trace.layer_name("fc", name)
    parameters = [x.param(f"{weights or layer}.w", (features, x.channels), init)]
    if bias:
        parameters.append(x.param(f"{weights or layer}.b", (features,), "small"))
    return x.trace.emit(DENSE, Dense(), (x, *parameters), layer)


def linear(x: Value, features: int, bias: bool = True, name: str = "", weights: str = "") -> Value:
    """A dense layer of each row of the last axis: of tokens, of pixels whose channels come last. Shapes: x[...,C] -> [...,features].

    `bias`, `name` and `weights` are those of `conv`.
    """
    _need_count("features", features)
    c_in = x.shape[-1] if x.rank else None
    if not isinstance(c_in, int):
        raise ShapeError(naming_line(f"{x.node.where} is {x.node.type}; a number of features is needed on the last axis"))
    layer = x.trace.layer_name("linear", name)
    w = x.param(f"{weights or layer}.w", (features, c_in), "he")
    turned = x.trace.emit(TRANSPOSE, Transpose((1, 0)), (w,), x.trace.named(f"{layer}.turned"))
    if not bias:
        return x.trace.emit(MATMUL, MatMul(), (x, turned), layer)
    product = x.trace.emit(MATMUL, MatMul(), (x, turned), x.trace.named(f"{layer}.product"))
    return x.trace.emit(ADD, Add(), (product, x.param(f"{weights or layer}.b", (features,), "small")), layer)


def matmul(a: Value, b: Value) -> Value:
    """The matrix product of the last two axes of `a` and `b`, others broadcast. Shapes: a[...,I,K], b[...,K,J] -> [...,I,J]."""
    return a.trace.emit(MATMUL, MatMul(), (a, b))


def _need_count(what: str, count: object) -> None:
    """Raises: ShapeError unless `count` is a whole number of at least 1."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ShapeError(naming_line(f"{what} is {count!r}, expected a whole number of at least 1"))
