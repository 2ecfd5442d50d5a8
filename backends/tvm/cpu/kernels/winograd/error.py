"""How far float32 takes a Winograd convolution from the true one: for each output a bound, to hold a kernel to, and the likely size.

The transforms have entries up to 27/8 and cancel what they add, so that the error is relative to what was added and not to the result; it
reaches an output from its whole tile, not from its window alone. The componentwise analysis of Barabasz et al. 2020 ("Error analysis and
improving the accuracy of Winograd convolution for DNNs", sec. 3) with Higham's gamma (2002, sec. 3.1), kept stage by stage instead of
multiplied through, which is several times tighter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ......ir.ops.window import Pads, Pair
from ......ir.types import Array
from .transforms import (
    adjoint_output_transform,
    filter_transform,
    gradient_of_part,
    input_of_part,
    input_transform,
    output_transform,
)
from .weight_gradient import TiledWeightGradient

__all__ = ["error_bound", "gradient_error_bound", "gradient_noise", "gradient_roundings", "noise", "roundings"]

UNIT = 2.0**-24
# Longest chains of roundings in one application of (B^T, A^T), by a; a two-dimensional transform applies each twice.
DEPTH = {4: (1, 2), 6: (4, 4)}
# The same of the transform of a gradient, and of that of the sums, whose factors are rounded, too.
GRADIENT_DEPTH = {4: (1, 5), 6: (3, 5)}
# Of a rounding error over u times the result, a float's mantissa being anywhere; and what transforms and weights add to the sum over
# channels in turn, whose n partial sums grow by chance: n/2 squares. A test keeps both, for dense and for all but empty images.
SINGLE, TRANSFORMS = 0.41, 6.0


def roundings(m: int, r: int, c_in: int) -> int:
    """Roundings between an input and an output: transforms of the input, the weight, the sum over channels, transforms back, the bias."""
    of_input, of_output = DEPTH[m + r - 1]
    return 2 * of_input + 1 + c_in + 2 * of_output + 1


def noise(m: int, pads: Pads, x: Array, w: Array, dilations: Pair = (1, 1)) -> Array:
    """One standard deviation of the error of every output, over the unit roundoff: squares are added where the bound adds magnitudes.

    Shapes: x[N,C,H,W], w[O,C,r,r] -> [N,O,H',W'].
    """
    if dilations != (1, 1):
        return _joined(noise(m, _of_phase(pads, dilations), _phases(x, dilations), w), dilations)
    tiles = _Tiles(m, w.shape[2], pads)
    weights, inputs = tiles.transformed(x, w)
    squares = _both(tiles.to_y**2, weights**2 @ inputs**2)
    return SINGLE * np.sqrt((x.shape[1] / 2 + TRANSFORMS) * tiles.image(squares, x))


def error_bound(m: int, pads: Pads, x: Array, w: Array, b: Array | None = None, dilations: Pair = (1, 1)) -> Array:
    """Bound on |computed - true| of every output, before the epilogue's steps, for F(m x m, r x r) in float32; float64.

    Shapes: x[N,C,H,W], w[O,C,r,r], b[O] -> [N,O,H',W']. Underflow is left out.
    """
    if dilations != (1, 1):
        return _joined(error_bound(m, _of_phase(pads, dilations), _phases(x, dilations), w, b), dilations)
    tiles = _Tiles(m, w.shape[2], pads)
    of_input, of_output = DEPTH[tiles.a]
    weights, inputs = tiles.transformed(x, w)
    into = _gamma(2 * of_input) * _both(abs(tiles.to_v), tiles.of(abs(x)))  # how far off the inputs may be
    sums = weights @ inputs
    off = abs(weights) @ (into + _gamma(x.shape[1] + 1) * (abs(inputs) + into))
    off = _both(abs(tiles.to_y), off + _gamma(2 * of_output) * (abs(sums) + off))  # [m,m,O,N*P*Q]
    value = _both(tiles.to_y, sums)
    if b is not None:
        value = value + b.astype(np.float64)[:, None]
    return tiles.image(off + UNIT * (abs(value) + off), x)


def gradient_roundings(size: TiledWeightGradient) -> int:
    """Roundings between what a weight gradient reads and its result."""
    (of_input, _), (of_gradient, of_sums) = DEPTH[size.a], GRADIENT_DEPTH[size.a]
    return 2 * of_input + 2 * of_gradient + 1 + sum(size.chains) + 2 * of_sums


def gradient_noise(size: TiledWeightGradient, x: Array, g: Array) -> Array:
    """As `noise`, of the gradient by weights: x[N,C,H,W], g[N,O,H',W'] -> [O,C,3,3]."""
    tiles, pair = _Tiles(size.m, 3, size.pads), _GradientTiles(size)
    seen, wanted = pair.seen(x), pair.wanted(g)
    squares = _both(tiles.to_w**2, wanted**2 @ (seen**2).swapaxes(2, 3))
    return SINGLE * np.sqrt((sum(size.chains) / 2 + TRANSFORMS) * squares.transpose(2, 3, 0, 1))


def gradient_error_bound(size: TiledWeightGradient, x: Array, g: Array) -> Array:
    """As `error_bound`, of the gradient by weights: x[N,C,H,W], g[N,O,H',W'] -> [O,C,3,3]."""
    tiles, pair = _Tiles(size.m, 3, size.pads), _GradientTiles(size)
    (of_input, _), (of_gradient, of_sums) = DEPTH[size.a], GRADIENT_DEPTH[size.a]
    seen, wanted = pair.seen(x), pair.wanted(g)
    seen_off, wanted_off = _gamma(2 * of_input) * pair.seen(abs(x), abs), _gamma(2 * of_gradient) * pair.wanted(abs(g), abs)
    sums = wanted @ seen.swapaxes(2, 3)
    most = (abs(wanted) + wanted_off) @ (abs(seen) + seen_off).swapaxes(2, 3)
    off = most * (1 + _gamma(1 + sum(size.chains))) - abs(wanted) @ abs(seen).swapaxes(2, 3)
    off = _both(abs(tiles.to_w), off + _gamma(2 * of_sums) * (abs(sums) + off))
    return off.transpose(2, 3, 0, 1)


def _of_phase(pads: Pads, dilations: Pair) -> Pads:
    (top, left, bottom, right), (down, along) = pads, dilations
    return top // down, left // along, bottom // down, right // along


def _phases(x: Array, dilations: Pair) -> Array:
    """[N,C,H,W] as one image for each of the pixels that a dilated window may start at."""
    (n, c, rows, cols), (down, along) = x.shape, dilations
    split = x.reshape(n, c, rows // down, down, cols // along, along).transpose(0, 3, 5, 1, 2, 4)
    return split.reshape(-1, c, rows // down, cols // along)


def _joined(phases: Array, dilations: Pair) -> Array:
    (_, c, rows, cols), (down, along) = phases.shape, dilations
    return phases.reshape(-1, down, along, c, rows, cols).transpose(0, 3, 4, 1, 5, 2).reshape(-1, c, rows * down, cols * along)


def _gamma(n: int) -> float:
    return n * UNIT / (1 - n * UNIT)


def _both(matrix: Array, x: Array) -> Array:
    """matrix x matrix^T on the first two axes."""
    return np.einsum("xi,ij...,yj->xy...", matrix, x, matrix, optimize=True)


@dataclass(frozen=True, slots=True)
class _Tiles:
    """F(m x m, r x r) over an image with these pads, by the matrices that the kernel's own formulas apply."""

    m: int
    r: int
    pads: Pads

    @property
    def a(self) -> int:
        return self.m + self.r - 1

    @property
    def to_v(self) -> Array:
        return np.array(input_transform(float, list(np.eye(self.a))))

    @property
    def to_y(self) -> Array:
        return np.array(output_transform(float, self.m, list(np.eye(self.a))))

    @property
    def to_w(self) -> Array:
        """The way back to weights."""
        return filter_transform(self.m, self.r).T

    def transformed(self, x: Array, w: Array) -> tuple[Array, Array]:
        """[a,a,O,C] of the weights and [a,a,C,N*P*Q] of the input, whose products are summed over C."""
        return _both(filter_transform(self.m, self.r), w.astype(np.float64).transpose(2, 3, 0, 1)), _both(self.to_v, self.of(x))

    def of(self, x: Array) -> Array:
        """[a,a,C,N*P*Q]: every tile's inputs."""
        n, c, *size = x.shape
        top, left, *_ = self.pads
        high, wide = self._grid(x)
        padded = np.zeros((n, c, high * self.m + self.r - 1, wide * self.m + self.r - 1))
        padded[:, :, top : top + size[0], left : left + size[1]] = x
        windows = np.lib.stride_tricks.sliding_window_view(padded, (self.a, self.a), (2, 3))[:, :, :: self.m, :: self.m]
        return windows.transpose(4, 5, 1, 0, 2, 3).reshape(self.a, self.a, c, -1)

    def image(self, tiles: Array, x: Array) -> Array:
        """[m,m,O,N*P*Q] as [N,O,rows,cols]."""
        m, _, c_out, _ = tiles.shape
        high, wide = self._grid(x)
        rows, cols = self._out(x)
        grid = tiles.reshape(m, m, c_out, x.shape[0], high, wide).transpose(3, 2, 4, 0, 5, 1)
        return grid.reshape(x.shape[0], c_out, high * m, wide * m)[:, :, :rows, :cols]

    def _out(self, x: Array) -> Pair:
        top, left, bottom, right = self.pads
        return x.shape[2] + top + bottom - self.r + 1, x.shape[3] + left + right - self.r + 1

    def _grid(self, x: Array) -> Pair:
        """Rows and columns of tiles."""
        rows, cols = self._out(x)
        return -(-rows // self.m), -(-cols // self.m)


@dataclass(frozen=True, slots=True)
class _GradientTiles:
    """The tiles of a weight gradient, transformed: zeros at the points that tiles of few results leave out. `of` applies to matrices."""

    size: TiledWeightGradient

    def seen(self, x: Array, of: Callable[[Array], Array] = np.array) -> Array:
        """x[N,C,H,W] -> [a,a,C,N*P*Q]."""
        return self._transformed(_Tiles(self.size.m, 3, self.size.pads).of(x), lambda results: of(self._to_seen(results)))

    def wanted(self, g: Array, of: Callable[[Array], Array] = np.array) -> Array:
        """g[N,O,H',W'] -> [a,a,O,N*P*Q]."""
        (n, c, *out), m, (high, wide) = g.shape, self.size.m, self.size.grid
        padded = np.zeros((n, c, high * m, wide * m))
        padded[:, :, : out[0], : out[1]] = g
        tiles = padded.reshape(n, c, high, m, wide, m).transpose(3, 5, 1, 0, 2, 4).reshape(m, m, c, -1)
        return self._transformed(tiles, lambda results: of(self._to_wanted(results)))

    def _to_seen(self, results: int) -> Array:
        """B^T, [a,a], for tiles of so many results along an axis."""
        way = input_transform if results == self.size.m else input_of_part
        return self._spread(way(float, list(np.eye(results + 2))), results, self.size.a)

    def _to_wanted(self, results: int) -> Array:
        """A, [a,m]."""
        way = adjoint_output_transform if results == self.size.m else gradient_of_part
        return self._spread(way(float, list(np.eye(results))), results, self.size.m)

    def _spread(self, rows: list[Any], results: int, width: int) -> Array:
        made, used = np.zeros((self.size.a, width)), np.array(rows)
        made[self.size.places(results), : used.shape[1]] = used
        return made

    def _transformed(self, tiles: Array, matrix: Callable[[int], Array]) -> Array:
        """[side,side,C,N*P*Q] -> [a,a,C,N*P*Q]."""
        a, (high, wide) = self.size.a, self.size.grid
        given = tiles.reshape(*tiles.shape[:3], -1, high, wide)
        made = np.zeros((a, a, *given.shape[2:]))
        for rows, down in self._along(0):
            for cols, along in self._along(1):
                part = given[..., rows, cols]
                made[..., rows, cols] = np.einsum("xi,ij...,yj->xy...", matrix(down), part, matrix(along), optimize=True)
        return made.reshape(a, a, tiles.shape[2], -1)

    def _along(self, axis: int) -> list[tuple[slice, int]]:
        """Tiles and their results along an axis: all but the last, and that."""
        last = self.size.grid[axis] - 1
        return [(slice(last), self.size.m), (slice(last, None), self.size.last[axis])]
