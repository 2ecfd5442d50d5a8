"""Lowerings of products of bytes whose sums are 32 bits wide."""

from __future__ import annotations

from typing import Any

from ....ir.graph import Node
from .conv import window_sums
from .relax_emitter import RelaxEmitter, dtype_name

__all__ = ["conv_integer", "matmul_integer"]


def conv_integer(emitter: RelaxEmitter, node: Node, x: Any, w: Any, *zeros: Any) -> Any:
    dtype = dtype_name(node.typed)

    def factors(x: Any, w: Any, filter_: Any, *zeros: Any) -> tuple[Any, Any]:
        wide = [x.astype(dtype), w.astype(dtype)]
        off = [_at(zero, [filter_]) for zero in zeros]
        return tuple(value - zero.astype(dtype) for value, zero in zip(wide, off, strict=False)) + tuple(wide[len(off) :])

    return emitter.compute(node, window_sums(emitter, node, dtype, factors), x, w, *zeros)


def matmul_integer(emitter: RelaxEmitter, node: Node, a: Any, b: Any, *zeros: Any) -> Any:
    te, dtype = emitter.te, dtype_name(node.typed)
    by_row = len(zeros) > 0 and node.inputs[2].typed.rank == 1

    def product(a: Any, b: Any, *zeros: Any, shape: Any) -> Any:
        inner = te.reduce_axis((0, a.shape[-1]), "inner")

        def element(*at: Any) -> Any:
            *batch, row, column = at
            places = ([*batch, row, inner], [*batch, inner, column])
            factors = [_at(x, place).astype(dtype) for x, place in zip((a, b), places, strict=True)]
            for i, zero in enumerate(zeros):
                of_row = i == 0 and by_row
                factors[i] = factors[i] - _at(zero, [row] if of_row else places[i]).astype(dtype)
            return te.sum(factors[0] * factors[1], axis=inner)

        return te.compute(shape, element, "matmul_integer")

    return emitter.compute(node, product, a, b, *zeros)


def _at(x: Any, place: list[Any]) -> Any:
    """The element that broadcasting has at a place: the last axes, and 0 where there is one."""
    axes = place[len(place) - len(x.shape) :]
    return x[tuple(0 if _is_one(extent) else i for i, extent in zip(axes, x.shape, strict=True))]


def _is_one(extent: Any) -> bool:
    return getattr(extent, "value", None) == 1
