"""ResNet for ImageNet. He, Zhang, Ren & Sun 2015, Deep Residual Learning for Image Recognition, table 1."""

from __future__ import annotations

from collections.abc import Callable

from ..compiler.dsl.layers import conv_bn, conv_bn_relu, dense, global_avg_pool, max_pool, relu, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = [
    "BLOCKS",
    "basic",
    "bottleneck",
    "bottleneck_v1_5",
    "plain",
    "plain18",
    "plain34",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet50_v1_5",
    "resnet101",
    "resnet101_v1_5",
    "resnet152",
    "resnet152_v1_5",
    "stages",
]

Block = Callable[[Value, int, int], Value]

# Table 1: blocks in conv2_x, conv3_x, conv4_x and conv5_x.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def basic(x: Value, width: int, stride: int) -> Value:
    """3x3, 3x3. Fig. 5 left."""
    y = conv_bn_relu(x, width, 3, stride, pad=1)
    return _residual(x, conv_bn(y, width, 3, pad=1, gain="tenth"), stride)


def bottleneck(x: Value, width: int, stride: int) -> Value:
    """1x1 down to `width`, 3x3, 1x1 up to four times that; the stride sits on the first 1x1. Fig. 5 right."""
    y = conv_bn_relu(x, width, 1, stride)
    y = conv_bn_relu(y, width, 3, pad=1)
    return _residual(x, conv_bn(y, 4 * width, 1, gain="tenth"), stride)


def bottleneck_v1_5(x: Value, width: int, stride: int) -> Value:
    """The bottleneck of the common checkpoints, with the stride on the 3x3. Goyal et al. 2017, sec. 5.1."""
    y = conv_bn_relu(x, width, 1)
    y = conv_bn_relu(y, width, 3, stride, pad=1)
    return _residual(x, conv_bn(y, 4 * width, 1, gain="tenth"), stride)


def plain(x: Value, width: int, stride: int) -> Value:
    """The basic block without its shortcut. Fig. 3 middle."""
    return conv_bn_relu(conv_bn_relu(x, width, 3, stride, pad=1), width, 3, pad=1)


def _residual(x: Value, y: Value, stride: int) -> Value:
    """y plus x, or plus its projection where the shape changes. Sec. 3.2, eq. 2; option B of sec. 4.1."""
    with scope("shortcut"):
        shortcut = x if x.shape == y.shape else conv_bn(x, y.channels, 1, stride)
    return relu(y + shortcut)


def stages(image: Value, block: Block, depth: int) -> list[Value]:
    """The results of conv1 and conv2_x to conv5_x: strides 2, 4, 8, 16, 32."""
    ends = [conv_bn_relu(image, 64, 7, stride=2, pad=3)]
    x = max_pool(ends[0], 3, stride=2, pad=1)
    for stage, (blocks, width) in enumerate(zip(BLOCKS[depth], (64, 128, 256, 512), strict=True), start=2):
        for index in range(1, blocks + 1):
            with scope(f"conv{stage}_{index}"):
                x = block(x, width, 2 if stage > 2 and index == 1 else 1)
        ends.append(x)
    return ends


def _resnet(image: Value, block: Block, depth: int, classes: int) -> Value:
    return softmax(dense(global_avg_pool(stages(image, block, depth)[-1]), classes))


@network(image="N,3,224,224")
def resnet18(image: Value, classes: int = 1000) -> Value:
    """ResNet-18: basic blocks."""
    return _resnet(image, basic, 18, classes)


@network(image="N,3,224,224")
def resnet34(image: Value, classes: int = 1000) -> Value:
    """ResNet-34: basic blocks."""
    return _resnet(image, basic, 34, classes)


@network(image="N,3,224,224")
def resnet50(image: Value, classes: int = 1000) -> Value:
    """ResNet-50 as published: bottlenecks with the stride on the first 1x1."""
    return _resnet(image, bottleneck, 50, classes)


@network(image="N,3,224,224")
def resnet101(image: Value, classes: int = 1000) -> Value:
    """ResNet-101 as published: bottlenecks with the stride on the first 1x1."""
    return _resnet(image, bottleneck, 101, classes)


@network(image="N,3,224,224")
def resnet152(image: Value, classes: int = 1000) -> Value:
    """ResNet-152 as published: bottlenecks with the stride on the first 1x1."""
    return _resnet(image, bottleneck, 152, classes)


@network(image="N,3,224,224")
def resnet50_v1_5(image: Value, classes: int = 1000) -> Value:
    """ResNet-50 of the common checkpoints: stride on the 3x3."""
    return _resnet(image, bottleneck_v1_5, 50, classes)


@network(image="N,3,224,224")
def resnet101_v1_5(image: Value, classes: int = 1000) -> Value:
    """ResNet-101 of the common checkpoints: stride on the 3x3."""
    return _resnet(image, bottleneck_v1_5, 101, classes)


@network(image="N,3,224,224")
def resnet152_v1_5(image: Value, classes: int = 1000) -> Value:
    """ResNet-152 of the common checkpoints: stride on the 3x3."""
    return _resnet(image, bottleneck_v1_5, 152, classes)


@network(image="N,3,224,224")
def plain18(image: Value, classes: int = 1000) -> Value:
    """The plain 18-layer net: ResNet-18 without shortcuts."""
    return _resnet(image, plain, 18, classes)


@network(image="N,3,224,224")
def plain34(image: Value, classes: int = 1000) -> Value:
    """The plain 34-layer net: ResNet-34 without shortcuts."""
    return _resnet(image, plain, 34, classes)
