"""Blocks that many papers share: depthwise-separable convolution, squeeze and excitation."""

from __future__ import annotations

from ...ir.errors import ShapeError
from .activations import relu, sigmoid
from .pools import global_avg_pool
from .products import conv, conv_bn_relu
from .trace import Value
from .user_line import naming_line
from .window_arguments import Padding, Size

__all__ = ["depthwise_conv", "separable_conv", "squeeze_excite"]


def depthwise_conv(
    x: Value,
    kernel: Size,
    stride: Size = 1,
    pad: Padding = "same",
    multiplier: int = 1,
    dilation: Size = 1,
    bias: bool = True,
    name: str = "",
) -> Value:
    """Each channel filtered on its own. Shapes: x[N,C,H,W] -> [N,C*multiplier,H',W'].

    `multiplier` is how many filters a channel has; `kernel`, `stride`, `pad`, `dilation`, `bias` and `name` are those of `conv`.
    """
    channels = x.channels
    return conv(x, channels * multiplier, kernel, stride, pad, channels, dilation, bias, name)


def separable_conv(x: Value, c_out: int, kernel: Size = 3, stride: Size = 1, pad: Padding = "same") -> Value:
    """A depthwise and a 1x1 convolution, batch norm and relu after each. Shapes: x[N,C,H,W] -> [N,c_out,H',W'].

    `kernel`, `stride` and `pad` are those of the depthwise one. Source: Howard et al. 2017, MobileNets, fig. 3.
    """
    x = conv_bn_relu(x, x.channels, kernel, stride, pad, groups=x.channels)
    return conv_bn_relu(x, c_out, 1)


def squeeze_excite(x: Value, reduction: int = 16) -> Value:
    """Channels weighed by what the whole image has of each. Shapes: x[N,C,H,W] -> the same.

    `reduction` is by how many channels are divided in between, at least 1 left. Source: Hu et al. 2018, sec. 3.

    Raises: ShapeError for a reduction below 1.
    """
    if reduction < 1:
        raise ShapeError(naming_line(f"squeeze_excite: reduction is {reduction!r}, expected at least 1"))
    squeezed = relu(conv(global_avg_pool(x), max(1, x.channels // reduction), 1))
    return x * sigmoid(conv(squeezed, x.channels, 1))
