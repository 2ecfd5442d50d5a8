"""Lowerings of lengths, and of sums of what is made of each element, by Relax's reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops import lengths
from .reduce import extreme_of, is_of_nothing, of_nothing
from .relax_emitter import Lowering, RelaxEmitter

__all__ = ["LENGTHS"]

Each = Callable[[RelaxEmitter, Any], Any]


def _square(emitter: RelaxEmitter, x: Any) -> Any:
    return emitter.ops.multiply(x, x)


def _abs(emitter: RelaxEmitter, x: Any) -> Any:
    return emitter.ops.abs(x)


def _root(emitter: RelaxEmitter, x: Any) -> Any:
    return emitter.ops.sqrt(x)


def _log(emitter: RelaxEmitter, x: Any) -> Any:
    return emitter.ops.log(x)


def _same(emitter: RelaxEmitter, x: Any) -> Any:
    return x


def summed(before: Each, after: Each) -> Lowering:
    def row(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
        terms = before(emitter, x)
        return after(emitter, emitter.ops.sum(terms, axis=_axes(node), keepdims=node.op.keepdims) if node.inputs[0].typed.rank else terms)

    return row


def log_sum_exp(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """The greatest value is taken out first; an infinite one is left in, since inf - inf would be NaN."""
    te, tirx = emitter.te, emitter.tirx
    axes = _axes(node)
    if not axes:
        return x
    if is_of_nothing(node, axes):  # of which the sum is 0
        return of_nothing(emitter, node, greatest=True)

    def function(x: Any, shape: Any) -> Any:
        row = [tirx.IntImm("int64", 1) if axis in axes else size for axis, size in enumerate(x.shape)]
        greatest = extreme_of(emitter, greatest=True, may_be_nan=True)

        def over(term: Callable[[Any, Any], Any], reducer: Any, name: str) -> Any:
            inner = {axis: te.reduce_axis((0, x.shape[axis]), f"{name}{axis}") for axis in axes}

            def entry(*at: Any) -> Any:
                return reducer(term(x[tuple(inner.get(i, p) for i, p in enumerate(at))], at), axis=list(inner.values()))

            return te.compute(row, entry, name)

        best = over(lambda value, at: value, greatest, "best")
        infinite = tirx.const(float("inf"), x.dtype)

        def finite(*at: Any) -> Any:
            return tirx.Select(te.abs(best[at]) == infinite, tirx.const(0, x.dtype), best[at])

        most = te.compute(row, finite, "most")
        total = over(lambda value, at: te.exp(value - most[at]), te.sum, "total")

        def element(*at: Any) -> Any:
            kept = iter(at)
            place = at if node.op.keepdims else tuple(tirx.IntImm("int64", 0) if i in axes else next(kept) for i in range(len(x.shape)))
            return te.log(total[place]) + most[place]

        return te.compute(shape, element, node.kind.name)

    return emitter.compute(node, function, x)


def lp_normalization(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """A length of 0 divides nothing."""
    op, ops = lengths.LP_NORMALIZATION.of(node), emitter.ops
    total = ops.sum(_abs(emitter, x) if op.p == 1 else _square(emitter, x), axis=[op.axis % node.typed.rank], keepdims=True)
    length = emitter.builder.emit(total if op.p == 1 else ops.sqrt(total), f"{node.name}.length")
    one, zero = (emitter.scalar(value, str(x.ty.dtype)) for value in (1, 0))
    empty = ops.equal(length, zero)
    return ops.where(empty, zero, ops.divide(x, ops.where(empty, one, length)))


def _axes(node: Node) -> list[int]:
    rank = node.inputs[0].typed.rank
    return sorted(axis % rank for axis in node.op.axes) or list(range(rank))


LENGTHS: dict[OpDef[Any], Lowering] = {
    lengths.REDUCE_L1: summed(_abs, _same),
    lengths.REDUCE_L2: summed(_square, _root),
    lengths.REDUCE_SUM_SQUARE: summed(_square, _same),
    lengths.REDUCE_LOG_SUM: summed(_same, _log),
    lengths.REDUCE_LOG_SUM_EXP: log_sum_exp,
    lengths.LP_NORMALIZATION: lp_normalization,
}
