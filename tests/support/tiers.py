"""Which networks of the zoo are tested always, and which with `make test-slow`."""

from __future__ import annotations

import pytest

from convc.models import ZOO

# deeper siblings of networks that have the same layers
DEEPER = frozenset(
    (
        *("resnet34", "resnet101", "resnet152", "resnet101_v1_5", "resnet152_v1_5", "resnet32", "resnet44", "resnet110", "plain34"),
        *("vgg13", "vgg13_bn", "vgg19", "vgg19_bn", "unet_vgg16", "unet_resnet34"),
    )
)
EACH_NETWORK = [pytest.param(name, marks=pytest.mark.slow) if name in DEEPER else name for name in ZOO]
