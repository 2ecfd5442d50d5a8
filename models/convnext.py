"""ConvNeXt. Liu, Mao, Wu, Feichtenhofer, Darrell & Xie 2022, A ConvNet for the 2020s, sec. 2 and 3, table 9."""

from __future__ import annotations

from typing import NamedTuple

from ..compiler.dsl.layers import conv, dense, gelu, global_avg_pool, layer_norm, layer_scale, linear, softmax, transpose
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = ["BASE", "LARGE", "SMALL", "TINY", "ConvNext", "convnext_base", "convnext_large", "convnext_small", "convnext_tiny"]

EPSILON = 1e-6


class ConvNext(NamedTuple):
    """Blocks of each stage; the first has `width` channels, each of the others twice as many as the one before. Sec. 3."""

    depths: tuple[int, ...]
    width: int


TINY = ConvNext((3, 3, 9, 3), 96)
SMALL = ConvNext((3, 3, 27, 3), 96)
BASE = ConvNext((3, 3, 27, 3), 128)
LARGE = ConvNext((3, 3, 27, 3), 192)


def block(x: Value) -> Value:
    """A depthwise 7x7, a norm, and two products of each pixel, four times as wide between them. Fig. 4; table 5 has the scale."""
    y = conv(x, x.channels, 7, pad=3, groups=x.channels, name="depthwise")
    y = layer_norm(channels_last(y), 3, epsilon=EPSILON, name="norm")
    y = linear(gelu(linear(y, 4 * x.channels, name="expand")), x.channels, name="project")
    return x + layer_scale(channels_first(y), name="scale")


def channel_norm(x: Value, name: str) -> Value:
    """A layer norm over the channels of each pixel. Sec. 2.6."""
    return channels_first(layer_norm(channels_last(x), 3, epsilon=EPSILON, name=name))


def channels_last(x: Value) -> Value:
    return transpose(x, 0, 2, 3, 1)


def channels_first(x: Value) -> Value:
    return transpose(x, 0, 3, 1, 2)


def _convnext(image: Value, net: ConvNext, width: int, classes: int) -> Value:
    x = channel_norm(conv(image, width, 4, 4, name="stem"), "stem_norm")  # a "patchify" stem, sec. 2.2
    for stage, depth in enumerate(net.depths, start=1):
        if stage > 1:  # sec. 2.6: layers of their own between the stages
            x = conv(channel_norm(x, f"down{stage}_norm"), 2 * x.channels, 2, 2, name=f"down{stage}")
        for index in range(1, depth + 1):
            with scope(f"block{stage}_{index}"):
                x = block(x)
    return softmax(dense(channel_norm(global_avg_pool(x), "head_norm"), classes))


@network(image="N,3,224,224")
def convnext_tiny(image: Value, classes: int = 1000, width: int = TINY.width) -> Value:
    """ConvNeXt-T."""
    return _convnext(image, TINY, width, classes)


@network(image="N,3,224,224")
def convnext_small(image: Value, classes: int = 1000, width: int = SMALL.width) -> Value:
    """ConvNeXt-S."""
    return _convnext(image, SMALL, width, classes)


@network(image="N,3,224,224")
def convnext_base(image: Value, classes: int = 1000, width: int = BASE.width) -> Value:
    """ConvNeXt-B."""
    return _convnext(image, BASE, width, classes)


@network(image="N,3,224,224")
def convnext_large(image: Value, classes: int = 1000, width: int = LARGE.width) -> Value:
    """ConvNeXt-L."""
    return _convnext(image, LARGE, width, classes)
