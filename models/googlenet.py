"""GoogLeNet. Szegedy et al. 2014, Going Deeper with Convolutions, table 1, without the auxiliary classifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..compiler.dsl.layers import (
    batch_norm,
    concat,
    constant,
    conv,
    dense,
    dropout,
    global_avg_pool,
    local_response_norm,
    max_pool,
    relu,
    softmax,
)
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = [
    "STAGES",
    "InceptionWidths",
    "googlenet",
    "googlenet_bn",
    "googlenet_naive",
    "inception",
    "inception_bn",
    "naive_inception",
    "renormalize",
]


class InceptionWidths(NamedTuple):
    """Filters of one module: a row of table 1."""

    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    project: int


# Table 1, a max pool before each stage.
STAGES: tuple[dict[str, InceptionWidths], ...] = (
    {
        #            1x1  3x3r 3x3 5x5r 5x5 proj
        "3a": InceptionWidths(64, 96, 128, 16, 32, 32),
        "3b": InceptionWidths(128, 128, 192, 32, 96, 64),
    },
    {
        "4a": InceptionWidths(192, 96, 208, 16, 48, 64),
        "4b": InceptionWidths(160, 112, 224, 24, 64, 64),
        "4c": InceptionWidths(128, 128, 256, 24, 64, 64),
        "4d": InceptionWidths(112, 144, 288, 32, 64, 64),
        "4e": InceptionWidths(256, 160, 320, 32, 128, 128),
    },
    {
        "5a": InceptionWidths(256, 160, 320, 32, 128, 128),
        "5b": InceptionWidths(384, 192, 384, 48, 128, 128),
    },
)


@network(image="N,3,224,224")
def googlenet(image: Value, classes: int = 1000, stages: int = 3) -> Value:
    """GoogLeNet, Inception v1; `stages` of its three stages of modules. Table 1."""
    return _googlenet(image, inception, classes, stages)


@network(image="N,3,224,224")
def googlenet_naive(image: Value, classes: int = 1000, stages: int = 3) -> Value:
    """GoogLeNet of naive modules, whose depth grows by every pool they pass on. Fig. 2a in place of fig. 2b."""
    return _googlenet(image, naive_inception, classes, stages)


@network(image="N,3,224,224")
def googlenet_bn(image: Value, classes: int = 1000, transform_input: bool = False) -> Value:
    """GoogLeNet of the common checkpoints: batch norm for LRN and biases, 3x3 where the paper has 5x5, a last pool of 2x2.

    `transform_input` takes images normalized as torchvision's other networks want them. Ioffe & Szegedy 2015.
    """
    x = renormalize(image) if transform_input else image
    x = max_pool(_conv_bn(x, 64, 7, "conv1", stride=2), 3, stride=2, ceil_mode=True)
    x = _conv_bn(_conv_bn(x, 64, 1, "conv2_reduce"), 192, 3, "conv2")
    for number, stage in enumerate(STAGES, start=3):
        x = max_pool(x, 2 if number == 5 else 3, stride=2, ceil_mode=True)
        for name, widths in stage.items():
            with scope(f"inception_{name}"):
                x = inception_bn(x, widths)
    x = dropout(global_avg_pool(x), 0.2)
    return softmax(dense(x, classes))


def inception(x: Value, widths: InceptionWidths) -> Value:
    """Four branches, the costly ones behind a 1x1 reduction. Fig. 2b."""
    one = _conv(x, widths.conv1, 1, "1x1")
    three = _conv(_conv(x, widths.reduce3, 1, "3x3_reduce"), widths.conv3, 3, "3x3")
    five = _conv(_conv(x, widths.reduce5, 1, "5x5_reduce"), widths.conv5, 5, "5x5")
    pooled = _conv(max_pool(x, 3, stride=1, pad="same"), widths.project, 1, "pool_proj")
    return concat(one, three, five, pooled)


def inception_bn(x: Value, widths: InceptionWidths) -> Value:
    """The module with batch norm; its "5x5" is a 3x3, as trained."""
    one = _conv_bn(x, widths.conv1, 1, "1x1")
    three = _conv_bn(_conv_bn(x, widths.reduce3, 1, "3x3_reduce"), widths.conv3, 3, "3x3")
    five = _conv_bn(_conv_bn(x, widths.reduce5, 1, "5x5_reduce"), widths.conv5, 3, "5x5")
    pooled = _conv_bn(max_pool(x, 3, stride=1, pad="same"), widths.project, 1, "pool_proj")
    return concat(one, three, five, pooled)


def naive_inception(x: Value, widths: InceptionWidths) -> Value:
    """The same branches on the whole input, and the pool itself. Fig. 2a."""
    one = _conv(x, widths.conv1, 1, "1x1")
    three = _conv(x, widths.conv3, 3, "3x3")
    five = _conv(x, widths.conv5, 5, "5x5")
    return concat(one, three, five, max_pool(x, 3, stride=1, pad="same"))


def _googlenet(image: Value, module: Callable[[Value, InceptionWidths], Value], classes: int, stages: int) -> Value:
    """Pools round up: 112 -> 56 -> 28 -> 14 -> 7."""
    x = relu(conv(image, 64, 7, stride=2, pad=3, name="conv1"))
    x = local_response_norm(max_pool(x, 3, stride=2, ceil_mode=True))
    x = _conv(x, 64, 1, "conv2_reduce")
    x = local_response_norm(_conv(x, 192, 3, "conv2"))
    for stage in STAGES[:stages]:
        x = max_pool(x, 3, stride=2, ceil_mode=True)
        for name, widths in stage.items():
            with scope(f"inception_{name}"):
                x = module(x, widths)
    x = dropout(global_avg_pool(x), 0.4)
    return softmax(dense(x, classes))


def _conv(x: Value, width: int, kernel: int, name: str) -> Value:
    return relu(conv(x, width, kernel, pad="same", name=name))


def _conv_bn(x: Value, width: int, kernel: int, name: str, stride: int = 1) -> Value:
    x = conv(x, width, kernel, stride, pad=kernel // 2, bias=False, name=name)
    return relu(batch_norm(x, epsilon=1e-3, name=f"{name}_bn"))


def renormalize(image: Value) -> Value:
    """From ImageNet's mean and deviation (0.485.., 0.229..) to 0.5 and 0.5, with which these weights were trained."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scale, shift = deviation / 0.5, (mean - 0.5) / 0.5
    scaled = image * constant(image, scale.astype(np.float32).reshape(1, 3, 1, 1), "renormalize.scale")
    return scaled + constant(image, shift.astype(np.float32).reshape(1, 3, 1, 1), "renormalize.shift")
