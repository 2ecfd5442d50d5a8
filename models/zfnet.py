"""ZFNet. Zeiler & Fergus 2013, Visualizing and Understanding Convolutional Networks, fig. 3."""

from __future__ import annotations

from ..compiler.dsl.layers import conv, local_response_norm, max_pool, relu
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value
from .alexnet import classifier

__all__ = ["zfnet", "zfnet512"]


@network(image="N,3,224,224")
def zfnet(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """AlexNet looked at and mended: 7x7/2 first, then 5x5/2; widths as published. Fig. 3."""
    return classifier(features(image, (384, 384, 256)), classes, hidden)


@network(image="N,3,224,224")
def zfnet512(image: Value, classes: int = 1000, hidden: int = 4096) -> Value:
    """ZFNet with conv3, 4, 5 of 512, 1024 and 512 filters: the widths of the public model. Table 3."""
    return classifier(features(image, (512, 1024, 512)), classes, hidden)


def features(image: Value, widths: tuple[int, int, int]) -> Value:
    """Pools round up: 110 -> 55 and 26 -> 13, as the figure is labelled."""
    x = relu(conv(image, 96, 7, stride=2, pad=1, name="conv1"))
    x = local_response_norm(max_pool(x, 3, stride=2, ceil_mode=True))
    x = relu(conv(x, 256, 5, stride=2, name="conv2"))
    x = local_response_norm(max_pool(x, 3, stride=2, ceil_mode=True))
    for layer, width in enumerate(widths, start=3):
        x = relu(conv(x, width, 3, pad="same", name=f"conv{layer}"))
    return max_pool(x, 3, stride=2, ceil_mode=True)
