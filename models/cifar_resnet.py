"""ResNet for CIFAR-10, 6n+2 layers. He, Zhang, Ren & Sun 2015, Deep Residual Learning for Image Recognition, sec. 4.2."""

from __future__ import annotations

from ..compiler.dsl.layers import conv_bn, conv_bn_relu, dense, global_avg_pool, relu, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope
from ..ir.ops.shape import PAD, SLICE, Pad, Slice

__all__ = ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110"]

END = 2**31 - 1  # to the last element, of named sizes too


def basic(x: Value, width: int, stride: int) -> Value:
    """3x3, 3x3, and a shortcut without parameters."""
    y = conv_bn_relu(x, width, 3, stride, pad=1)
    y = conv_bn(y, width, 3, pad=1, gain="tenth")
    return relu(y + (x if x.shape == y.shape else _subsampled(x, width, stride)))


def _subsampled(x: Value, width: int, stride: int) -> Value:
    """Every `stride`-th pixel, and zeros for the channels that x does not have. Sec. 4.1, option A."""
    x = x.trace.emit(SLICE, Slice((2, 3), (0, 0), (END, END), (stride, stride)), (x,))
    return x.trace.emit(PAD, Pad((0, 0, 0, 0, 0, width - x.channels, 0, 0)), (x,))


def _resnet(image: Value, layers: int, classes: int) -> Value:
    x = conv_bn_relu(image, 16, 3, pad=1)
    for stage, width in enumerate((16, 32, 64), start=2):
        for index in range(1, (layers - 2) // 6 + 1):
            with scope(f"conv{stage}_{index}"):
                x = basic(x, width, 2 if stage > 2 and index == 1 else 1)
    return softmax(dense(global_avg_pool(x), classes))


@network(image="N,3,32,32")
def resnet20(image: Value, classes: int = 10) -> Value:
    """ResNet-20 for CIFAR-10: n=3, identity shortcuts (option A)."""
    return _resnet(image, 20, classes)


@network(image="N,3,32,32")
def resnet32(image: Value, classes: int = 10) -> Value:
    """ResNet-32 for CIFAR-10: n=5, identity shortcuts (option A)."""
    return _resnet(image, 32, classes)


@network(image="N,3,32,32")
def resnet44(image: Value, classes: int = 10) -> Value:
    """ResNet-44 for CIFAR-10: n=7, identity shortcuts (option A)."""
    return _resnet(image, 44, classes)


@network(image="N,3,32,32")
def resnet56(image: Value, classes: int = 10) -> Value:
    """ResNet-56 for CIFAR-10: n=9, identity shortcuts (option A)."""
    return _resnet(image, 56, classes)


@network(image="N,3,32,32")
def resnet110(image: Value, classes: int = 10) -> Value:
    """ResNet-110 for CIFAR-10: n=18, identity shortcuts (option A)."""
    return _resnet(image, 110, classes)
