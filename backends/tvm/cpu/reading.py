"""How a value lies within another that it was moved from: strides, by which a kernel reads the one where the other would be copied."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ....ir.dims import Dim
from ....ir.graph import Node
from ....ir.ops.select import GATHER
from ....ir.ops.shape import FLATTEN, RESHAPE, SLICE, TRANSPOSE
from .work import Surroundings

__all__ = ["Pattern", "contiguous", "pattern_of"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Element i of a value of this `shape` is that of `base`, in its row-major order, at `offset` + i * `strides`."""

    base: Node
    shape: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    offset: Dim = 0


def contiguous(shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """Strides of a value in row-major order."""
    return tuple(math.prod(shape[axis + 1 :], start=1) for axis in range(len(shape)))


def pattern_of(around: Surroundings, node: Node) -> Pattern:
    """From the first value behind it that was not merely moved; at the worst the node itself.

    What a kernel computes together with others is there as it leaves it, and so is what was moved out of blocks.
    """
    chain: list[Node] = []
    base = node
    while base.kind in MOVES and base not in around.joint and (base is node or base.inputs[0] not in around.in_blocks):
        chain.append(base)
        base = base.inputs[0]
    while True:
        pattern: Pattern | None = Pattern(base, base.typed.shape, contiguous(base.typed.shape))
        for moved in reversed(chain):
            pattern = MOVES[moved.kind](pattern, moved)
            if pattern is None:
                break
        if pattern is not None:
            return pattern
        base = chain.pop()  # what is moved in a way that strides cannot say is a base itself


def _transposed(at: Pattern, node: Node) -> Pattern:
    perm = TRANSPOSE.of(node).perm
    return Pattern(at.base, tuple(at.shape[axis] for axis in perm), tuple(at.strides[axis] for axis in perm), at.offset)


def _sliced(at: Pattern, node: Node) -> Pattern | None:
    op, shape, strides, offset = SLICE.of(node), list(at.shape), list(at.strides), at.offset
    for axis, start, end, step in zip(op.axes, op.starts, op.ends, op.steps or (1,) * len(op.axes), strict=True):
        extent = shape[axis]
        if not (isinstance(extent, int) and isinstance(start, int) and isinstance(end, int)):
            return None
        first, last, by = slice(start, end, step).indices(extent)
        shape[axis] = len(range(first, last, by))
        offset = offset + strides[axis] * first
        strides[axis] = strides[axis] * by
    return Pattern(at.base, tuple(shape), tuple(strides), offset)


def _picked(at: Pattern, node: Node) -> Pattern | None:
    """By one index that is known."""
    indices, axis = node.inputs[1], GATHER.of(node).axis % len(at.shape)
    extent = at.shape[axis]
    if (
        indices.weights is None
        or indices.weights.is_missing
        or indices.typed.numel != 1
        or indices.typed.rank
        or not isinstance(extent, int)
    ):
        return None
    index = int(indices.weights.array())
    if not -extent <= index < extent:
        return None
    offset = at.offset + at.strides[axis] * (index % extent)
    return Pattern(at.base, at.shape[:axis] + at.shape[axis + 1 :], at.strides[:axis] + at.strides[axis + 1 :], offset)


def _reshaped(at: Pattern, node: Node) -> Pattern | None:
    """Axes that follow each other may become one, and one may be cut into several; None where elements lie otherwise."""
    old = [(extent, stride) for extent, stride in zip(at.shape, at.strides, strict=True) if extent != 1]
    new = [extent for extent in node.typed.shape if extent != 1]
    made: list[Dim] = []
    while old and new:
        (extent, stride), wanted = old.pop(0), list[Dim]([new.pop(0)])
        while extent != math.prod(wanted, start=1):
            if _is_less(math.prod(wanted, start=1), extent):
                if not new:
                    return None
                wanted.append(new.pop(0))
            else:
                if not old or old[0][1] * old[0][0] != stride:
                    return None
                extent, stride = extent * old[0][0], old.pop(0)[1]
        made += [stride * inner for inner in contiguous(tuple(wanted))]
    if old or new:
        return None
    left = iter(made)
    return Pattern(at.base, node.typed.shape, tuple(0 if extent == 1 else next(left) for extent in node.typed.shape), at.offset)


def _is_less(a: Dim, b: Dim) -> bool:
    """As far as a reshape asks: a number is less than what has names."""
    return a < b if isinstance(a, int) and isinstance(b, int) else isinstance(a, int)


MOVES = {TRANSPOSE: _transposed, SLICE: _sliced, GATHER: _picked, RESHAPE: _reshaped, FLATTEN: _reshaped}
