"""Filters you can see: fixed 3x3 kernels over a photograph, no training needed."""

from __future__ import annotations

import numpy as np

from ..compiler.dsl.layers import clip, constant, conv_with, identity
from ..compiler.dsl.network import network
from ..compiler.dsl.trace import Value, scope

__all__ = ["KERNELS", "filters"]

Taps = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]

# What the taps are divided by, and the taps. Gonzalez & Woods, Digital Image Processing, ch. 3.5 and 3.6.
KERNELS: dict[str, tuple[int, Taps]] = {
    "blur": (9, ((1, 1, 1), (1, 1, 1), (1, 1, 1))),
    "gaussian": (16, ((1, 2, 1), (2, 4, 2), (1, 2, 1))),
    "sharpen": (1, ((0, -1, 0), (-1, 5, -1), (0, -1, 0))),
    "edges_inner": (1, ((1, 1, 1), (1, -8, 1), (1, 1, 1))),  # bright where the neighbours are brighter
    "edges_outer": (1, ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1))),  # bright where the pixel itself is
}


@network(image="N,3,300,451")
def filters(image: Value) -> list[Value]:
    """Blur, Gaussian, sharpen and two edge filters, each channel by itself; pictures of values in [0,1] in and out."""
    return [filtered(image, name, *kernel) for name, kernel in KERNELS.items()]


def filtered(image: Value, name: str, divisor: int, taps: Taps) -> Value:
    """The picture `name`, clipped to what a picture can hold. Shapes: image[N,C,H,W] -> the same."""
    kernel = np.array(taps, np.float32) / np.float32(divisor)
    with scope(name):
        per_channel = constant(image, np.tile(kernel, (image.channels, 1, 1, 1)))
        picture = clip(conv_with(image, per_channel, pad="same", groups=image.channels), 0.0, 1.0)
    return identity(picture, name)
