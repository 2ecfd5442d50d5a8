"""A direct convolution's sizes, and the rules for its register tile and its order."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ......ir.ops.window import Pair
from ....processor import AVX512, Processor
from ..epilogue import Steps
from ..layout import LANES, Batch
from ..windows import Window

__all__ = ["CACHE", "MACS", "ROWS", "Direct", "Form"]

# Columns of a register tile by its blocks of channels, at most: they must fit the registers. Their product is what hides latency, 10 being
# enough; each column costs one load for all its blocks, so two are better than one, and with four there are no registers left for what is
# loaded.
WIDEST = {1: 14, 2: 10, 3: 8}
CACHE = 3 << 19  # bytes that stay in a core's own cache
MACS = 8  # that take as long as to move an element
ROWS = 14  # from which threads have about as many as one another


@dataclass(frozen=True, slots=True)
class Form:
    """Another order than the rules of `Direct` choose: columns and blocks of a register tile, and whether it goes row by row."""

    width: int
    blocks: int
    is_rowwise: bool


@dataclass(frozen=True, slots=True)
class Direct:
    """One convolution's sizes. `lanes_in` is the input's block, 16 or, for a first layer, its few channels; `last` of the lanes of the last
    block are channels, where there is one group.

    With `before`, the input is first scaled and shifted, a constant a channel each, and then goes through these steps: a batch norm that
    could not go into the layer before. Only for a kernel of one tap. `form` was found by tuning; without, the tile fits the registers of
    `processor`.
    """

    batch: Batch
    blocks_in: int
    lanes_in: int
    window: Window
    blocks_out: int
    groups: int
    steps: Steps
    before: Steps | None = None
    form: Form | None = None
    processor: Processor = AVX512
    last: int = LANES

    @property
    def out(self) -> Pair:
        """Rows and columns of the result."""
        return self.window.out

    @property
    def is_image(self) -> bool:
        return self.lanes_in < LANES

    @property
    def per_group(self) -> Pair:
        """Input and output blocks of a group."""
        return self.blocks_in // self.groups, self.blocks_out // self.groups

    @property
    def weights(self) -> tuple[int, ...]:
        return self.blocks_out, self.per_group[0], *self.window.kernel, self.lanes_in, LANES

    @property
    def macs(self) -> int:
        """Multiply-adds for an image, of results in lanes of padding too."""
        blocks_out, blocks_in, *kernel, lanes_in, lanes_out = self.weights
        channels = lanes_in if self.is_image else blocks_in * LANES - (LANES - self.last)
        return math.prod((blocks_out, channels, *kernel, lanes_out, *self.out))

    @property
    def parts(self) -> list[tuple[int, int, int]]:
        """(first, end, lanes) of a group's input blocks that have so many channels each: none is multiplied that is only padding.

        For 24 channels that is a fourth of the time. Of a first layer these are its channels themselves.
        """
        if self.is_image:
            return [(0, self.lanes_in, 1)]
        count = self.per_group[0]
        full = count if self.last == LANES else count - 1
        return [part for part in ((0, full, LANES), (full, count, self.last)) if part[0] < part[1]]

    def depths(self) -> list[tuple[int, int, int]]:
        """(first block, tiles, blocks of each) of a group's output: pairs, and where their number is odd three at the end.

        One at a time where a block takes several registers: a pair leaves room for few columns, and takes a tenth longer on AVX2. And of a
        image's single pixel, as in squeeze-and-excite, where all waits for the weights: so threads have about as many as one another.
        """
        count = self.per_group[1]
        if self.form is not None:
            tiles, left = divmod(count, self.form.blocks)
            return [(0, tiles, self.form.blocks), *([(count - left, 1, left)] if left else [])]
        if self.processor.lanes < LANES or (self.batch == 1 and self.out == (1, 1)):
            return [(0, count, 1)]
        if count < 3 or count % 2 == 0:
            return [(0, count // min(count, 2), min(count, 2))]
        return [(0, (count - 3) // 2, 2), (count - 3, 1, 3)] if count > 3 else [(0, 1, 3)]

    def widest(self, deep: int) -> int:
        """Columns of a register tile of so many blocks, at most."""
        return self.form.width if self.form is not None else min(WIDEST[deep], self.processor.sums(deep * LANES))

    @property
    def is_rowwise(self) -> bool:
        """Whether a thread computes all channels of a row before the next: the input is read once, the weights once a row.

        Otherwise all rows of a few channels: the weights are read once, and while they are used the next are asked for; the input is read
        for each few channels, and what is before the layer computed. That is as fast or faster, unless the weights stay in the cache and
        an image does not.
        """
        if self.form is not None:
            return self.form.is_rowwise
        image = 4 * self.blocks_in * self.lanes_in * self.window.rows * self.window.cols
        return 4 * math.prod(self.weights) <= CACHE and self.out[0] >= ROWS and (self.before is not None or image > CACHE)
