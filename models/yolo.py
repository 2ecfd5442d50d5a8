"""YOLOv8: detection without anchor boxes. Jocher, Chaurasia & Qiu 2023, a release without a paper; its parts have papers.

Stages of an image at 1/2 to 1/32 of its size, a pyramid that carries what the deep ones saw to the shallow ones and back (Liu, Qi, Qin,
Shi & Jia 2018, Path Aggregation Network), and at each pixel of three of its levels one box and a score for every class.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler.dsl.layers import batch_norm, concat, conv, max_pool, reduce_sum, reshape, sigmoid, silu, softmax, upsample
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope
from ..ir.errors import ShapeError
from ..ir.types import Array

__all__ = ["STRIDES", "yolo_v8n"]

EPSILON = 1e-3
STRIDES = (8, 16, 32)  # of an image's pixels for one of a level's
BINS = 16  # a side lies 0 to 15 pixels of its level away


def unit(x: Value, width: int, kernel: int = 1, stride: int = 1, name: str = "") -> Value:
    """A convolution, its norm and SiLU."""
    y = conv(x, width, kernel, stride, pad=kernel // 2, bias=False, name=name)
    return silu(batch_norm(y, epsilon=EPSILON, name=f"{name}_bn"))


def partial(x: Value, width: int, depth: int, residual: bool) -> Value:
    """Half of the channels goes through `depth` pairs of 3x3, and all that they gave is joined ("C2f").

    Wang et al. 2020, CSPNet; Wang, Liao & Yeh 2022, Designing Network Design Strategies Through Gradient Path Analysis.
    """
    y, half = unit(x, width, name="split"), width // 2
    parts = [y[:, :half], y[:, half : 2 * half]]
    for index in range(1, depth + 1):
        z = unit(unit(parts[-1], half, 3, name=f"a{index}"), half, 3, name=f"b{index}")
        parts.append(parts[-1] + z if residual else z)
    return unit(concat(*parts), width, name="join")


def pools(x: Value) -> Value:
    """What lies within 5, 9 and 13 pixels, beside each pixel ("SPPF"). He, Zhang, Ren & Sun 2014, Spatial Pyramid Pooling, sec. 2.2."""
    parts = [unit(x, x.channels // 2, name="shrink")]
    for _ in range(3):
        parts.append(max_pool(parts[-1], 5, 1, pad=2))
    return unit(concat(*parts), x.channels, name="join")


def stages(image: Value, width: int) -> list[Value]:
    """At 1/8, 1/16 and 1/32 of the image."""
    x, levels = unit(image, width, 3, 2, name="stem"), list[Value]()
    for level, depth in enumerate((1, 2, 2, 1), start=2):
        with scope(f"stage{level}"):
            x = unit(x, 2 * x.channels, 3, 2, name="down")
            x = partial(x, x.channels, depth, residual=True)
            x = pools(x) if level == 5 else x
        levels.append(x)
    return levels[1:]


def pyramid(levels: list[Value]) -> list[Value]:
    """The same levels, each of which has seen all of them."""
    fine, middle, coarse = levels
    with scope("up4"):
        between = partial(concat(upsample(coarse, mode="nearest"), middle), middle.channels, 1, residual=False)
    with scope("up3"):
        first = partial(concat(upsample(between, mode="nearest"), fine), fine.channels, 1, residual=False)
    with scope("down4"):
        second = partial(concat(unit(first, first.channels, 3, 2, name="down"), between), middle.channels, 1, residual=False)
    with scope("down5"):
        third = partial(concat(unit(second, second.channels, 3, 2, name="down"), coarse), coarse.channels, 1, residual=False)
    return [first, second, third]


def head(levels: list[Value], classes: int) -> Value:
    """What each pixel says of the box around it: where four sides lie, as BINS shares each, and scores. [N,4*BINS+classes,pixels]."""
    first = levels[0].channels
    widths = {"box": (max(16, first // 4, 4 * BINS), 4 * BINS), "class": (max(first, min(classes, 100)), classes)}
    said = list[Value]()
    for stride, x in zip(STRIDES, levels, strict=True):
        branches = list[Value]()
        for what, (width, count) in widths.items():
            with scope(f"{what}{stride}"):
                y = unit(unit(x, width, 3, name="a"), width, 3, name="b")
                branches.append(conv(y, count, 1, name="out"))
        said.append(reshape(concat(*branches), x.shape[0], 4 * BINS + classes, math.prod(x.shape[2:])))
    return concat(*said, axis=2)


def boxes(shares: Value, places: Array, strides: Array) -> Value:
    """Centre, width and height, in pixels of the image: a side is as far away as its shares say on average.

    Shapes: [N,4*BINS,pixels], the middle of each pixel [2,pixels] in pixels of its level -> [N,4,pixels]. Li et al. 2020, Generalized Focal
    Loss, sec. 3.2.
    """
    by_side = softmax(reshape(shares, shares.shape[0], 4, BINS, shares.shape[2]), axis=2)
    sides = reduce_sum(by_side * np.arange(BINS, dtype=np.float32)[:, None], 2, keepdims=False)
    before, after = sides[:, :2], sides[:, 2:4]
    return concat((after - before) * 0.5 + places, before + after) * strides


@network(image="N,3,640,640")
def yolo_v8n(image: Value, classes: int = 80, width: int = 16) -> Value:
    """YOLOv8n; `width=32` is YOLOv8s. For each pixel of three levels a box (centre, width, height) and scores: [N,4+classes,pixels].

    Raises: ShapeError where 32 does not divide the rows and columns, in numbers.
    """
    rows, cols = image.shape[2:]
    if not isinstance(rows, int) or not isinstance(cols, int) or rows % STRIDES[-1] or cols % STRIDES[-1]:
        raise ShapeError(f"{image.node.where} is {image.node.type}: rows and columns are multiples of {STRIDES[-1]} here, in numbers")
    said = head(pyramid(stages(image, width)), classes)
    with scope("boxes"):
        found = boxes(said[:, : 4 * BINS], *grid(rows, cols))
    return concat(found, sigmoid(said[:, 4 * BINS : 4 * BINS + classes]))


def grid(rows: int, cols: int) -> tuple[Array, Array]:
    """The middle of every level's pixels, (x, y) in its own pixels [2,pixels], and its stride [pixels]."""
    places, strides = list[Array](), list[Array]()
    for stride in STRIDES:
        y, x = np.mgrid[: rows // stride, : cols // stride].reshape(2, -1)
        places.append(np.stack([x, y]) + 0.5)
        strides.append(np.full(x.size, stride))
    return np.concatenate(places, 1).astype(np.float32), np.concatenate(strides).astype(np.float32)
