"""Layers over one axis or three by name. `conv` and the pools go by the value that they read; these say which it must be."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from ...ir.errors import ShapeError
from .pools import avg_pool, max_pool
from .products import conv, conv_transpose
from .trace import Value
from .user_line import naming_line

__all__ = [
    "avg_pool1d",
    "avg_pool3d",
    "conv1d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose3d",
    "max_pool1d",
    "max_pool3d",
]

Arguments = ParamSpec("Arguments")
Layer = Callable[Concatenate[Value, Arguments], Value]
WORDS = {1: "a sequence (N,C,L)", 3: "a volume (N,C,D,H,W)"}


def _over(axes: int, layer: Layer[Arguments]) -> Layer[Arguments]:
    """`layer`, of values with so many axes of space alone."""

    @functools.wraps(layer)
    def of_rank(x: Value, *args: Arguments.args, **options: Arguments.kwargs) -> Value:
        if x.rank != axes + 2:
            raise ShapeError(naming_line(f"{of_rank.__name__} reads {WORDS[axes]}, not {x.node.where}, which is {x.node.type}"))
        return layer(x, *args, **options)

    of_rank.__name__ = of_rank.__qualname__ = f"{layer.__name__}{axes}d"
    return of_rank


conv1d, conv3d = _over(1, conv), _over(3, conv)
conv_transpose1d, conv_transpose3d = _over(1, conv_transpose), _over(3, conv_transpose)
max_pool1d, max_pool3d = _over(1, max_pool), _over(3, max_pool)
avg_pool1d, avg_pool3d = _over(1, avg_pool), _over(3, avg_pool)
