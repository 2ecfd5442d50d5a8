"""MobileNetV3. Howard et al. 2019, Searching for MobileNetV3, tables 1 and 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..compiler.dsl.layers import batch_norm, conv, dense, dropout, global_avg_pool, hard_sigmoid, hard_swish, relu, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = ["LARGE", "SMALL", "Bneck", "bneck", "mobilenet_v3_large", "mobilenet_v3_small"]

Act = Callable[[Value], Value]
EPSILON = 1e-3  # sec. 6.1.1's framework has this one


class Bneck(NamedTuple):
    """A row of table 1 or 2: `expand` channels within, `width` after it; SE where it excites, and its nonlinearity."""

    kernel: int
    expand: int
    width: int
    excites: bool
    act: Act
    stride: int


LARGE = (
    #  k  exp  out  SE  NL  s
    Bneck(3, 16, 16, False, relu, 1),
    Bneck(3, 64, 24, False, relu, 2),
    Bneck(3, 72, 24, False, relu, 1),
    Bneck(5, 72, 40, True, relu, 2),
    Bneck(5, 120, 40, True, relu, 1),
    Bneck(5, 120, 40, True, relu, 1),
    Bneck(3, 240, 80, False, hard_swish, 2),
    Bneck(3, 200, 80, False, hard_swish, 1),
    Bneck(3, 184, 80, False, hard_swish, 1),
    Bneck(3, 184, 80, False, hard_swish, 1),
    Bneck(3, 480, 112, True, hard_swish, 1),
    Bneck(3, 672, 112, True, hard_swish, 1),
    Bneck(5, 672, 160, True, hard_swish, 2),
    Bneck(5, 960, 160, True, hard_swish, 1),
    Bneck(5, 960, 160, True, hard_swish, 1),
)
SMALL = (
    Bneck(3, 16, 16, True, relu, 2),
    Bneck(3, 72, 24, False, relu, 2),
    Bneck(3, 88, 24, False, relu, 1),
    Bneck(5, 96, 40, True, hard_swish, 2),
    Bneck(5, 240, 40, True, hard_swish, 1),
    Bneck(5, 240, 40, True, hard_swish, 1),
    Bneck(5, 120, 48, True, hard_swish, 1),
    Bneck(5, 144, 48, True, hard_swish, 1),
    Bneck(5, 288, 96, True, hard_swish, 2),
    Bneck(5, 576, 96, True, hard_swish, 1),
    Bneck(5, 576, 96, True, hard_swish, 1),
)


def bneck(x: Value, row: Bneck) -> Value:
    """The inverted residual of MobileNetV2 with a gate in its wide part. Fig. 4."""
    y = row.act(_normed(x, row.expand, 1, "expand")) if row.expand != x.channels else x
    y = row.act(_normed(y, row.expand, row.kernel, "depthwise", row.stride, row.expand))
    if row.excites:
        squeezed = relu(conv(global_avg_pool(y), _eighths(row.expand // 4), 1, name="squeeze"))
        y = y * hard_sigmoid(conv(squeezed, row.expand, 1, name="excite"))
    joins = row.stride == 1 and row.width == x.channels
    y = _normed(y, row.width, 1, "project", gain="tenth" if joins else "around_one")
    return x + y if joins else y


def _eighths(channels: int) -> int:
    """The nearest multiple of 8, but not a tenth less."""
    near = max(8, (channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8


def _mobilenet(image: Value, rows: tuple[Bneck, ...], hidden: int, classes: int) -> Value:
    x = hard_swish(_normed(image, 16, 3, "conv1", 2))
    for index, row in enumerate(rows, start=1):
        with scope(f"bneck{index}"):
            x = bneck(x, row)
    x = hard_swish(_normed(x, rows[-1].expand, 1, "conv2"))
    return softmax(dense(dropout(hard_swish(dense(global_avg_pool(x), hidden)), 0.2), classes))


@network(image="N,3,224,224")
def mobilenet_v3_large(image: Value, classes: int = 1000) -> Value:
    """MobileNetV3-Large of width 1."""
    return _mobilenet(image, LARGE, 1280, classes)


@network(image="N,3,224,224")
def mobilenet_v3_small(image: Value, classes: int = 1000) -> Value:
    """MobileNetV3-Small of width 1."""
    return _mobilenet(image, SMALL, 1024, classes)


def _normed(x: Value, width: int, kernel: int, name: str, stride: int = 1, groups: int = 1, gain: str = "around_one") -> Value:
    y = conv(x, width, kernel, stride, pad=kernel // 2, groups=groups, bias=False, name=name)
    return batch_norm(y, EPSILON, gain, name=f"{name}_bn")
