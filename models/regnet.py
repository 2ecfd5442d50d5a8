"""RegNet. Radosavovic, Kosaraju, Girshick, He & Dollar 2020, Designing Network Design Spaces, sec. 3.3 and fig. 4.

A network is a stem, four stages of blocks that each halve rows and columns first, and a head. Its widths lie near a line: tables 5 and 6
have the numbers of each line, those here are what they come to in stages.
"""

from __future__ import annotations

from typing import NamedTuple

from ..compiler.dsl.layers import batch_norm, conv, dense, global_avg_pool, relu, sigmoid, softmax
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = ["X_800MF", "Y_400MF", "RegNet", "regnet_x_800mf", "regnet_y_400mf"]


class RegNet(NamedTuple):
    """`depths` blocks of `widths` channels, 3x3 in groups of `group`; of a Y network with squeeze-and-excitation."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    group: int
    excites: bool


X_800MF = RegNet((1, 3, 7, 5), (64, 128, 288, 672), 16, False)
Y_400MF = RegNet((1, 3, 6, 6), (48, 104, 208, 440), 8, True)


def block(x: Value, width: int, stride: int, group: int, excites: bool) -> Value:
    """1x1, grouped 3x3, 1x1, all of one width, and the shortcut. Fig. 4; the gate of Y networks stands after the 3x3."""
    y = relu(_normed(x, width, 1, "a"))
    y = relu(_normed(y, width, 3, "b", stride, width // group))
    if excites:
        squeezed = relu(conv(global_avg_pool(y), x.channels // 4, 1, name="squeeze"))
        y = y * sigmoid(conv(squeezed, width, 1, name="excite"))
    y = _normed(y, width, 1, "c", gain="tenth")
    return relu(y + (x if x.shape == y.shape else _normed(x, width, 1, "shortcut", stride)))


def _regnet(image: Value, net: RegNet, classes: int) -> Value:
    x = relu(_normed(image, 32, 3, "stem", 2))
    for stage, (depth, width) in enumerate(zip(net.depths, net.widths, strict=True), start=1):
        for index in range(1, depth + 1):
            with scope(f"block{stage}_{index}"):
                x = block(x, width, 2 if index == 1 else 1, net.group, net.excites)
    return softmax(dense(global_avg_pool(x), classes))


@network(image="N,3,224,224")
def regnet_x_800mf(image: Value, classes: int = 1000) -> Value:
    """RegNetX-800MF."""
    return _regnet(image, X_800MF, classes)


@network(image="N,3,224,224")
def regnet_y_400mf(image: Value, classes: int = 1000) -> Value:
    """RegNetY-400MF: groups of eight channels."""
    return _regnet(image, Y_400MF, classes)


def _normed(x: Value, width: int, kernel: int, name: str, stride: int = 1, groups: int = 1, gain: str = "around_one") -> Value:
    y = conv(x, width, kernel, stride, pad=kernel // 2, groups=groups, bias=False, name=name)
    return batch_norm(y, gain=gain, name=f"{name}_bn")
