"""The phases of a transposed convolution's strides: results whose row and column leave the same remainders.

What a phase reads are neighbours, by the same few of the kernel's taps: a convolution of stride 1. Dumoulin & Visin 2016, sec. 4.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from ......ir.ops.conv_transpose import ConvTranspose2d
from ......ir.ops.window import Pads, Pair, dilated
from ..windows import Window

__all__ = ["Axis", "Lattice", "Transposed"]


@dataclass(frozen=True, slots=True)
class Axis:
    """Neighbouring phases along an axis, from `first` on, with equal windows: for each the kernel's taps, in the order of what they read.

    Each phase has `places` results; the first tap of its first window lies `pad` before the input, and taps lie `dilation` apart.
    """

    first: int
    taps: tuple[tuple[int, ...], ...]
    places: int
    pad: int
    dilation: int

    @property
    def count(self) -> int:
        return len(self.taps)

    @property
    def kernel(self) -> int:
        return len(self.taps[0])


@dataclass(frozen=True, slots=True)
class Lattice:
    """Phases that are written alike: `rows` times `cols` of them, over an image whose extents `window` tells.

    Their weights begin after `before` taps of other phases.
    """

    rows: Axis
    cols: Axis
    window: Window
    before: int

    @property
    def taps(self) -> int:
        """Of one of its phases."""
        return math.prod(self.window.kernel)


@dataclass(frozen=True, slots=True)
class Transposed:
    """One transposed convolution's extents: of its input, `kernel` and result. Its op's groups do not count here."""

    rows: int
    cols: int
    kernel: Pair
    op: ConvTranspose2d
    out: Pair

    def lattices(self) -> list[Lattice]:
        """All phases, in the order of their weights."""
        found: list[Lattice] = []
        before = 0
        for rows, cols in itertools.product(self._axis(0), self._axis(1)):
            found.append(Lattice(rows, cols, self._window(rows, cols), before))
            before += rows.count * cols.count * found[-1].taps
        return found

    @property
    def taps(self) -> int:
        """Of all phases: those of the kernel, unless the result is smaller than the strides."""
        return sum(each.rows.count * each.cols.count * each.taps for each in self.lattices())

    @property
    def places(self) -> int:
        """Rows of the phase that has most."""
        return -(-self.out[0] // self.op.strides[0])

    def _axis(self, axis: int) -> list[Axis]:
        stride, dilation, pad = self.op.strides[axis], self.op.dilations[axis], self.op.pads[axis]
        phases: list[Axis] = []
        for phase in range(min(stride, self.out[axis])):
            taps = tuple(tap for tap in reversed(range(self.kernel[axis])) if (phase + pad - tap * dilation) % stride == 0)
            first = (phase + pad - taps[0] * dilation) // stride if taps else 0  # what it reads for the first place
            places = -(-(self.out[axis] - phase) // stride)
            phases.append(Axis(phase, (taps,), places, -first, dilation // math.gcd(dilation, stride)))
        alike = itertools.groupby(phases, lambda each: (each.kernel, each.places, each.pad))
        groups = [list(group) for _, group in alike]
        return [replace(group[0], taps=tuple(each.taps[0] for each in group)) for group in groups]

    def _window(self, rows: Axis, cols: Axis) -> Window:
        """A pad may be negative here, where a phase does not read its input's edge."""
        extents = zip((rows, cols), (self.rows, self.cols), strict=True)
        below, right = (axis.places - 1 + dilated(axis.kernel, axis.dilation) - size - axis.pad for axis, size in extents)
        pads: Pads = (rows.pad, cols.pad, below, right)
        return Window(self.rows, self.cols, (rows.kernel, cols.kernel), (1, 1), pads, (rows.dilation, cols.dilation))
