"""Receptive fields: which part of an image each unit of each value can depend on, and how it moves from a unit to the next.

Araujo, Norris & Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks", Distill. Theirs is for windows that move in even
steps on every path; here intervals repeat after some units, so that transposed convolutions and resizes have exact ones too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...ir.graph import Graph, Node
from ...ir.ops.shape import TRANSPOSE
from .reach import reach
from .spans import FIXED, ONE, WHOLE, Spans, through, union

__all__ = ["Field", "fields_of", "images_of", "receptive_fields"]


@dataclass(frozen=True, slots=True)
class Field:
    """What the units of a value see along one axis of an image; they follow it along the axis `along` of the value, or all see the same.

    Units: pixels of the image. `size`: the most that one unit sees, from the first to the last, where the border ends nothing (None is the
    whole image). `stride`: how far it moves from a unit to the next. `offset`: where that of unit 0 begins, negative in the padding.
    """

    along: int | None
    spans: Spans

    @property
    def size(self) -> int | None:
        return None if self.spans.is_whole else int(self.spans.size)

    @property
    def stride(self) -> Fraction | None:
        return None if self.spans.is_whole else self.spans.stride

    @property
    def offset(self) -> int | None:
        return None if self.spans.is_whole else int(self.spans.start)

    def box(self, place: int) -> tuple[float, float]:
        """The first and the last pixel that the unit at `place` of the value's axis sees; where the first is greater, none."""
        return self.spans.at(place)


def images_of(graph: Graph) -> list[Node]:
    """The inputs with axes of space."""
    return [node for node in graph.inputs if node.typed.rank > 2]


def receptive_fields(graph: Graph) -> dict[Node, dict[str, Sequence[Field]]]:
    """Of every value, for each image that it depends on, by its name, a field for each axis of space."""
    found: dict[Node, dict[str, Sequence[Field]]] = {node: {} for node in graph.nodes}
    for image in images_of(graph):
        for node, fields in fields_of(graph, image).items():
            found[node][image.name] = fields
    return found


def fields_of(graph: Graph, image: Node) -> Mapping[Node, Sequence[Field]]:
    """Of every value that depends on `image`, a field for each of its axes of space."""
    fields: dict[Node, Sequence[Field]] = {image: [Field(axis, ONE) for axis in _space(graph, image)]}
    for node in graph.nodes:
        read = [_seen(node, place, fields[operand]) for place, operand in enumerate(node.inputs) if operand in fields]
        if read:
            fields[node] = [_together(node, each) for each in zip(*read, strict=True)]
    return fields


def _space(graph: Graph, image: Node) -> Sequence[int]:
    """All axes but images and channels, which lie last where a transpose first puts them before the others."""
    rank = image.typed.rank
    first = (0, rank - 1, *range(1, rank - 1))
    readers = graph.readers[image]
    is_last = bool(readers) and all(reader.kind is TRANSPOSE and TRANSPOSE.of(reader).perm == first for reader in readers)
    return range(1, rank - 1) if is_last else range(2, rank)


def _seen(node: Node, place: int, fields: Sequence[Field]) -> Sequence[Field]:
    """What the node sees of the image through one operand."""
    shape, readings = node.inputs[place].typed.shape, reach(node, place)
    return [field if field.along is None else _through(readings[field.along], field.spans, shape[field.along] == 1) for field in fields]


def _through(reading: tuple[int, Spans] | None, spans: Spans, is_single: bool) -> Field:
    if is_single:
        return _field(None, through(FIXED, spans))  # the only position is all there is to read
    return _field(None, WHOLE) if reading is None else _field(reading[0], through(reading[1], spans))


def _field(along: int | None, spans: Spans) -> Field:
    return Field(None if spans.is_whole or not spans.advance else along, spans)


def _together(node: Node, fields: Sequence[Field]) -> Field:
    """What is seen through any operand."""
    whole = fields[0]
    for field in fields[1:]:
        axes = {each.along for each in (whole, field)} - {None}
        if len(axes) > 1:  # it moves along two axes at once
            return _field(None, WHOLE)
        along = axes.pop() if axes else None
        extent = 1 if along is None else node.typed.shape[along]
        whole = _field(along, union(whole.spans, field.spans, extent))
    return whole
