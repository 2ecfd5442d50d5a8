"""Lowerings of the norms by a value's own statistics. Relax finds the variance as E[x^2]-E[x]^2, which cancels; here it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ....ir.graph import Node
from ....ir.ops.group import GROUP_NORM, INSTANCE_NORM, LAYER_NORM, MEAN_VARIANCE_NORM, TINY
from .relax_emitter import RelaxEmitter, dtype_name

__all__ = ["group_norm", "instance_norm", "layer_norm", "mean_variance_norm"]

PlaceOf = Callable[[Any], tuple[Any, ...]]  # from an element's place to that of something it goes with


@dataclass(frozen=True, slots=True)
class _Groups:
    """What shares a mean: `rows` is the shape of the statistics, `over` the extents summed over; `row` takes an element's
    place to that of its mean, `member` a row and a place in it to the element."""

    rows: Sequence[Any]
    over: Sequence[Any]
    row: PlaceOf
    member: Callable[[Any, Any], tuple[Any, ...]]


def instance_norm(emitter: RelaxEmitter, node: Node, x: Any, scale: Any, bias: Any) -> Any:
    op = INSTANCE_NORM.of(node)

    def groups(x: Any) -> _Groups:
        return _Groups(x.shape[:2], x.shape[2:], lambda at: at[:2], lambda row, k: (*row, *k))

    return _norm(emitter, node, groups, lambda at: (at[1],), op.epsilon, x, scale, bias)


def group_norm(emitter: RelaxEmitter, node: Node, x: Any, scale: Any, bias: Any) -> Any:
    op = GROUP_NORM.of(node)

    def groups(x: Any) -> _Groups:
        size = x.shape[1] // op.groups
        count = emitter.tirx.IntImm("int64", op.groups)
        return _Groups(
            (x.shape[0], count),
            (size, *x.shape[2:]),
            lambda at: (at[0], at[1] // size),
            lambda row, k: (row[0], row[1] * size + k[0], *k[1:]),
        )

    return _norm(emitter, node, groups, lambda at: (at[1],), op.epsilon, x, scale, bias)


def layer_norm(emitter: RelaxEmitter, node: Node, x: Any, scale: Any, bias: Any = None) -> Any:
    op = LAYER_NORM.of(node)
    axis = op.axis % node.typed.rank

    def groups(x: Any) -> _Groups:
        return _Groups(x.shape[:axis], x.shape[axis:], lambda at: at[:axis], lambda row, k: (*row, *k))

    return _norm(emitter, node, groups, lambda at: at[axis:], op.epsilon, x, scale, *(() if bias is None else (bias,)))


def mean_variance_norm(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    ops, op = emitter.ops, MEAN_VARIANCE_NORM.of(node)
    axes = [axis % node.typed.rank for axis in op.axes]
    if not axes:
        return ops.multiply(x, emitter.scalar(0, dtype_name(node.typed)))

    def bound(value: Any, what: str) -> Any:
        return emitter.builder.emit(value, f"{node.name}.{what}")

    centred = bound(ops.subtract(x, bound(ops.mean(x, axis=axes, keepdims=True), "mean")), "centred")
    spread = ops.sqrt(bound(ops.mean(ops.multiply(centred, centred), axis=axes, keepdims=True), "var"))
    return ops.divide(centred, ops.add(spread, emitter.scalar(TINY, str(x.ty.dtype))))


def _norm(emitter: RelaxEmitter, node: Node, groups: Callable[[Any], _Groups], weight: PlaceOf, epsilon: float, *operands: Any) -> Any:
    """`weight` takes an element's place to that of its scale and bias."""
    te, tirx = emitter.te, emitter.tirx

    def normalized(x: Any, scale: Any, *bias: Any, shape: Any) -> Any:
        of = groups(x)
        count = tirx.IntImm("int64", 1)
        for extent in of.over:
            count = count * extent
        count = count.astype(x.dtype)

        def summed(name: str, term: Callable[[Any, Any], Any]) -> Any:
            inner = [te.reduce_axis((0, extent), f"k{i}") for i, extent in enumerate(of.over)]

            def entry(*row: Any) -> Any:
                return te.sum(term(row, x[of.member(row, inner)]), axis=inner)

            return te.compute(of.rows, entry, name)

        total = summed("total", lambda row, value: value)

        def square(row: Any, value: Any) -> Any:
            centred = value - total[row] / count
            return centred * centred

        squares = summed("squares", square)

        def element(*at: Any) -> Any:
            row, place = of.row(at), weight(at)
            spread = te.sqrt(squares[row] / count + tirx.const(epsilon, x.dtype))
            y = (x[at] - total[row] / count) / spread * scale[place]
            return y + bias[0][place] if bias else y

        return te.compute(shape, element, node.kind.name)

    return emitter.compute(node, normalized, *operands)
