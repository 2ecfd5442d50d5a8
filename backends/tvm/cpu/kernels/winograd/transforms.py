"""The transforms of Winograd's minimal filtering, and weights packed by them. Tiles of the same a = m + r - 1 share the input's."""

from __future__ import annotations

from typing import Any

import numpy as np

from ......ir.types import Array
from ..layout import LANES, Packing
from .arrangement import Tiled, packed_shape

__all__ = [
    "TILES",
    "adjoint_output_transform",
    "filter_transform",
    "gradient_of_part",
    "input_of_part",
    "input_transform",
    "output_transform",
    "pack_tiles",
    "places_of_part",
    "tile_filters",
]

TILES = {3: (2, 4), 5: (2,)}  # by r, the m there are

# Where tiles of 6 evaluate their polynomials: 0, -P, P, -Q, Q and infinity. All powers are exact in float32. The usual 1 and 2 have smaller
# integers, and twice the error (five times at its worst): their powers are further apart.
P, Q = 5 / 8, 3 / 2
PP, QQ = P * P, Q * Q
POINTS = (0.0, P, -P, Q, -Q)


def filter_transform(m: int, r: int) -> Array:
    """G, [a,r]: the polynomial of r coefficients at each point, over what the points' differences multiply to."""
    if m + r - 1 == 4:
        return np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]])
    powers = np.arange(r)
    inner = [(x**powers) / (2 * x * x * (x * x - y * y)) for x, y in ((P, Q), (-P, Q), (Q, P), (-Q, P))]
    return np.array([(powers == 0) / (PP * QQ), *inner, powers == r - 1])


def tile_filters(size: Tiled) -> Packing:
    """[O,C,r,r], transformed."""
    return Packing(size.weights, lambda w: pack_tiles(size.m, w))


def pack_tiles(m: int, w: Array) -> Array:
    """Weights [O,C,r,r] as the kernel reads them: G w G^T in float64, rounded once to float32, zeros where channels are padding."""
    c_out, c_in, r, _ = w.shape
    a, _, groups, count, _, group, _ = shape = packed_shape(m + r - 1, c_in, c_out)
    wide = group * LANES
    padded = np.zeros((groups * wide, count * LANES, r * r))
    padded[:c_out, :c_in] = w.reshape(c_out, c_in, r * r)
    one = filter_transform(m, r)
    both = np.kron(one, one)  # both transforms in one product, [a*a, r*r]
    packed = np.empty((a * a, groups, count * LANES * wide), np.float32)
    for at, taps in enumerate(padded.reshape(groups, wide, count * LANES, r * r).transpose(0, 3, 2, 1)):
        packed[:, at] = both @ taps.reshape(r * r, -1)
    return packed.reshape(shape)


def input_transform(const: Any, d: list[Any]) -> list[Any]:
    """The rows of B^T d; at most 4 roundings for tiles of 6, 1 for those of 4 (error.py counts on it)."""
    if len(d) == 4:
        return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]
    even_p, odd_p = d[4] - const(QQ) * d[2], const(P) * (d[3] - const(QQ) * d[1])
    even_q, odd_q = d[4] - const(PP) * d[2], const(Q) * (d[3] - const(PP) * d[1])
    first, last = (const(PP * QQ) * d[i] - const(PP + QQ) * d[i + 2] + d[i + 4] for i in (0, 1))
    return [first, even_p + odd_p, even_p - odd_p, even_q + odd_q, even_q - odd_q, last]


def output_transform(const: Any, m: int, v: list[Any]) -> list[Any]:
    """The rows of A^T v; at most 4 roundings for tiles of 6, 2 for those of 4."""
    if len(v) == 4:
        return [v[0] + v[1] + v[2], v[1] - v[2] - v[3]]
    even_p, odd_p, even_q, odd_q = v[1] + v[2], v[1] - v[2], v[3] + v[4], v[3] - v[4]
    if m == 2:
        return [v[0] + even_p + even_q, const(P) * odd_p + const(Q) * odd_q + v[5]]
    return [
        v[0] + even_p + even_q,
        const(P) * odd_p + const(Q) * odd_q,
        const(PP) * even_p + const(QQ) * even_q,
        const(P * PP) * odd_p + const(Q * QQ) * odd_q + v[5],
    ]


def adjoint_output_transform(const: Any, g: list[Any]) -> list[Any]:
    """The rows of A g, the way back through `output_transform`; at most 3 roundings for tiles of 6, 1 for those of 4."""
    if len(g) == 2:
        return [g[0], g[0] + g[1], g[0] - g[1], const(-1.0) * g[1]]
    even_p, odd_p = g[0] + const(PP) * g[2], const(P) * g[1] + const(P * PP) * g[3]
    even_q, odd_q = g[0] + const(QQ) * g[2], const(Q) * g[1] + const(Q * QQ) * g[3]
    return [g[0], even_p + odd_p, even_p - odd_p, even_q + odd_q, even_q - odd_q, g[3]]


def places_of_part(m: int, results: int) -> list[int]:
    """Of the points of F(m x m) those of a tile of fewer results along an axis: infinity, and the first of the others."""
    return [*range(results + 1), m + 1]


def input_of_part(const: Any, d: list[Any]) -> list[Any]:
    """B^T d at `places_of_part` of a tile of 6 that has but len(d) - 2 results, such that its products join the sums of whole tiles.

    With fewer points each has fewer differences: what its polynomial over them lacks in G is multiplied here. All factors are exact in
    float32; at most 4 roundings.
    """
    used, unused = POINTS[: len(d) - 1], POINTS[len(d) - 1 :]
    rows = [np.poly([y for y in used if y != x]) * np.prod([x - y for y in unused]) for x in used]
    return [*(_combined(const, row[::-1], d) for row in rows), _combined(const, np.poly(used)[::-1], d)]


def gradient_of_part(const: Any, g: list[Any]) -> list[Any]:
    """A g at `places_of_part` of a tile of 6 that has but len(g) results, at most 3; at most 3 roundings."""
    return [*(_combined(const, [x**k for k in range(len(g))], g) for x in POINTS[: len(g) + 1]), g[-1]]


def _combined(const: Any, factors: Any, values: list[Any]) -> Any:
    """Values times factors, added up in pairs: of 4 two sums round on the way of each."""
    terms = [value if factor == 1 else const(float(factor)) * value for factor, value in zip(factors, values, strict=False) if factor]
    while len(terms) > 1:
        terms = [sum(terms[k + 1 : k + 2], terms[k]) for k in range(0, len(terms), 2)]
    return terms[0]
