"""Values that lie plainly, and kernels' shapes for them."""

from __future__ import annotations

from ....ir.dims import Expr
from ....ir.graph import Node

__all__ = ["shown"]


def shown(*nodes: Node) -> list[tuple[int | None, ...]] | None:
    """Shapes with None for a size that has a name; None where it is not one and the same all over, or something is not float32."""
    names = {dim for node in nodes for dim in node.typed.shape if isinstance(dim, Expr)}
    is_fit = len(names) <= 1 and all(node.typed.dtype == "f32" and 0 not in node.typed.shape for node in nodes)
    if not is_fit or any(sum(isinstance(dim, Expr) for dim in node.typed.shape) != len(names) for node in nodes):
        return None
    return [tuple(None if isinstance(dim, Expr) else dim for dim in node.typed.shape) for node in nodes]
