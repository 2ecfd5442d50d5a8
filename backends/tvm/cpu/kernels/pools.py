"""Pools of blocked tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...processor import AVX512, Processor
from .epilogue import Steps, apply
from .kernel import kind
from .layout import LANES, Batch, blocks
from .windows import Column, Sum, Window, slide, tap_rows
from .writer import Writer, blocked, greatest, prim_func

__all__ = ["avg_pool", "global_avg_pool", "global_max_pool", "max_pool"]

Combine = Callable[[Any], Callable[[Any, Any], Any]]  # with what TIR has
SUMS = 14  # at once in a global pool, so that none waits for itself


@kind("max pool")
def max_pool(batch: Batch, channels: int, window: Window, processor: Processor = AVX512) -> Any:
    """(A, D). Padding never wins, and a NaN always does."""

    def body(writer: Writer, a: Any, d: Any) -> None:
        def finish(value: Any, at: tuple[Any, ...], column: Column) -> None:
            writer.store(d, value, *at)

        lowest = writer.spread(-math.inf)
        slide(writer, batch, channels, window, a, Sum(lambda c: lowest, _no_weight, _greater(writer), finish), processor)

    return _pool(batch, channels, window, body)


@kind("avg pool")
def avg_pool(batch: Batch, channels: int, window: Window, count_include_pad: bool, processor: Processor = AVX512, steps: Steps = ()) -> Any:
    """(A, D), after steps that read nothing else. Positions that only ceil_mode adds are never counted."""

    def body(writer: Writer, a: Any, d: Any) -> None:
        def finish(value: Any, at: tuple[Any, ...], column: Column) -> None:
            cols = column.padded if count_include_pad else len(column.taps)
            count = writer.tirx.Cast("float32", _counted_rows(writer, window, at[2], count_include_pad) * cols)
            mean = value * writer.spread(writer.tirx.const(1.0, "float32") / count)
            writer.store(d, apply(writer.vectors, steps, mean, []), *at)

        zero = writer.spread(0.0)
        slide(writer, batch, channels, window, a, Sum(lambda c: zero, _no_weight, lambda total, x, _: total + x, finish), processor)

    return _pool(batch, channels, window, body)


def _counted_rows(writer: Writer, window: Window, y: Any, count_include_pad: bool) -> Any:
    if not count_include_pad:
        first, end = tap_rows(writer, window, y)
        return end - first
    rest = window.rows + window.pads[0] + window.pads[2] - 1 - y * window.strides[0]
    return writer.tirx.min(writer.tirx.floordiv(rest, writer.long(window.dilations[0])) + 1, writer.long(window.kernel[0]))


def _greater(writer: Writer) -> Callable[[Any, Any, Any], Any]:
    greater = greatest(writer.tirx)
    return lambda a, b, _: greater(a, b)


def _no_weight(*at: Any) -> None:
    return None


def _pool(batch: Batch, channels: int, window: Window, body: Callable[..., None]) -> Any:
    return prim_func([blocked("A", batch, channels, window.rows, window.cols), blocked("D", batch, channels, *window.out)], body)


@kind("global avg pool")
def global_avg_pool(batch: Batch, channels: int, rows: int, cols: int, steps: Steps = ()) -> Any:
    """(A, D[CB,n,1,1,LANES]), after steps that read nothing else."""

    def add(tirx: Any) -> Callable[[Any, Any], Any]:
        return lambda a, b: a + b

    return _global_pool(batch, channels, rows * cols, blocked("A", batch, channels, rows, cols), 0.0, add, 1.0 / (rows * cols), steps)


@kind("global max pool")
def global_max_pool(batch: Batch, channels: int, rows: int, cols: int) -> Any:
    """(A, D[CB,n,1,1,LANES]). A NaN wins."""
    return _global_pool(batch, channels, rows * cols, blocked("A", batch, channels, rows, cols), -math.inf, greatest, None)


def _global_pool(
    batch: Batch, channels: int, pixels: int, a: Any, start: float, combine: Combine, factor: float | None, steps: Steps = ()
) -> Any:
    """Several results at once, each of every so manieth pixel, and in the end one of all of them."""
    count = blocks(channels)
    width = max(w for w in range(1, SUMS + 1) if pixels % w == 0)

    def body(writer: Writer, a: Any, d: Any) -> None:
        lines = writer.alias(a, (count, pixels, LANES))
        take = combine(writer.tirx)
        with writer.each(batch, count, work=count * pixels * LANES) as (i, c):
            results = writer.registers(width)
            for j in range(width):
                writer.store(results, writer.spread(start), j)
            with writer.loop(pixels // width) as part:
                for j in range(width):
                    writer.store(results, take(results[(j, writer.lanes())], writer.load(lines, i, c, part * width + j)), j)
            result = writer.pairwise([writer.load(results, j) for j in range(width)], take)
            value = result if factor is None else result * writer.spread(factor)
            writer.store(d, apply(writer.vectors, steps, value, []), i, c, 0, 0)

    return prim_func([a, blocked("D", batch, channels, 1, 1)], body)
