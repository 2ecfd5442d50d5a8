"""A Winograd convolution's sizes, and how it is computed: the nesting of its stages and the register tile of its product."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ......ir.ops.window import Pads, Pair
from ....processor import AVX512, Processor
from ..epilogue import Steps
from ..layout import LANES, Batch, blocks

__all__ = ["Arrangement", "TileFilters", "Tiled", "arrangement", "ceil_div", "group_of", "packed_shape", "register_tile", "round_up"]

MOST_SUMS, EASY_SUMS = 28, 20  # of LANES floats, where as many fit the registers; many were measured to be a little slower
CROWDED, ROW = 0.08, 0.02  # how much slower; a tile of several rows, for each that follows the first
STRIP_BYTES = 8 << 20  # of V and M that stay in the cache all cores share
FAR = 4 << 20  # bytes of input and result; on Zen 5, with 1 MiB of cache a core, a fused 64@56 with 1.5 MiB lost 3% by requests


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the stages are nested, and how many tiles' sums stay in registers.

    `fused`: transform, product and output for one run of tiles at a time; all threads read all weights for each.
    Otherwise three stages one after another for `strip` rows of tiles (a multiple of `tile_rows`) of `images` images, the product parallel
    over positions and output channels, so that weights are read once for each strip.
    """

    fused: bool
    tile_rows: int
    tile_cols: int
    strip: int = 1
    images: int = 1


@dataclass(frozen=True, slots=True)
class TileFilters:
    """The filters of F(m x m, r x r), which hang on no image."""

    m: int
    r: int
    c_in: int
    c_out: int

    @property
    def a(self) -> int:
        return self.m + self.r - 1

    @property
    def shape(self) -> tuple[int, ...]:
        return packed_shape(self.a, self.c_in, self.c_out)


@dataclass(frozen=True, slots=True)
class Tiled:
    """One convolution's sizes: F(m x m, r x r), one of TILES, for an input of rows x cols with pads (top, left, bottom, right) >= 0.

    With `pools`, whose steps read nothing, of every 2x2 results only the greatest is stored. `form` was found by tuning; else the rule
    chooses one for `processor`. With `dilations` the pixels that one window may meet, every so manieth, are an image of their own: rows,
    cols and pads are those of such a phase, and of the image these times the dilations.
    """

    m: int
    batch: Batch
    c_in: int
    c_out: int
    rows: int
    cols: int
    pads: Pads
    steps: Steps = ()
    pools: bool = False
    form: Arrangement | None = None
    processor: Processor = AVX512
    r: int = 3
    dilations: Pair = (1, 1)

    @property
    def phases(self) -> int:
        return math.prod(self.dilations)

    @property
    def images(self) -> Batch:
        """Phases of all images."""
        return None if self.batch is None else self.batch * self.phases

    @property
    def a(self) -> int:
        """Rows and columns that a tile reads."""
        return self.m + self.r - 1

    @property
    def out(self) -> Pair:
        """Rows and columns of the convolution's result."""
        top, left, bottom, right = self.pads
        return self.rows + top + bottom - self.r + 1, self.cols + left + right - self.r + 1

    @property
    def grid(self) -> Pair:
        """Rows and columns of tiles."""
        rows, cols = self.out
        return ceil_div(rows, self.m), ceil_div(cols, self.m)

    @property
    def stored(self) -> Pair:
        """Rows and columns of what is stored."""
        rows, cols = self.out
        return (rows // 2, cols // 2) if self.pools else (rows, cols)

    @property
    def filters(self) -> TileFilters:
        return TileFilters(self.m, self.r, self.c_in, self.c_out)

    @property
    def weights(self) -> tuple[int, ...]:
        return self.filters.shape

    @property
    def is_far(self) -> bool:
        """Whether input and result are more than the cores' own caches keep, and lie row by row. A batch with a name is at least 2, as in
        `arrangement`.
        """
        pixels = self.rows * self.cols * blocks(self.c_in) + math.prod(self.stored) * blocks(self.c_out)
        return self.phases == 1 and 4 * LANES * (self.batch or 2) * pixels > FAR

    @property
    def rule(self) -> Arrangement:
        return arrangement(self.m, self.images, self.c_in, self.c_out, *self.out, self.processor, self.r)


def group_of(c_out: int) -> int:
    """Output blocks of one register tile. Of two, AVX2 has room for two columns: as fast as one block by four to six, or faster."""
    return min(2, blocks(c_out))


def packed_shape(a: int, c_in: int, c_out: int) -> tuple[int, ...]:
    """[a, a, output group, input block, 16 inputs, blocks of a group, 16 outputs]: in the order of the product's reads."""
    group = group_of(c_out)
    return a, a, ceil_div(c_out, group * LANES), blocks(c_in), LANES, group, LANES


def arrangement(
    m: int, n: int | None, c_in: int, c_out: int, out_rows: int, out_cols: int, processor: Processor = AVX512, r: int = 3
) -> Arrangement:
    """The rule, from sizes alone; `n` is None where it is symbolic, and then at least 2: for one image there is another library.

    Fused where a cache keeps all weights and V and M would not stay there. For one image measured within 5% of the better one, from 16@56
    to 512@7, before fused stages asked for pixels and kept M of all channels; for several measured on Zen 4 alone.
    """
    a, high, wide = m + r - 1, ceil_div(out_rows, m), ceil_div(out_cols, m)
    group = group_of(c_out)
    weights = 4 * math.prod(packed_shape(a, c_in, c_out))
    tile_bytes = 4 * a**2 * (blocks(c_in) + round_up(blocks(c_out), group)) * LANES  # of V and M
    if weights <= processor.fused_weights and (n or 2) * high * wide * tile_bytes >= processor.fused_share * weights:
        return Arrangement(True, 1, register_tile(1, wide, group, processor)[1])
    rows, cols = register_tile(high, wide, group, processor)
    row_bytes = tile_bytes * round_up(wide, cols)
    most = max(weights, STRIP_BYTES) // row_bytes  # rows of tiles at once: of V and M no more than of weights
    needed = ceil_div(high, max(most, rows))
    # more strips may need fewer rows of padding, but each reads the weights once more, which costs a fourth of work on as many bytes
    strips = min(range(needed, 2 * needed), key=lambda k: k * (round_up(ceil_div(high, k), rows) * row_bytes + weights / 4))
    strip = round_up(ceil_div(high, strips), rows)
    images = max(k for k in range(1, (n or 1) + 1) if (n or 1) % k == 0 and (k == 1 or k * strip <= most)) if strips == 1 else 1
    return Arrangement(False, rows, cols, strip, images)


def register_tile(high: int, wide: int, group: int, processor: Processor) -> tuple[int, int]:
    """Rows and columns of tiles whose sums stay in registers: least padding, yet enough products for each weight that is loaded."""
    most = min(MOST_SUMS // group, processor.sums(group * LANES))

    def cost(tile: tuple[int, int]) -> float:
        rows, cols = tile
        crowded = CROWDED if rows * cols * group > EASY_SUMS else 0.0
        return round_up(high, rows) * round_up(wide, cols) * (1 + 1 / (rows * cols) + crowded + ROW * (rows - 1))

    choices = ((r, c) for r in range(1, high + 1) for c in range(1, wide + 1) if r * c <= most)
    return min(choices, key=cost)


def ceil_div(size: int, part: int) -> int:
    return -(-size // part)


def round_up(size: int, part: int) -> int:
    return ceil_div(size, part) * part
