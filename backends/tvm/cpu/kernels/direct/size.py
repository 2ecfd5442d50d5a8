"""A direct convolution's sizes, and the rules for its register tile and its order."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ......ir.ops.window import Pair
from ....processor import AVX512, Processor
from ..epilogue import Steps
from ..layout import LANES, Batch
from ..windows import Window

__all__ = ["CACHE", "HALF", "MACS", "ROWS", "Direct", "Form"]

# Columns of a register tile by its blocks of channels, at most: they must fit the registers. Their product is what hides latency, 10 being
# enough; each column costs one load for all its blocks, so two are better than one, and with four there are no registers left for what is
# loaded.
WIDEST = {1: 14, 2: 10, 3: 8}
CACHE = 3 << 19  # bytes that stay in a core's own cache
MACS = 8  # that take as long as to move an element
FEW = 1 << 18  # bytes of weights that a core may read anew for a part of the rows
HALF = LANES // 2
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
    block are channels, where there is one group, and `ending` of the lanes of the last block of the result.

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
    ending: int = LANES

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
        results = blocks_out * lanes_out - (HALF if self.ends_in_half else 0)
        return math.prod((results, channels, *kernel, *self.out))

    @property
    def ends_in_half(self) -> bool:
        """Whether the last block of the result is computed by vectors of half as many lanes, which on Zen 4 takes half of the time.

        72 to 24 channels @56 took 0.85 of the time, 120 to 40 @28 0.90, 24 to 72 @56 0.93, 104 @28 0.97. With an even number of blocks, if
        more than two, 40 to 120 gained nothing and 116 @14 lost a twentieth; where one block is read, 16 to 24 @112 lost a fortieth. Where
        a vector of LANES takes several registers, LLVM would keep sums of halves on the stack.
        """
        count = self.per_group[1]
        is_worth_it = count == 1 or (self.blocks_in > 1 and (count == 2 or count % 2 == 1))
        return is_worth_it and self.groups == 1 and self.ending <= HALF and self.processor.lanes == LANES

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
        """(first block, tiles, blocks of each) of a group's output: pairs, and where their number is odd three at the end. A tile that ends
        in a half is a part of its own.

        One at a time where a block takes several registers: a pair leaves room for few columns, and takes a tenth longer on AVX2. And an
        odd number of an image's single pixel, as in squeeze-and-excite, where all waits for the weights: so that threads share them evenly.
        """
        count = self.per_group[1]
        if self.form is not None:
            tiles, left = divmod(count, self.form.blocks)
            parts = [(0, tiles, self.form.blocks), (count - left, int(left > 0), left)]
        elif self.processor.lanes < LANES or (count % 2 == 1 and self.batch == 1 and self.out == (1, 1)):
            parts = [(0, count, 1)]
        elif count < 3 or count % 2 == 0:
            parts = [(0, count // min(count, 2), min(count, 2))]
        else:
            parts = [(0, (count - 3) // 2, 2), (count - 3, 1, 3)]
        parts = [part for part in parts if part[1]]
        first, tiles, deep = parts[-1]
        if self.ends_in_half and tiles > 1:
            parts[-1:] = [(first, tiles - 1, deep), (first + (tiles - 1) * deep, 1, deep)]
        return parts

    @property
    def is_halved(self) -> bool:
        """Whether threads divide the rows before they divide the channels: then they have as much to do as one another although tiles
        differ, and are started once. Each reads all weights, which are few.
        """
        return self.groups == 1 and len(self.depths()) == 2 and self.out[0] % 2 == 0 and 4 * math.prod(self.weights) <= FEW

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
