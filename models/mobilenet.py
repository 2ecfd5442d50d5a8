"""MobileNetV2. Sandler, Howard, Zhu, Zhmoginov & Chen 2018, Inverted Residuals and Linear Bottlenecks, table 2."""

from __future__ import annotations

from typing import NamedTuple

from ..compiler.dsl.layers import batch_norm, clip, conv, dense, dropout, global_avg_pool, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = ["ROWS", "Bottlenecks", "inverted_residual", "mobilenet_v2"]


class Bottlenecks(NamedTuple):
    """A row of table 2: `blocks` bottlenecks of `width` channels, the first of them strided."""

    expand: int
    width: int
    blocks: int
    stride: int


ROWS = (
    #   t  c    n  s
    Bottlenecks(1, 16, 1, 1),
    Bottlenecks(6, 24, 2, 2),
    Bottlenecks(6, 32, 3, 2),
    Bottlenecks(6, 64, 4, 2),
    Bottlenecks(6, 96, 3, 1),
    Bottlenecks(6, 160, 3, 2),
    Bottlenecks(6, 320, 1, 1),
)


def inverted_residual(x: Value, width: int, stride: int, expand: int) -> Value:
    """1x1 up, 3x3 for each channel alone, 1x1 down without a nonlinearity; the shortcut joins the thin ends. Fig. 3b."""
    y = _conv_bn_relu6(x, expand * x.channels, 1, "expand") if expand > 1 else x
    y = _conv_bn_relu6(y, y.channels, 3, "depthwise", stride, groups=y.channels)
    joins = stride == 1 and width == x.channels
    y = batch_norm(conv(y, width, 1, bias=False, name="project"), gain="tenth" if joins else "around_one", name="project_bn")
    return x + y if joins else y


@network(image="N,3,224,224")
def mobilenet_v2(image: Value, classes: int = 1000) -> Value:
    """MobileNetV2 of width 1."""
    x = _conv_bn_relu6(image, 32, 3, "conv1", stride=2)
    for stage, row in enumerate(ROWS, start=1):
        for index in range(1, row.blocks + 1):
            with scope(f"bottleneck{stage}_{index}"):
                x = inverted_residual(x, row.width, row.stride if index == 1 else 1, row.expand)
    x = _conv_bn_relu6(x, 1280, 1, "conv2")
    return softmax(dense(dropout(global_avg_pool(x), 0.2), classes))


def _conv_bn_relu6(x: Value, width: int, kernel: int, name: str, stride: int = 1, groups: int = 1) -> Value:
    """ReLU6, for its robustness in low precision. Sec. 4."""
    x = conv(x, width, kernel, stride, pad=kernel // 2, groups=groups, bias=False, name=name)
    return clip(batch_norm(x, name=f"{name}_bn"), 0.0, 6.0)
