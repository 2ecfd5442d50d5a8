"""EfficientNet. Tan & Le 2019, EfficientNet: Rethinking Model Scaling, table 1; Tan & Le 2021, EfficientNetV2, table 4."""

from __future__ import annotations

from typing import NamedTuple

from ..compiler.dsl.layers import batch_norm, conv, dense, dropout, global_avg_pool, sigmoid, silu, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = ["B0", "V2_S", "MBConv", "efficientnet_b0", "efficientnet_v2_s"]


class MBConv(NamedTuple):
    """A stage: `blocks` of `width` channels, the first of them strided. A `fused` one has a dense convolution for the first two."""

    expand: int
    kernel: int
    stride: int
    width: int
    blocks: int
    fused: bool = False


B0 = (
    MBConv(1, 3, 1, 16, 1),
    MBConv(6, 3, 2, 24, 2),
    MBConv(6, 5, 2, 40, 2),
    MBConv(6, 3, 2, 80, 3),
    MBConv(6, 5, 1, 112, 3),
    MBConv(6, 5, 2, 192, 4),
    MBConv(6, 3, 1, 320, 1),
)
V2_S = (
    MBConv(1, 3, 1, 24, 2, fused=True),
    MBConv(4, 3, 2, 48, 4, fused=True),
    MBConv(4, 3, 2, 64, 4, fused=True),
    MBConv(4, 3, 2, 128, 6),
    MBConv(6, 3, 1, 160, 9),
    MBConv(6, 3, 2, 256, 15),
)


def mbconv(x: Value, row: MBConv, stride: int, epsilon: float) -> Value:
    """The inverted residual of MobileNetV2 with squeeze-and-excitation, of a fourth of the channels that come in, or fused without it."""
    joins = stride == 1 and row.width == x.channels
    gain, wide = "tenth" if joins else "around_one", row.expand * x.channels
    if row.fused:
        y = silu(_normed(x, wide if row.expand > 1 else row.width, row.kernel, "fused", epsilon, stride))
    else:
        y = silu(_normed(x, wide, 1, "expand", epsilon)) if row.expand > 1 else x
        y = silu(_normed(y, wide, row.kernel, "depthwise", epsilon, stride, wide))
        squeezed = silu(conv(global_avg_pool(y), x.channels // 4, 1, name="squeeze"))
        y = y * sigmoid(conv(squeezed, wide, 1, name="excite"))
    if not row.fused or row.expand > 1:
        y = _normed(y, row.width, 1, "project", epsilon, gain=gain)
    return x + y if joins else y


def _efficientnet(image: Value, stem: int, rows: tuple[MBConv, ...], epsilon: float, classes: int) -> Value:
    x = silu(_normed(image, stem, 3, "conv1", epsilon, 2))
    for stage, row in enumerate(rows, start=1):
        for index in range(1, row.blocks + 1):
            with scope(f"block{stage}_{index}"):
                x = mbconv(x, row, row.stride if index == 1 else 1, epsilon)
    x = silu(_normed(x, 1280, 1, "conv2", epsilon))
    return softmax(dense(dropout(global_avg_pool(x), 0.2), classes))


@network(image="N,3,224,224")
def efficientnet_b0(image: Value, classes: int = 1000) -> Value:
    """EfficientNet-B0."""
    return _efficientnet(image, 32, B0, 1e-5, classes)


@network(image="N,3,384,384")
def efficientnet_v2_s(image: Value, classes: int = 1000) -> Value:
    """EfficientNetV2-S, of the size that it is evaluated in. Sec. 5.1."""
    return _efficientnet(image, 24, V2_S, 1e-3, classes)


def _normed(
    x: Value, width: int, kernel: int, name: str, epsilon: float, stride: int = 1, groups: int = 1, gain: str = "around_one"
) -> Value:
    y = conv(x, width, kernel, stride, pad=kernel // 2, groups=groups, bias=False, name=name)
    return batch_norm(y, epsilon, gain, name=f"{name}_bn")
