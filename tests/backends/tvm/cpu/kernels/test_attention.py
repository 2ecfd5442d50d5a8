"""Attention, from heads that lie within what one layer computed."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from convc.backends.tvm.cpu.kernels.attention import Heads, Strided, attention
from convc.backends.tvm.processor import AVX2
from convc.ir.ops.activation import SOFTMAX
from convc.ir.types import Array
from convc.tests.support.cpu_kernels import call, draw


def of(n: int | None, heads: int, queries: int, keys: int, depth: int, width: int) -> Heads:
    """Of queries [n,queries,heads*depth], and keys and values side by side, [n,keys,heads*(depth+width)]."""
    wide, both, made = heads * depth, heads * (depth + width), heads * width
    q = Strided((n, queries, wide), ((queries * wide, 0), (depth, 0), (wide, 0), (1, 0)))
    k = Strided((n, keys, both), ((keys * both, 0), (depth, 0), (both, 0), (1, 0)))
    v = Strided((n, keys, both), ((keys * both, 0), (width, 0), (both, 0), (1, 0)), (wide, 0))
    y = Strided((n, queries, made), ((queries * made, 0), (width, 0), (made, 0), (1, 0)))
    return Heads(n, heads, queries, keys, depth, width, (q, k, v), y)


def meaning(size: Heads, q: Array, kv: Array, scale: float, mask: Array | None) -> Array:
    n, heads = len(q), size.heads
    wide = heads * size.depth
    k, v = kv[:, :, :wide], kv[:, :, wide:]
    split = [x.reshape(n, x.shape[1], heads, -1).transpose(0, 2, 1, 3).astype(np.float64) for x in (q, k, v)]
    scores = scale * split[0] @ split[1].swapaxes(2, 3)
    if mask is not None:
        scores += np.tile(mask, (n // len(mask), heads // mask.shape[1], 1, 1))
    with np.errstate(invalid="ignore"):
        mixed = SOFTMAX.meaning(SOFTMAX.Attrs(axis=3), scores) @ split[2]
    return mixed.transpose(0, 2, 1, 3).reshape(n, size.queries, heads * size.width)


def turns():
    """What is masked, and how long the axes are, are loops apart: each mask is tried on two sizes, on the others in the slow tier. 33 keys
    are two whole vectors of the widest lanes and one more, whose masks lie at places of their own."""
    for sizes, masks in itertools.product(((21, 197, 32, 48), (49, 49, 20, 16), (5, 5, 7, 7), (1, 33, 64, 20)), (None, (2, 1), (1, 3))):
        is_slow = masks is not None and sizes[0] > 5
        yield pytest.param(sizes, masks, marks=[pytest.mark.slow] if is_slow else [])


@pytest.mark.parametrize(("sizes", "masks"), list(turns()))
def test_attention(sizes: tuple[int, int, int, int], masks: tuple[int, int] | None) -> None:
    n, heads = 2, 3
    queries, keys, depth, width = sizes
    q, kv = draw(n, queries, heads * depth), draw(n, keys, heads * (depth + width))
    mask = None if masks is None else draw(*masks, queries, keys)
    for named, processor in ((False, None), (True, None), (False, AVX2)):
        size = dataclasses.replace(of(None if named else n, heads, *sizes), masks=masks)
        size = size if processor is None else dataclasses.replace(size, processor=processor)
        operands = [q, kv, kv, np.array([0.3], np.float32), *([] if mask is None else [mask])]
        got = call(attention(size), operands, (n, queries, heads * width))
        np.testing.assert_allclose(got, meaning(size, q, kv, 0.3, mask), rtol=2e-5, atol=2e-6)


def test_rows_take_each_step_together() -> None:
    """A row alone would wait for itself: the greatest of its scores, across lanes, then its powers, then their sum."""
    loops = [attention(of(1, 1, queries, 49, 32, 32)).script().count("for ") for queries in (2, 6)]
    assert loops[0] == loops[1]


def test_hidden_keys_and_what_is_no_number() -> None:
    size = dataclasses.replace(of(1, 1, 9, 21, 16, 16), masks=(1, 1))
    q, kv, mask = draw(1, 9, 16), draw(1, 21, 32), np.zeros((1, 1, 9, 21), np.float32)
    mask[0, 0, :, 5:] = -np.inf
    mask[0, 0, 3] = -np.inf  # it sees no key
    q[0, 7, 0] = np.nan
    got = call(attention(size), [q, kv, kv, np.ones(1, np.float32), mask], (1, 9, 16))
    assert np.isnan(got[0, [3, 7]]).all()
    kept = [0, 1, 2, 4, 5, 6, 8]
    np.testing.assert_allclose(got[0, kept], meaning(size, q, kv, 1.0, mask)[0, kept], rtol=2e-5, atol=2e-6)
