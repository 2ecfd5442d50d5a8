"""Lowering of sums named by letters: one sum of products for every element of the result."""

from __future__ import annotations

import functools
from typing import Any

from ....ir.graph import Node
from ....ir.ops.einsum import EINSUM, labels, sizes_of
from .relax_emitter import RelaxEmitter

__all__ = ["einsum"]


def einsum(emitter: RelaxEmitter, node: Node, *operands: Any) -> Any:
    op, types = EINSUM.of(node), tuple(operand.typed for operand in node.inputs)
    named, kept = labels(op.equation, tuple(type_.rank for type_ in types))
    sizes = sizes_of(op, types)
    summed = [label for label in sizes if label not in kept]
    te = emitter.te

    def product(*xs: Any, shape: Any) -> Any:
        extents = {label: size for x, labelled in zip(xs, named, strict=True) for label, size in zip(labelled, x.shape, strict=True)}
        wide = {
            label: size
            for i, x in enumerate(xs)
            for label, size in zip(named[i], x.shape, strict=True)
            if sizes[label] != 1 != _number(size)
        }
        inner = {label: te.reduce_axis((0, (extents | wide)[label]), f"s{i}") for i, label in enumerate(summed)}

        def element(*at: Any) -> Any:
            places = {**dict(zip(kept, at, strict=True)), **inner}
            factors = [x[_places(emitter, places, named[i], types[i].shape)] for i, x in enumerate(xs)]
            value = functools.reduce(lambda a, b: a * b, factors)
            return te.sum(value, axis=list(inner.values())) if inner else value

        return te.compute(shape, element, "einsum")

    return emitter.compute(node, product, *operands)


def _number(size: Any) -> int | None:
    """Of an extent of a tensor expression, unless it is a named size."""
    return getattr(size, "value", None)


def _places(emitter: RelaxEmitter, places: dict[str, Any], named: tuple[str, ...], shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """An axis of one element stands still where another operand broadcasts it."""
    return tuple(emitter.dim(0) if dim == 1 else places[label] for label, dim in zip(named, shape, strict=True))
