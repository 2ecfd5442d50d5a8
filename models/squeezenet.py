"""SqueezeNet. Iandola et al. 2016, AlexNet-Level Accuracy with 50x Fewer Parameters and <0.5MB Model Size, table 1."""

from __future__ import annotations

from typing import NamedTuple

from ..compiler.dsl.layers import concat, conv, dropout, flatten, global_avg_pool, max_pool, relu, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = ["FIRES", "FIRES_1_1", "FireWidths", "fire", "squeezenet1_0", "squeezenet1_1"]


class FireWidths(NamedTuple):
    """Filters of one fire module: s1x1, e1x1 and e3x3 of table 1."""

    squeeze: int
    expand1x1: int
    expand3x3: int


Stages = tuple[dict[str, FireWidths], ...]

# Table 1, a max pool before each stage.
FIRES: Stages = (
    {"fire2": FireWidths(16, 64, 64), "fire3": FireWidths(16, 64, 64), "fire4": FireWidths(32, 128, 128)},
    {
        "fire5": FireWidths(32, 128, 128),
        "fire6": FireWidths(48, 192, 192),
        "fire7": FireWidths(48, 192, 192),
        "fire8": FireWidths(64, 256, 256),
    },
    {"fire9": FireWidths(64, 256, 256)},
)
# The authors' later release: the same modules, the pools earlier.
FIRES_1_1: Stages = (
    {"fire2": FireWidths(16, 64, 64), "fire3": FireWidths(16, 64, 64)},
    {"fire4": FireWidths(32, 128, 128), "fire5": FireWidths(32, 128, 128)},
    {
        "fire6": FireWidths(48, 192, 192),
        "fire7": FireWidths(48, 192, 192),
        "fire8": FireWidths(64, 256, 256),
        "fire9": FireWidths(64, 256, 256),
    },
)


def fire(x: Value, widths: FireWidths) -> Value:
    """A 1x1 that squeezes, then a 1x1 and a 3x3 side by side. Fig. 1."""
    x = relu(conv(x, widths.squeeze, 1, name="squeeze"))
    one = relu(conv(x, widths.expand1x1, 1, name="expand1x1"))
    three = relu(conv(x, widths.expand3x3, 3, pad=1, name="expand3x3"))
    return concat(one, three)


def _squeezenet(x: Value, fires: Stages, classes: int) -> Value:
    """Pools round up; a global mean of 1x1 filters stands for the classifier. Sec. 3.3."""
    for stage in fires:
        x = max_pool(x, 3, stride=2, ceil_mode=True)
        for name, widths in stage.items():
            with scope(name):
                x = fire(x, widths)
    x = relu(conv(dropout(x, 0.5), classes, 1, name="conv10"))
    return softmax(flatten(global_avg_pool(x)))


@network(image="N,3,224,224")
def squeezenet1_0(image: Value, classes: int = 1000) -> Value:
    """SqueezeNet 1.0, the paper's; conv1 without padding, as released: 109, and not 111 as table 1 has it."""
    return _squeezenet(relu(conv(image, 96, 7, stride=2, name="conv1")), FIRES, classes)


@network(image="N,3,224,224")
def squeezenet1_1(image: Value, classes: int = 1000) -> Value:
    """SqueezeNet 1.1, the authors' release with 2.4 times fewer multiply-adds: 64 filters of 3x3 first, earlier pools."""
    return _squeezenet(relu(conv(image, 64, 3, stride=2, name="conv1")), FIRES_1_1, classes)
