"""What a PrimFunc says to those that lay its memory out, by the names of its attributes."""

from __future__ import annotations

__all__ = ["IN_PLACE", "OVER", "VIEW_OF"]

IN_PLACE = "convc.in_place"  # how many operands before its result may lie where the result does
OVER = "convc.over"  # how many of its first operands may lie where its result does
VIEW_OF = "convc.view_of"  # its result is a view of its operands: where each starts behind the result, in bytes of a unit
