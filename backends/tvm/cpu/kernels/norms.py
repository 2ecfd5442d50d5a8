"""Normalization of blocked tensors: local response, and a batch norm's statistics as a gain and a shift a channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .....ir.ops.norm import BatchNorm, LocalResponseNorm
from .....ir.types import Array
from .kernel import kind
from .layout import LANES, Batch, blocks
from .writer import Writer, blocked, prim_func

__all__ = ["gain_and_shift", "local_response_norm", "neighbouring_channels"]


def gain_and_shift(op: BatchNorm, scale: Array, shift: Array, mean: Array, var: Array) -> tuple[Array, Array]:
    """What a batch norm multiplies a channel by, and what it adds then; computed in float64, rounded once."""
    gain = scale.astype(np.float64) / np.sqrt(var.astype(np.float64) + op.epsilon)
    return gain.astype(np.float32), (shift - mean * gain).astype(np.float32)


@kind("local response norm")
def local_response_norm(op: LocalResponseNorm, batch: Batch, channels: int, rows: int, cols: int) -> Any:
    """(A, D). A channel's neighbours lie in its own block and in those beside it: shuffles move their squares to its lane."""
    count = blocks(channels)
    shifts = range(-((op.size - 1) // 2), op.size // 2 + 1)

    def body(writer: Writer, a: Any, d: Any) -> None:
        with writer.each(batch, count, rows, work=5 * count * rows * cols * LANES) as (i, c, y), writer.loop(cols) as x:
            total = _sum_of_near(writer, a, (i, c, y, x), shifts, channels, lambda value: value * value)
            base = writer.settle(total * writer.spread(op.alpha / op.size) + writer.spread(op.bias))
            normal = writer.load(a, i, c, y, x) / _power(writer, base, op.beta)
            writer.store(d, _only_channels(writer, normal, c, channels), i, c, y, x)  # elsewhere 0/0, where the bias is 0

    return prim_func([blocked("A", batch, channels, rows, cols), blocked("D", batch, channels, rows, cols)], body)


@kind("neighbouring channels")
def neighbouring_channels(batch: Batch, channels: int, rows: int, cols: int, before: int, after: int) -> Any:
    """(A, D): sums over that many channels before and after each, as far as there are: what a local response norm's gradient is made of."""
    count = blocks(channels)

    def body(writer: Writer, a: Any, d: Any) -> None:
        with writer.each(batch, count, rows, work=4 * count * rows * cols * LANES) as (i, c, y), writer.loop(cols) as x:
            writer.store(d, _sum_of_near(writer, a, (i, c, y, x), range(-before, after + 1), channels, lambda value: value), i, c, y, x)

    return prim_func([blocked("A", batch, channels, rows, cols), blocked("D", batch, channels, rows, cols)], body)


def _sum_of_near(writer: Writer, a: Any, at: tuple[Any, ...], shifts: range, channels: int, term: Callable[[Any], Any]) -> Any:
    """Terms of the channels so many before and after each of a block, in order."""
    first, last = shifts[0] // LANES, (shifts[-1] + LANES - 1) // LANES
    terms = {near: _terms(writer, a, at, near, channels, term) for near in range(first, last + 1)}
    total: Any = writer.spread(0.0)
    for shift in shifts:
        near, lane = divmod(shift, LANES)
        total = total + (writer.blend([terms[near], terms[near + 1]], range(lane, lane + LANES)) if lane else terms[near])
    return total


def _terms(writer: Writer, a: Any, at: tuple[Any, ...], near: int, channels: int, term: Callable[[Any], Any]) -> Any:
    """Those of the block `near` blocks on, 0 for channels that there are not."""
    tirx = writer.tirx
    (i, c, y, x), count = at, blocks(channels)
    place = writer.keep(tirx.max(tirx.min(c + near, writer.long(count - 1)), writer.long(0)))
    value = _only_channels(writer, term(writer.load(a, i, place, y, x)), place, channels)
    return writer.settle(tirx.Select(place == c + near, value, writer.spread(0.0))) if near else value


def _only_channels(writer: Writer, value: Any, block: Any, channels: int) -> Any:
    """A vector of a block with 0 in the lanes beyond the last channel."""
    value = writer.settle(value)
    if channels % LANES == 0:
        return value
    kept = [lane if lane < channels % LANES else LANES for lane in range(LANES)]
    return writer.settle(writer.tirx.Select(block == blocks(channels) - 1, writer.blend([value, writer.spread(0.0)], kept), value))


def _power(writer: Writer, base: Any, beta: float) -> Any:
    """Roots where they do: the C library's power is called for each lane."""
    if beta == 1.0:
        return base
    root = writer.settle(writer.tirx.sqrt(base))
    if beta == 0.5:
        return root
    if beta == 0.75:
        return root * writer.tirx.sqrt(root)
    return writer.tirx.pow(base, writer.spread(beta))
