"""The sizes of a convolution as kernels need them, and its filters packed. No TVM is needed.

Groups are merged until they begin with a chunk, and where that costs no products, of which one has 8 filters at least: those of a merged
group have zeros where they do not reach.
Of an image of at most 4 channels filters take half a chunk a tap: else most of what a stem multiplies would be the padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .....ir.ops.window import Pair
from .....ir.types import Array
from ...cpu.kernels.layout import Batch
from .layout import CHUNK, ElementKind, GpuPacking, as_factor, grown, padded

__all__ = ["ConvSizes", "ProductSizes", "filters", "merged_groups"]

FEWEST = 8  # columns of a product


class ProductSizes(Protocol):
    """What a product of matrices must know of a convolution: its window over an image, and channels as they lie."""

    @property
    def batch(self) -> Batch: ...
    @property
    def rows(self) -> int: ...
    @property
    def cols(self) -> int: ...
    @property
    def kernel(self) -> Pair: ...
    @property
    def strides(self) -> Pair: ...
    @property
    def pads(self) -> tuple[int, int, int, int]: ...
    @property
    def dilations(self) -> Pair: ...
    @property
    def out(self) -> Pair: ...
    @property
    def pixels(self) -> int: ...
    @property
    def products(self) -> int: ...
    @property
    def group_in(self) -> int: ...
    @property
    def group_out(self) -> int: ...
    @property
    def stored_in(self) -> int: ...
    @property
    def stored_out(self) -> int: ...
    @property
    def per_tap(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def has_all_columns(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class ConvSizes:
    """Of a convolution over images of `rows` by `cols`; `pads` are top, left, bottom, right."""

    batch: Batch
    c_in: int
    c_out: int
    rows: int
    cols: int
    kernel: Pair
    strides: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1

    @property
    def out(self) -> Pair:
        """Rows and columns of the result."""
        heights, widths = zip((self.rows, self.cols), self.kernel, self.strides, self.dilations, self.pads[:2], self.pads[2:], strict=True)
        return _places(*heights), _places(*widths)

    @property
    def merged(self) -> int:
        """How many groups a kernel takes as one."""
        return merged_groups(self.groups, self.c_in, self.c_out)

    @property
    def products(self) -> int:
        """Groups that are left after merging."""
        return self.groups // self.merged

    @property
    def group_in(self) -> int:
        """Channels that a filter reads, as they lie."""
        return padded(self.c_in // self.products)

    @property
    def per_tap(self) -> int:
        """Channels that a filter takes of a pixel."""
        return CHUNK // 2 if self.c_in // self.products <= CHUNK // 2 else self.group_in

    @property
    def group_out(self) -> int:
        """Filters of a merged group, as they lie."""
        return padded(self.c_out // self.products)

    @property
    def stored_in(self) -> int:
        """Channels of the image as it lies."""
        return self.products * self.group_in

    @property
    def stored_out(self) -> int:
        """Channels of the result as it lies."""
        return self.products * self.group_out

    @property
    def has_all_columns(self) -> bool:
        """Whether no tap lies beside the image."""
        return self.kernel[1] == 1 and self.pads[1] == self.pads[3] == 0

    @property
    def depth(self) -> int:
        """Products of a sum, those with padding included: whole chunks."""
        return padded(self.kernel[0] * self.kernel[1] * self.per_tap)

    @property
    def pixels(self) -> int:
        """Of a result, in one image."""
        return self.out[0] * self.out[1]

    @property
    def macs(self) -> int:
        """Multiply-adds of an image that the network asks for."""
        return self.pixels * self.c_out * self.kernel[0] * self.kernel[1] * (self.c_in // self.groups)


def merged_groups(groups: int, c_in: int, c_out: int) -> int:
    """How many groups of a layer a kernel takes as one: with the fewest products, and of those the most."""

    def products(number: int) -> int:
        filters = math.ceil(c_out // groups * number / FEWEST) * FEWEST
        return groups // number * filters * padded(c_in // groups * number)

    return min(_fitting(groups, c_in, c_out), key=lambda number: (products(number), -number))


def _fitting(groups: int, c_in: int, c_out: int) -> Iterator[int]:
    """Numbers of groups that begin and end with whole chunks; all together always do."""
    for number in range(1, groups + 1):
        per_group = (c_in // groups * number, c_out // groups * number)
        if number == groups or (groups % number == 0 and not any(c % CHUNK for c in per_group)):
            yield number


def _places(extent: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    return (extent + before + after - dilation * (kernel - 1) - 1) // stride + 1


def filters(sizes: ConvSizes, element: ElementKind) -> GpuPacking:
    """[O,C/groups,KH,KW] as [products*group_out, depth]: a filter a row, taps with `per_tap` channels innermost, zeros at the end."""
    merged, products = sizes.merged, sizes.products
    c_out, c_in = sizes.c_out // sizes.groups, sizes.c_in // sizes.groups
    kernel_rows, kernel_cols = sizes.kernel

    def pack(w: Array) -> Array:
        given = w.reshape(products, merged, c_out, c_in, kernel_rows, kernel_cols)
        whole = np.zeros((products, merged, c_out, kernel_rows, kernel_cols, merged, c_in), w.dtype)
        for group in range(merged):
            whole[:, group, :, :, :, group] = np.moveaxis(given[:, group], 2, -1)
        flat = whole.reshape(products, merged * c_out, kernel_rows, kernel_cols, merged * c_in)
        taps = grown(flat, (products, sizes.group_out, kernel_rows, kernel_cols, sizes.per_tap), element.name)
        rows = taps.reshape(products * sizes.group_out, -1)
        return as_factor(grown(rows, (len(rows), sizes.depth), element.name))

    return GpuPacking((products * sizes.group_out, sizes.depth), element.name, pack)
