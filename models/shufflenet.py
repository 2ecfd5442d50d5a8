"""ShuffleNetV2. Ma, Zhang, Zheng & Sun 2018, Practical Guidelines for Efficient CNN Architecture Design, table 5."""

from __future__ import annotations

from ..compiler.dsl.layers import batch_norm, concat, conv, dense, global_avg_pool, max_pool, relu, reshape, slice_axis, softmax, transpose
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = ["REPEATS", "shuffled", "shufflenet_v2", "unit"]

# Table 5: units of stages 2, 3 and 4, and their channels at width 1.
REPEATS = ((4, 116), (8, 232), (4, 464))


def shuffled(x: Value) -> Value:
    """Channels of two groups in turn. Zhang et al. 2018, fig. 1."""
    batch, channels, rows, cols = x.shape
    return reshape(transpose(reshape(x, batch, 2, x.channels // 2, rows, cols), 0, 2, 1, 3, 4), batch, channels, rows, cols)


def unit(x: Value, width: int, stride: int) -> Value:
    """Half of the channels go by, where there is no stride; else all take both ways. Fig. 3c and d."""
    half = width // 2
    if stride == 1:
        left, right = slice_axis(x, 1, 0, half), slice_axis(x, 1, half, width)
    else:
        left = relu(_normed(_normed(x, x.channels, 3, "left_depthwise", 2, x.channels), half, 1, "left"))
        right = x
    right = relu(_normed(right, half, 1, "reduce"))
    right = relu(_normed(_normed(right, half, 3, "depthwise", stride, half), half, 1, "right"))
    return shuffled(concat(left, right))


@network(image="N,3,224,224")
def shufflenet_v2(image: Value, classes: int = 1000) -> Value:
    """ShuffleNetV2 of width 1."""
    x = max_pool(relu(_normed(image, 24, 3, "conv1", 2)), 3, stride=2, pad=1)
    for stage, (repeats, width) in enumerate(REPEATS, start=2):
        for index in range(1, repeats + 1):
            with scope(f"unit{stage}_{index}"):
                x = unit(x, width, 2 if index == 1 else 1)
    return softmax(dense(global_avg_pool(relu(_normed(x, 1024, 1, "conv5"))), classes))


def _normed(x: Value, width: int, kernel: int, name: str, stride: int = 1, groups: int = 1) -> Value:
    y = conv(x, width, kernel, stride, pad=kernel // 2, groups=groups, bias=False, name=name)
    return batch_norm(y, name=f"{name}_bn")
