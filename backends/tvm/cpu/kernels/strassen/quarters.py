"""Strassen's seven products of quarters, and what a kernel of them reads of its weights. No TVM is needed.

    [C11 C12]   [A11 A12] [B11 B12]
    [C21 C22] = [A21 A22] [B21 B22]

A pair of neighbouring rows of the left side is a row of A1 and one of A2; inputs and results are cut in the middle. Winograd's variant of
Strassen's products: of its fifteen sums eleven are left, since those of the weights are done before, and products are added to what is in
registers. Winograd 1971; Higham 2002, sec. 23.2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ......ir.types import Array
from ....processor import AVX512, Processor
from ..epilogue import Steps
from ..layout import LANES, Batch, Packing, blocks

__all__ = ["LEFT", "MACS", "OUT", "PRODUCTS", "QUARTERED", "RIGHT", "Quarters", "can_quarter", "quarter_weights"]

QUARTERED = 1  # where a layer by Winograd's way has the m of its tiles

# Of each product, in the order that they are computed in, the factors by A11, A12, A21, A22 and by B11, B12, B21, B22; and of C11, C12,
# C21, C22 those that are added up, in order.
LEFT = ((1, 0, 0, 0), (0, 1, 0, 0), (-1, 0, 1, 1), (1, 0, -1, 0), (0, 0, 0, 1), (0, 0, 1, 1), (1, 1, -1, -1))
RIGHT = ((1, 0, 0, 0), (0, 0, 1, 0), (1, -1, 0, 1), (0, -1, 0, 1), (-1, 1, 1, -1), (-1, 1, 0, 0), (0, 0, 0, 1))
OUT = ((0, 1), (0, 2, 5, 6), (0, 2, 3, 4), (0, 2, 3, 5))
PRODUCTS = len(LEFT)
MACS = 8  # that take as long as to move an element
DEEP = (4, 3, 2)  # vectors of a tile
CACHE = 3 << 19  # bytes that a core's own caches serve fast enough


def can_quarter(c_in: int, c_out: int) -> bool:
    """Whether both halves of the inputs are whole vectors, and those of the results whole tiles."""
    return c_in % (2 * LANES) == 0 and blocks(c_out) % 2 == 0 and any(blocks(c_out) // 2 % deep == 0 for deep in DEEP)


@dataclass(frozen=True, slots=True)
class Quarters:
    """A product of `rows` rows of each of so many images with weights [c_in,c_out]. Pairs lie within so many `whole` rows, default all."""

    batch: Batch
    rows: int
    c_in: int
    c_out: int
    steps: Steps = ()
    processor: Processor = AVX512
    whole: int = 0

    @property
    def pairs(self) -> int:
        """Of rows; the last one of an odd number is its own neighbour."""
        whole = self.whole or self.rows
        return self.rows // whole * -(-whole // 2)

    @property
    def half_in(self) -> int:
        """Vectors."""
        return self.c_in // LANES // 2

    @property
    def half_out(self) -> int:
        return blocks(self.c_out) // 2

    @property
    def deep(self) -> int:
        """Vectors of a tile, of each half: as the weights are packed, whatever the processor. Those with which the least is computed twice,
        and among these the largest tiles.
        """
        tiles = [(self._wide(deep, AVX512), deep) for deep in DEEP if self.half_out % deep == 0]
        return min(tiles, key=lambda tile: (-(-self.pairs // tile[0]) * tile[0], -tile[0] * tile[1]))[1]

    @property
    def wide(self) -> int:
        """Pairs of a tile. Tiles that reach beyond the last pair begin earlier."""
        return self._wide(self.deep, self.processor)

    def _wide(self, deep: int, processor: Processor) -> int:
        most = min(self.pairs, processor.sums(deep * LANES))
        return min(range(-(-most // 2), most + 1), key=lambda wide: (-(-self.pairs // wide) * wide, -wide))

    @property
    def tiles(self) -> int:
        return -(-self.pairs // self.wide)

    @property
    def repeats(self) -> bool:
        """Whether some results are computed twice: of tiles that overlap, or of a row that is its own neighbour."""
        return self.pairs % self.wide != 0 or (self.whole or self.rows) % 2 != 0

    @property
    def weights(self) -> tuple[int, ...]:
        return self.half_out // self.deep, PRODUCTS, self.half_in * LANES, self.deep, LANES

    @property
    def is_tilewise(self) -> bool:
        """Whether all results of a tile are computed before the next tile: the weights stay in the cache, and the left side does not.

        Otherwise all tiles for a few results, while the weights of the next are asked for.
        """
        left = PRODUCTS * self.half_in * LANES * self.pairs
        return 4 * math.prod(self.weights) <= CACHE < 4 * left

    @property
    def macs(self) -> int:
        """Multiply-adds for an image."""
        return math.prod(self.weights) * self.pairs


def quarter_weights(size: Quarters) -> Packing:
    """[I,O] as [groups,PRODUCTS,I/2,deep,LANES]."""
    groups, _, half, deep, _ = size.weights

    def pack(w: Array) -> Array:
        wide = np.zeros((size.c_in, 2 * size.half_out * LANES), np.float64)
        wide[:, : size.c_out] = w
        quarters = wide.reshape(2, half, 2, -1).transpose(0, 2, 1, 3).reshape(4, half, groups, deep, LANES)
        mixed = np.einsum("pq,qkgdl->gpkdl", np.array(RIGHT, np.float64), quarters)
        return np.ascontiguousarray(mixed, dtype=np.float32)

    return Packing(size.weights, pack)
