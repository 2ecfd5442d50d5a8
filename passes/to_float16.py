"""to-float16: products in float16, and what follows them; sums, norms, softmax, inputs and outputs in float32.

Source: Micikevicius et al. 2018, by whom products have 16 bits and sums 32.
"""

from __future__ import annotations

from ..ir.graph import Graph
from .precision.narrowed import Kept, narrowed
from .rewriting.ledger import Ledger

__all__ = ["to_float16"]


def to_float16(graph: Graph, ledger: Ledger, kept: Kept | None = None) -> Graph:
    """Before: %y = conv2d(%x, %w) : f32    After: %x.f16 = cast(%x); %y.f16 = conv2d(%x.f16, %w) : f16; %y = cast(%y.f16)

    Weights are rounded once. A product of float16 means the exact sum of products, rounded once: kernels add in float32. Casts are where
    fewest values are cast, and none stands between two nodes of float16. What has a constant beyond 65504, or a weight, or one filter of
    it, that float16 would make nothing of, stays in float32, as do nodes that are `kept`, by name, with why; the ledger has each.
    """
    return narrowed(graph, ledger, "f16", kept or {})
