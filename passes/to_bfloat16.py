"""to-bfloat16: as to-float16, in the 8 digits and the range of bfloat16."""

from __future__ import annotations

from ..ir.graph import Graph
from .precision.narrowed import Kept, narrowed
from .rewriting.ledger import Ledger

__all__ = ["to_bfloat16"]


def to_bfloat16(graph: Graph, ledger: Ledger, kept: Kept | None = None) -> Graph:
    """Before: %y = dense(%x, %w) : f32    After: %x.bf16 = cast(%x); %y.bf16 = dense(%x.bf16, %w) : bf16; %y = cast(%y.bf16)"""
    return narrowed(graph, ledger, "bf16", kept or {})
