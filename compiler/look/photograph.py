"""A photograph as a network takes it, and as it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...ir.graph import Graph, Node
from ...ir.types import Array
from ...passes.analysis.receptive_field import Field, fields_of
from .sheet import Rectangle

__all__ = ["Photograph", "field_box", "fields_in"]


@dataclass(frozen=True, eq=False)
class Photograph:
    """`values` [1,C,h,w] go into the network; `pixels` [H,W,3] of bytes are drawn, scaled apart from them; `name` is for captions."""

    name: str
    values: Array
    pixels: Array

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns as drawn."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def drawn(self, box: Rectangle) -> Rectangle:
        """A box in the network's pixels, in those that are drawn."""
        rows, cols = (of_drawn / of_values for of_drawn, of_values in zip(self.size, self.values.shape[2:], strict=True))
        return box[0] * cols, box[1] * rows, box[2] * cols, box[3] * rows


def fields_in(graph: Graph, image: Node) -> Mapping[Node, Sequence[Field]]:
    """What units see of the picture, by value."""
    return fields_of(graph, image)


def field_box(fields: Sequence[Field], at: tuple[int, ...], size: tuple[int, ...]) -> Rectangle:
    """What the unit at `at` (row, column) sees, in the network's pixels; where it sees everything, all of the picture."""
    ends: list[tuple[float, float]] = []
    for axis, field in enumerate(fields):
        place = at[field.along - 2] if field.along is not None and field.along - 2 < len(at) else 0
        first, last = field.box(place) if field.size is not None else (0, size[axis] - 1)
        ends.append((first, last + 1) if np.isfinite(first) and np.isfinite(last) else (0, size[axis]))
    (top, bottom), (left, right) = ends
    return left, top, right, bottom
