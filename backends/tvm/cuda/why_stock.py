"""Why a node is left to its stock row, in a few words for report.txt: the first reason that holds, of those which docs/cuda.md lists."""

from __future__ import annotations

from ....ir.graph import Node
from ....ir.types import HALVES
from .rules import GPU_MAKERS
from .wide_rules import WIDE
from .work import TYPES

__all__ = ["why_stock"]


def why_stock(node: Node, *, tf32: bool) -> str:
    """With `tf32` kernels of ours take float32 too."""
    if node.kind not in GPU_MAKERS and node.kind not in WIDE:
        return f"no kernel for {node.kind.name}"
    values = [node, *(operand for operand in node.inputs if operand.weights is None)]
    if any(value.typed.dtype not in TYPES for value in values):
        return "not all in float32 or 16 bits"
    if any(not isinstance(dim, int) for value in values for dim in value.typed.shape[1:]):
        return "named sizes besides the batch"
    if any(value.typed.rank > 4 for value in values):
        return "more than four axes"
    if node.typed.dtype not in HALVES and not tf32:
        if node.kind.facts.narrow(node.op) == "gains":
            return "a product in float32"
        return "in float32, and not between two casts"
    return "of shapes, constants or attributes that no kernel takes"
