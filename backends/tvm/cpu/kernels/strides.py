"""Moves of plain tensors: transposes, slices and joins of any rank, each part read and written by strides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .kernel import kind
from .layout import LANES, Batch
from .moves import transposed
from .writer import Operand, Writer, prim_func

__all__ = ["Part", "moved"]

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Elements at i * `read` from `first` of an operand on, that become those at i * `write` from `start` of the result on.

    The axes of i are `extents`, outermost first; the last is along the result.
    """

    extents: tuple[int, ...]
    read: tuple[int, ...]
    write: tuple[int, ...]
    first: int = 0
    start: int = 0

    @property
    def merged(self) -> Part:
        """With axes that follow each other on both sides as one, and none of one element."""
        axes: list[tuple[int, int, int]] = []
        for extent, read, write in zip(self.extents, self.read, self.write, strict=True):
            if extent == 1:
                continue
            if axes and (axes[-1][1], axes[-1][2]) == (read * extent, write * extent):
                axes[-1] = (axes[-1][0] * extent, read, write)
            else:
                axes.append((extent, read, write))
        extents, reads, writes = zip(*(axes or [(1, 1, 1)]), strict=True)
        return Part(extents, reads, writes, self.first, self.start)


@kind("move")
def moved(shapes: tuple[Shape, ...], made: Shape, parts: tuple[Part, ...]) -> Any:
    """(A0, A1, ..., D): a part of each operand, of these shapes, in the result. Where their first axes are None, a size that has a name,
    parts are of an image.
    """

    def body(writer: Writer, *buffers: Any) -> None:
        number = writer.batch if made[0] is None else writer.long(1)
        flat = [
            writer.to.decl_buffer([number * _count(shape)], "float32", data=buffer.data)
            for buffer, shape in zip(buffers, (*shapes, made), strict=True)
        ]
        for source, shape, part in zip(flat[:-1], shapes, parts, strict=True):
            _PartMove(writer, None if made[0] is None else 1, source, flat[-1], (_count(shape), _count(made)), part.merged).write()

    return prim_func([*(Operand(f"A{i}", shape) for i, shape in enumerate(shapes)), Operand("D", made)], body)


def _count(shape: Shape) -> int:
    """Elements, of an image where their number has a name."""
    return math.prod(extent for extent in shape if extent is not None)


@dataclass(frozen=True, slots=True)
class _PartMove:
    """Writes the statements for one part. `counts` are elements of an image of the operand, and of the result."""

    writer: Writer
    images: Batch
    source: Any
    target: Any
    counts: tuple[int, int]
    part: Part

    def write(self) -> None:
        """Vectors where they lie so on both sides; tiles of them, turned in registers, where another axis lies along the operand."""
        part = self.part
        if 0 in part.extents:
            return
        along = next((axis for axis, read in enumerate(part.read) if read == 1 and part.extents[axis] >= LANES), None)
        is_line = part.write[-1] == 1 and part.extents[-1] >= LANES
        if is_line and along == len(part.extents) - 1:
            self.lines()
        elif is_line and along is not None:
            self.tiles(along)
        else:
            self.singly()

    def places(self, i: Any, axes: list[int], at: list[Any]) -> tuple[Any, Any]:
        """Where on both sides the elements at these places of some axes lie."""
        part, (read, write) = self.part, (i * count for count in self.counts)
        read, write = read + part.first, write + part.start
        for axis, index in zip(axes, at, strict=True):
            read, write = read + index * part.read[axis], write + index * part.write[axis]
        return self.writer.keep(read), self.writer.keep(write)

    def move(self, read: Any, write: Any) -> None:
        lanes = self.writer.lanes
        self.writer.to.buffer_store(self.target, self.source[lanes(read)], [lanes(write)])

    def lines(self) -> None:
        """The last vector of a line lies at its end, over elements that were moved already."""
        part, writer = self.part, self.writer
        axes, count = list(range(len(part.extents) - 1)), part.extents[-1]
        with writer.each(self.images, *part.extents[:-1], work=2 * math.prod(part.extents)) as (i, *at):
            read, write = self.places(i, axes, at)
            with writer.loop(count // LANES) as k:
                self.move(read + k * LANES, write + k * LANES)
            if count % LANES:
                self.move(read + (count - LANES), write + (count - LANES))

    def tiles(self, along: int) -> None:
        """Tiles of LANES by LANES elements of two axes; the last of each lie at its end."""
        part, writer, last = self.part, self.writer, len(self.part.extents) - 1
        rows, cols = part.extents[along], part.extents[last]
        outer = [axis for axis in range(last) if axis != along]
        extents = (*(part.extents[axis] for axis in outer), -(-rows // LANES), -(-cols // LANES))
        with writer.each(self.images, *extents, work=4 * math.prod(part.extents)) as (i, *at, row, col):
            y = writer.keep(writer.tirx.min(row * LANES, writer.long(rows - LANES)))
            x = writer.keep(writer.tirx.min(col * LANES, writer.long(cols - LANES)))
            read, write = self.places(i, [*outer, along, last], [*at, y, x])
            given = [writer.keep(self.source[writer.lanes(read + lane * part.read[last])]) for lane in range(LANES)]
            for lane, vector in enumerate(transposed(writer, given)):
                writer.to.buffer_store(self.target, vector, [writer.lanes(write + lane * part.write[along])])

    def singly(self) -> None:
        part, writer = self.part, self.writer
        axes = list(range(len(part.extents) - 1))
        with writer.each(self.images, *part.extents[:-1], work=4 * math.prod(part.extents)) as (i, *at):
            read, write = self.places(i, axes, at)
            with writer.loop(part.extents[-1]) as k:
                writer.to.buffer_store(self.target, self.source[read + k * part.read[-1]], [write + k * part.write[-1]])
