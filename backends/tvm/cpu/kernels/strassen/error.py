"""How far float32 takes a product by quarters from the true one: for each result a bound, to hold a kernel to, and the likely size.

It is relative to sums of quarters, and not to the result: what one row has reaches its neighbour. Higham 2002, sec. 23.2.2, but stage by
stage, with the factors that there are.
"""

from __future__ import annotations

import numpy as np

from ......ir.types import Array
from .quarters import LEFT, OUT, RIGHT

__all__ = ["error_bound", "noise", "roundings"]

UNIT = 2.0**-24
SUMS = 3  # roundings in a sum of quarters
# Of a rounding error over u times the result, a float's mantissa being anywhere; and what sums of quarters and weights add to the sum over
# inputs in turn, whose n partial sums grow by chance: n/2 squares. A test keeps both.
SINGLE, QUARTERS = 0.41, 4.0


def roundings(c_in: int) -> int:
    """Roundings between an input and a result: sums of inputs, the weight, the longest sum of products, what waits, the bias."""
    return SUMS + 1 + max(map(len, OUT)) * (c_in // 2 + 1) + 1


def error_bound(x: Array, w: Array, b: Array | None = None) -> Array:
    """Bound on |computed - true| of every result, before the epilogue's steps, in float32; float64.

    Shapes: x[images,rows,I], w[I,O], b[O] -> [images,rows,O]. Underflow is left out.
    """
    inputs, weights = _mixed(LEFT, _rows(x)), abs(_mixed(RIGHT, _columns(w)))
    into = _gamma(SUMS) * _mixed(np.abs(LEFT), abs(_rows(x)))  # how far off the inputs may be
    off = list[Array]()
    for products in OUT:
        each, gamma = list(products), _gamma(len(products) * (x.shape[-1] // 2 + 1) + 1)
        off.append(np.einsum("pnrk,pko->nro", into[each] + gamma * (abs(inputs[each]) + into[each]), weights[each], optimize=True))
    found = _joined(np.stack(off), x.shape[1], w.shape[1])
    value = x.astype(np.float64) @ w.astype(np.float64) + (0.0 if b is None else b.astype(np.float64))
    return found + UNIT * (abs(value) + found)


def noise(x: Array, w: Array) -> Array:
    """One standard deviation of the error of every result, over the unit roundoff: squares are added where the bound adds magnitudes.

    Shapes: x[images,rows,I], w[I,O] -> [images,rows,O].
    """
    inputs, weights = _mixed(LEFT, _rows(x)) ** 2, _mixed(RIGHT, _columns(w)) ** 2
    squares = [
        (len(products) * x.shape[-1] / 4 + QUARTERS)
        * np.einsum("pnrk,pko->nro", inputs[list(products)], weights[list(products)], optimize=True)
        for products in OUT
    ]
    return SINGLE * np.sqrt(_joined(np.stack(squares), x.shape[1], w.shape[1]))


def _gamma(n: int) -> float:
    return n * UNIT / (1 - n * UNIT)


def _rows(x: Array) -> Array:
    """[images,rows,I] as quarters, [4,images,pairs,I/2]; the last of an odd number of rows is its own neighbour."""
    images, rows, c_in = x.shape
    even = np.concatenate([x, x[:, -1:]], axis=1) if rows % 2 else x
    return even.astype(np.float64).reshape(images, -1, 2, 2, c_in // 2).transpose(2, 3, 0, 1, 4).reshape(4, images, -1, c_in // 2)


def _columns(w: Array) -> Array:
    """[I,O] as quarters, [4,I/2,O/2]; results fill whole vectors, an even number of them."""
    c_in, c_out = w.shape
    half = -(-c_out // 32) * 16
    wide = np.zeros((c_in, 2 * half))
    wide[:, :c_out] = w
    return wide.reshape(2, c_in // 2, 2, half).transpose(0, 2, 1, 3).reshape(4, c_in // 2, half)


def _mixed(factors: tuple[tuple[int, ...], ...] | Array, quarters: Array) -> Array:
    return np.einsum("pq,q...->p...", np.array(factors, np.float64), quarters)


def _joined(quarters: Array, rows: int, c_out: int) -> Array:
    """C11, C12, C21 and C22, [4,images,pairs,O/2], as [images,rows,O]."""
    _, images, pairs, half = quarters.shape
    return quarters.reshape(2, 2, images, pairs, half).transpose(2, 3, 0, 1, 4).reshape(images, 2 * pairs, 2 * half)[:, :rows, :c_out]
