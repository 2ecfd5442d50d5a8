"""Which taps of a window lie outside the image: known once for each pixel, tested at each step."""

from __future__ import annotations

import functools
from typing import Any, Protocol

from .sizes import ProductSizes
from .writer import GpuWriter

__all__ = ["Edges", "edges"]

BEYOND = 31  # the bit of what is no tap at all: it lies outside for every pixel
NOWHERE = -(1 << 20)  # a row of the image that no tap reaches


class Edges(Protocol):
    """Of the pixels that a thread copies, by their numbers."""

    def note(self, i: int, row: Any, col: Any, is_there: Any) -> None:
        """The window of pixel i begins at this row and column of the image, if there is such a pixel."""
        ...

    def tap(self, down: Any, across: Any, is_tap: Any) -> Any:
        """A tap by its row and column in the window, if it is one; for `holds`."""
        ...

    def holds(self, i: Any, tap: Any) -> Any:
        """Whether the tap reads a pixel of the image."""
        ...


def edges(writer: GpuWriter, sizes: ProductSizes, number: int, most: int) -> Edges:
    """Of so many pixels, by bits where a word has enough; `most` is the greatest number of a tap that is asked for."""
    return _Bits(writer, sizes, number, most) if sum(sizes.kernel) <= BEYOND else _Places(writer, sizes, number)


class _Bits:
    """A word for each pixel, with a bit for each row and each column of the window, set where it lies outside: a step's test is one
    instruction for a pixel. So does CUTLASS.
    """

    def __init__(self, writer: GpuWriter, sizes: ProductSizes, number: int, most: int) -> None:
        self.writer, self.sizes = writer, sizes
        rows, cols = sizes.kernel
        self.is_short = (most if rows == 1 else most // cols) + rows + cols < BEYOND
        self.outside = writer.registers(number, "int32")

    def note(self, i: int, row: Any, col: Any, is_there: Any) -> None:
        writer, sizes = self.writer, self.sizes
        rows = self._outside(row, sizes.rows, 0)
        cols = 0 if sizes.has_all_columns else self._outside(col, sizes.cols, 1) * (1 << sizes.kernel[0])
        writer.set(self.outside, i, writer.either(is_there, rows | cols | writer.bits(1 << BEYOND), writer.bits((1 << 32) - 1)))

    def _outside(self, start: Any, extent: int, axis: int) -> Any:
        """Those before the image, and those behind."""
        taps, dilation, to = self.sizes.kernel[axis], self.sizes.dilations[axis], self.writer.to
        every = (1 << taps) - 1

        def until(place: int) -> Any:
            """So many taps lie before the place."""
            return to.max(to.min((place - start + dilation - 1) // dilation, taps), 0)

        before, within = (to.shift_left(self.writer.tirx.const(1, "int32"), until(place)) - 1 for place in (0, extent))
        return before | (within ^ every)

    def tap(self, down: Any, across: Any, is_tap: Any) -> Any:
        to = self.writer.to
        bits = self.writer.opaque(self._bit(down) | self._bit(across + self.sizes.kernel[0]))
        return self.writer.opaque(to.Select(is_tap, bits, self.writer.bits(1 << BEYOND)))

    def _bit(self, number: Any) -> Any:
        """No shift is longer than a word, be it for what is no tap."""
        return self.writer.to.shift_left(self.writer.tirx.const(1, "int32"), number if self.is_short else number & BEYOND)

    def holds(self, i: Any, tap: Any) -> Any:
        return (self.outside[i] & tap) == 0


class _Places:
    """By row and column of the image, for windows with more of them than a word has bits."""

    def __init__(self, writer: GpuWriter, sizes: ProductSizes, number: int) -> None:
        self.writer, self.sizes = writer, sizes
        self.row, self.col = (writer.registers(number, "int32") for _ in range(2))

    def note(self, i: int, row: Any, col: Any, is_there: Any) -> None:
        self.writer.set(self.row, i, self.writer.either(is_there, row, NOWHERE))
        self.writer.set(self.col, i, col)

    def tap(self, down: Any, across: Any, is_tap: Any) -> Any:
        writer, (rows, cols) = self.writer, self.sizes.dilations
        return writer.opaque(writer.to.Select(is_tap, down * rows, NOWHERE)), writer.opaque(across * cols)

    def holds(self, i: Any, tap: Any) -> Any:
        (down, across), sizes = tap, self.sizes
        tests = [self.writer.inside((self.row[i] + down, sizes.rows))]
        if not sizes.has_all_columns:
            tests.append(self.writer.inside((self.col[i] + across, sizes.cols)))
        return functools.reduce(self.writer.tirx.And, tests)
