"""Layers of networks of tokens, which are rows of features: x[N,T,C]. Vaswani et al. 2017; Dosovitskiy et al. 2020."""

from __future__ import annotations

import math

from ...ir.errors import ShapeError
from ...ir.ops.rearrange import EXPAND, Expand
from .activations import softmax
from .products import linear, matmul
from .shapes import concat, reshape, transpose
from .trace import Value
from .user_line import naming_line, scope

__all__ = ["class_token", "position_embedding", "self_attention", "tokens"]


def tokens(x: Value) -> Value:
    """The pixels of an image, or of whatever space, row by row. Shapes: x[N,C,H,W] -> [N,H*W,C]."""
    pixels = x if x.rank == 3 else reshape(x, x.shape[0], x.channels, math.prod(x.shape[2:]))
    return transpose(pixels, 0, 2, 1)


def class_token(x: Value, name: str = "") -> Value:
    """A learned token before the others, which gathers from them. Shapes: x[N,T,C] -> [N,T+1,C]. Dosovitskiy et al., eq. 1.

    `name` is the layer's, else the next of its kind.
    """
    _, features = _sizes(x)
    layer = x.trace.layer_name("class_token", name)
    token = x.param(f"{layer}.token", (1, 1, features), "small")
    return concat(x.trace.emit(EXPAND, Expand((x.shape[0], 1, 1)), (token,), layer), x)


def position_embedding(x: Value, name: str = "") -> Value:
    """A learned row for each place, added to x. Shapes: x[N,T,C] -> the same. Dosovitskiy et al., eq. 1.

    `name` is the layer's, else the next of its kind.
    """
    layer = x.trace.layer_name("position_embedding", name)
    return x + x.param(f"{layer}.places", (1, *_sizes(x)), "small")


def self_attention(x: Value, heads: int, name: str = "") -> Value:
    """Each token gathers from all by softmax(q k^T / sqrt(depth)), in `heads` that share the features. Vaswani et al., sec. 3.2.2.

    Shapes: x[N,T,C] -> the same. `name` is the layer's, else the next of its kind.

    Raises: ShapeError, with the user's line, for features that do not divide into so many heads.
    """
    count, features = _sizes(x)
    if not 1 <= heads <= features or features % heads:
        raise ShapeError(naming_line(f"{features} features do not divide into {heads} heads"))
    depth = features // heads
    layer = x.trace.layer_name("attention", name)
    with scope(layer.rpartition(".")[2]):
        parts = reshape(linear(x, 3 * features, name="qkv"), x.shape[0], count, 3, heads, depth)
        q, k, v = (transpose(parts[:, :, i], 0, 2, 1, 3) for i in range(3))
        shares = softmax(matmul(q * depth**-0.5, transpose(k, 0, 1, 3, 2)), axis=3)
        gathered = transpose(matmul(shares, v), 0, 2, 1, 3)
        return linear(reshape(gathered, x.shape[0], count, features), features, name="out")


def _sizes(x: Value) -> tuple[int, int]:
    """How many tokens, and of how many features.

    Raises: ShapeError for what are no tokens.
    """
    if x.rank != 3 or not isinstance(count := x.shape[1], int) or not isinstance(features := x.shape[2], int):
        raise ShapeError(naming_line(f"{x.node.where} is {x.node.type}; tokens are [N,T,C], T and C in numbers"))
    return count, features
