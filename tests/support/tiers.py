"""What tests take in two sizes: networks of the zoo, small, and those with the same layers as others with `make test-slow` only; great graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from convc.ir.graph import Graph
from convc.models import ZOO

# networks that have the same layers as others, most of them deeper, or whose layers have tests of their own
SIBLINGS = frozenset(
    (
        *("resnet34", "resnet101", "resnet152", "resnet101_v1_5", "resnet152_v1_5", "resnet32", "resnet44", "resnet56", "resnet110"),
        *("plain18", "plain34", "vgg13", "vgg13_bn", "vgg16_bn", "vgg19", "vgg19_bn", "vgg16c", "vgg11_bn", "vgg11_lrn", "squeezenet1_0"),
        *("alexnet_nopad", "alexnet_owt", "zfnet512", "googlenet_naive", "googlenet_bn"),
        *("unet_vgg11", "unet_vgg16", "unet_resnet34"),
        *("mobilenet_v3_large", "mobilenet_v3_small", "regnet_x_800mf", "regnet_y_400mf", "efficientnet_b0", "efficientnet_v2_s"),
        *("convnext_small", "convnext_base", "convnext_large", "vit_b_32", "vit_l_16"),
    )
)


def slow_if(is_slow: Callable[[str], bool], names: Iterable[str]) -> list[Any]:
    """Parameters of a test, some of them for the slow tier."""
    return [pytest.param(name, marks=pytest.mark.slow) if is_slow(name) else name for name in names]


EACH_NETWORK = slow_if(SIBLINGS.__contains__, ZOO)


# nodes of a graph that recursion, and a walk for each node, would not get through
GREAT = (20_000, pytest.param(100_000, marks=pytest.mark.slow))


def small(name: str) -> Graph:
    """A network of the zoo in its small form: as deep, and quick to run."""
    return ZOO[name].network(**ZOO[name].small)
