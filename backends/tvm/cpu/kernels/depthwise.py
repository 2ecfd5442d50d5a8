"""Depthwise convolution on blocked tensors: every channel has a filter of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .....ir.ops.window import Pair
from ...processor import AVX512, Processor
from .epilogue import Steps, apply, read_names
from .kernel import kind
from .layout import LANES, Batch, Packing, block_channels, blocks
from .windows import Column, Sum, Window, slide
from .writer import Operand, Writer, blocked, prim_func

__all__ = ["depthwise", "depthwise_filters", "filtered"]


def depthwise_filters(channels: int, kernel: Pair) -> Packing:
    """[C,1,KH,KW] as [CB,KH,KW,LANES]."""
    return Packing((blocks(channels), *kernel, LANES), lambda w: block_channels(w[:, 0]))


@kind("depthwise")
def depthwise(batch: Batch, channels: int, window: Window, steps: Steps = (), processor: Processor = AVX512) -> Any:
    """(A, W[CB,KH,KW,LANES], bias[CB,LANES], R..., D)."""
    others = [blocked(name, batch, channels, *window.out) for name in read_names(steps)]
    weights = [Operand("W", (blocks(channels), *window.kernel, LANES)), Operand("bias", (blocks(channels), LANES))]

    def body(writer: Writer, a: Any, w: Any, bias: Any, *rest: Any) -> None:
        *read, d = rest
        slide(writer, batch, channels, window, a, filtered(writer, w, bias, steps, read, d), processor)

    given = blocked("A", batch, channels, window.rows, window.cols)
    return prim_func([given, *weights, *others, blocked("D", batch, channels, *window.out)], body)


def filtered(writer: Writer, w: Any, bias: Any, steps: Steps, read: Sequence[Any], d: Any) -> Sum:
    """Products with a filter a channel on top of its bias, stored after the steps; these read `read` besides."""

    def finish(value: Any, at: tuple[Any, ...], column: Column) -> None:
        writer.store(d, apply(writer.vectors, steps, value, [writer.load(other, *at) for other in read]), *at)

    return Sum(
        lambda c: writer.load(bias, c),
        lambda c, k_row, k_col: writer.load(w, c, k_row, k_col),
        lambda total, x, factor: total + x * factor,
        finish,
    )
