"""Layers in the words of papers' figures: 3×3 conv, 64, /2."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.dims import Dim, alone
from ....ir.graph import Node
from ....ir.legible import escaped
from ....ir.ops.conv import CONVS, conv_of
from ....ir.ops.conv_transpose import CONV_TRANSPOSES, conv_transpose_of
from ....ir.ops.linear import DENSE
from ....ir.ops.opaque import OPAQUE
from ....ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, LP_POOL, MAX_POOL, AvgPool, LpPool, MaxPool
from ....ir.ops.resize import RESIZE
from ....ir.ops.shape import FLATTEN

__all__ = ["layer_words", "size_words"]

TIMES = "\N{MULTIPLICATION SIGN}"
POOLS = {MAX_POOL: "max pool", AVG_POOL: "average pool", LP_POOL: "norm pool"}
WORDS = {GLOBAL_AVG_POOL: "global average pool", GLOBAL_MAX_POOL: "global max pool"}


def size_words(node: Node) -> str:
    """Rows, columns and channels, as 56×56×256, without the batch; of what was laid flat those before."""
    while node.kind is FLATTEN:
        node = node.inputs[0]
    shape = node.typed.shape
    own = (*shape[2:], shape[1]) if len(shape) in (4, 5) else shape[1:] or shape
    return TIMES.join(map(_extent, own)) or "1"


def layer_words(node: Node) -> str:
    """What a layer is, its filters and its stride."""
    if node.kind in CONVS:
        op, filters = conv_of(node), node.inputs[1].typed.concrete()
        by_channel = op.groups > 1 and op.groups == node.inputs[0].typed.shape[1]
        kind = "depthwise conv" if by_channel else "conv"
        groups = f", {op.groups} groups" if op.groups > 1 and not by_channel else ""
        apart = f", dilation {_alike(op.dilations)}" if max(op.dilations) > 1 else ""
        return f"{_sizes(filters[2:])} {kind}, {filters[0]}{groups}{apart}{_stride(op.strides)}"
    if node.kind in CONV_TRANSPOSES:
        up = conv_transpose_of(node)
        more = f", {TIMES}{_alike(up.strides)}" if max(up.strides) > 1 else ""
        return f"{_sizes(node.inputs[1].typed.concrete()[2:])} transposed conv, {node.typed.shape[1]}{more}"
    if node.kind in POOLS:
        pool: MaxPool | AvgPool | LpPool = node.op
        return f"{_sizes(pool.kernel)} {POOLS[node.kind]}{_stride(pool.strides)}"
    if node.kind is DENSE:
        return f"fully connected, {node.typed.shape[1]}"
    if node.kind is RESIZE:
        return f"{RESIZE.of(node).mode} resize to {TIMES.join(map(_extent, node.typed.shape[2:]))}"
    if node.kind is OPAQUE:
        return escaped(OPAQUE.of(node).operator)
    return WORDS.get(node.kind) or node.kind.name.replace("_", " ")


def _extent(dim: Dim) -> str:
    return str(dim) if isinstance(dim, int) or alone(dim) else f"({dim})"


def _sizes(kernel: Sequence[int]) -> str:
    return TIMES.join(map(str, kernel)) if len(kernel) > 1 else str(kernel[0])


def _stride(strides: Sequence[int]) -> str:
    return f", /{_alike(strides)}" if max(strides) > 1 else ""


def _alike(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else TIMES.join(map(str, values))
