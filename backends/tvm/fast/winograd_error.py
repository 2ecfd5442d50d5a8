"""How far float32 takes a Winograd convolution from the true one: for each output a bound, to hold a kernel to, and the likely size.

The transforms have entries up to 8 and cancel what they add, so that the error is relative to what was added and not to the result; it
reaches an output from its whole tile, not from its window alone. The componentwise analysis of Barabasz et al. 2020 ("Error analysis and
improving the accuracy of Winograd convolution for DNNs", sec. 3) with Higham's gamma (2002, sec. 3.1), kept stage by stage instead of
multiplied through, which is several times tighter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....ir.ops.window import Pads
from ....ir.types import Array
from .winograd import G, input_transform, output_transform

__all__ = ["error_bound", "noise", "roundings"]

UNIT = 2.0**-24
# Longest chains of roundings in one application of (B^T, A^T); a two-dimensional transform applies each twice.
DEPTH = {2: (1, 2), 4: (4, 4)}
# Of a rounding error over u times the result, a float's mantissa being anywhere; and what transforms and weights add to the sum over
# channels in turn, whose n partial sums grow by chance: n/2 squares. A test keeps both, for dense and for all but empty images.
SINGLE, TRANSFORMS = 0.41, 6.0


def roundings(m: int, c_in: int) -> int:
    """Roundings between an input and an output: transforms of the input, the weight, the sum over channels, transforms back, the bias."""
    of_input, of_output = DEPTH[m]
    return 2 * of_input + 1 + c_in + 2 * of_output + 1


def noise(m: int, pads: Pads, x: Array, w: Array) -> Array:
    """One standard deviation of the error of every output, over the unit roundoff: squares are added where the bound adds magnitudes.

    Shapes: x[N,C,H,W], w[O,C,3,3] -> [N,O,H',W'].
    """
    rows, cols = x.shape[2] + pads[0] + pads[2] - 2, x.shape[3] + pads[1] + pads[3] - 2
    weights, inputs = _transformed(m, pads, x, w, rows, cols)
    squares = _both(_matrix(output_transform, m, m + 2) ** 2, weights**2 @ inputs**2)
    return SINGLE * np.sqrt((x.shape[1] / 2 + TRANSFORMS) * _image(squares, x.shape[0], rows, cols))


def error_bound(m: int, pads: Pads, x: Array, w: Array, b: Array | None = None) -> Array:
    """Bound on |computed - true| of every output, before the epilogue's steps, for F(m x m, 3x3) in float32; float64.

    Shapes: x[N,C,H,W], w[O,C,3,3], b[O] -> [N,O,H',W']. Underflow is left out.
    """
    of_input, of_output = DEPTH[m]
    c_in = x.shape[1]
    rows, cols = x.shape[2] + pads[0] + pads[2] - 2, x.shape[3] + pads[1] + pads[3] - 2
    to_v, to_y = _matrix(input_transform, m, m + 2), _matrix(output_transform, m, m + 2)
    weights, inputs = _transformed(m, pads, x, w, rows, cols)
    into = _gamma(2 * of_input) * _both(abs(to_v), _tiles(m, pads, abs(x), rows, cols))  # how far off the inputs may be
    sums = weights @ inputs
    off = abs(weights) @ (into + _gamma(c_in + 1) * (abs(inputs) + into))
    off = _both(abs(to_y), off + _gamma(2 * of_output) * (abs(sums) + off))  # [m,m,O,N*P*Q]
    value = _both(to_y, sums)
    if b is not None:
        value = value + b.astype(np.float64)[:, None]
    return _image(off + UNIT * (abs(value) + off), x.shape[0], rows, cols)


def _gamma(n: int) -> float:
    return n * UNIT / (1 - n * UNIT)


def _matrix(transform: Callable[[Callable[[float], float], int, list[Array]], list[Array]], m: int, size: int) -> Array:
    """The matrix that the kernel's own formulas apply."""
    return np.array(transform(float, m, list(np.eye(size))))


def _both(matrix: Array, x: Array) -> Array:
    """matrix x matrix^T on the first two axes."""
    return np.einsum("xi,ij...,yj->xy...", matrix, x, matrix, optimize=True)


def _transformed(m: int, pads: Pads, x: Array, w: Array, rows: int, cols: int) -> tuple[Array, Array]:
    """[a,a,O,C] of the weights and [a,a,C,N*P*Q] of the input, whose products are summed over C."""
    return _both(G[m], w.astype(np.float64).transpose(2, 3, 0, 1)), _both(
        _matrix(input_transform, m, m + 2), _tiles(m, pads, x, rows, cols)
    )


def _tiles(m: int, pads: Pads, x: Array, rows: int, cols: int) -> Array:
    """[a,a,C,N*P*Q]: every tile's inputs."""
    n, c, *size = x.shape
    high, wide = -(-rows // m), -(-cols // m)
    padded = np.zeros((n, c, high * m + 2, wide * m + 2))
    padded[:, :, pads[0] : pads[0] + size[0], pads[1] : pads[1] + size[1]] = x
    windows = np.lib.stride_tricks.sliding_window_view(padded, (m + 2, m + 2), (2, 3))[:, :, ::m, ::m]
    return windows.transpose(4, 5, 1, 0, 2, 3).reshape(m + 2, m + 2, c, -1)


def _image(tiles: Array, n: int, rows: int, cols: int) -> Array:
    """[m,m,O,N*P*Q] as [N,O,rows,cols]."""
    m, _, c_out, _ = tiles.shape
    high, wide = -(-rows // m), -(-cols // m)
    grid = tiles.reshape(m, m, c_out, n, high, wide).transpose(3, 2, 4, 0, 5, 1)
    return grid.reshape(n, c_out, high * m, wide * m)[:, :, :rows, :cols]
