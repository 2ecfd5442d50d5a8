"""Which networks of the zoo are tested always, and which with `make test-slow`."""

from __future__ import annotations

import pytest

from convc.models import ZOO

# siblings of networks that have the same layers, most of them deeper
SIBLINGS = frozenset(
    (
        *("resnet34", "resnet101", "resnet152", "resnet101_v1_5", "resnet152_v1_5", "resnet32", "resnet44", "resnet56", "resnet110"),
        *("plain18", "plain34", "vgg13", "vgg13_bn", "vgg16_bn", "vgg19", "vgg19_bn", "squeezenet1_0"),
        *("unet_vgg11", "unet_vgg16", "unet_resnet34"),
    )
)
EACH_NETWORK = [pytest.param(name, marks=pytest.mark.slow) if name in SIBLINGS else name for name in ZOO]
