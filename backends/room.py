"""Whether the memory that is free holds a value, before it is made."""

from __future__ import annotations

from ..ir.graph import Node
from ..ir.memory import need_bytes

__all__ = ["need_room"]

COPIES = 2  # of a value, while it is made


def need_room(node: Node, itemsize: int) -> None:
    """For the value of a node in elements of so many bytes, and for what is beside it while it is made. Raises: OutOfMemory."""
    count = node.typed.numel
    if isinstance(count, int) and not node.kind.facts.is_view:
        need_bytes(f"{node.where}, a value of {node.type},", COPIES * count * itemsize)
