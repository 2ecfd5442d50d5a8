"""The rule for attention: softmax between two products of computed values, with what moves their operands and the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ....ir.dims import Dim, Expr, content
from ....ir.graph import Graph, Node
from ....ir.ops.activation import SOFTMAX
from ....ir.ops.elementwise import ADD, DIV, MUL
from ....ir.ops.linear import MATMUL
from ....ir.ops.shape import RESHAPE, RESHAPES, TRANSPOSE
from ....ir.types import Array
from .kernels.attention import Heads, Stride, Strided, attention
from .laid import Argument, ParamValues
from .plain import shown
from .reading import Pattern, contiguous, pattern_of
from .work import Surroundings, Work, only_reader

__all__ = ["scores_of_attention"]

MOST_MASK = 64 << 20  # bytes


@dataclass(frozen=True, slots=True)
class _Scores:
    """From the product of queries and keys to their softmax: what is multiplied and added on the way, masks with the shape they meet."""

    covers: tuple[Node, ...]
    scales: tuple[tuple[Node, bool], ...]
    masks: tuple[tuple[Node, tuple[Dim, ...]], ...]


def scores_of_attention(around: Surroundings, node: Node) -> Work | None:
    """softmax(scale Q K^T + mask) V, where nothing else reads what lies in between."""
    scores = _scores(around.graph, node)
    mixed = only_reader(around.graph, scores.covers[-1]) if scores is not None else None
    if scores is None or mixed is None or mixed.kind is not MATMUL or mixed.inputs[0] is not scores.covers[-1]:
        return None
    q, scales = _unscaled(node.inputs[0], scores.scales)
    k, scales = _unscaled(node.inputs[1], scales)
    v = mixed.inputs[1]
    if v.weights is not None or any(each.typed.rank not in (3, 4) or each.typed.shape[:-2] != node.typed.shape[:-2] for each in (q, k, v)):
        return None
    patterns = [pattern_of(around, q), _swapped(pattern_of(around, k)), pattern_of(around, v)]
    covers, made = _written(around.graph, mixed, [pattern.base for pattern in patterns])
    bases = [pattern.base for pattern in patterns]
    shapes = shown(*bases, covers[-1])
    heads = 1 if node.typed.rank == 3 else node.typed.shape[1]
    numbers = [heads, *node.typed.shape[-2:], q.typed.shape[-1], v.typed.shape[-1]]
    if shapes is None or any(base.weights is not None for base in bases) or not all(isinstance(number, int) for number in numbers):
        return None
    named = next((dim for dim in bases[0].typed.shape if isinstance(dim, Expr)), None)
    images = node.typed.shape[0]
    if isinstance(images, Expr) != (named is not None) or (named is not None and images != named):
        return None
    given = [_strided(pattern, shape, named) for pattern, shape in zip((*patterns, made), shapes, strict=True)]
    mask = _mask(node.name, scores.masks, node.typed.shape)
    if None in given or (scores.masks and mask is None):
        return None
    sizes = [number for number in numbers if isinstance(number, int)]
    argument, period = mask if mask is not None else (None, None)
    batch = None if isinstance(images, Expr) else images
    (heads, queries, keys, depth, width), (q_at, k_at, v_at, made_at) = sizes, (each for each in given if each is not None)
    size = Heads(batch, heads, queries, keys, depth, width, (q_at, k_at, v_at), made_at, period, around.processor)
    scale = Argument(f"{node.name}.scale", (1,), "f32", lambda values: _product(scales, values))
    arguments = (scale, argument) if argument is not None else (scale,)
    covered = tuple(sorted((*scores.covers, *covers), key=lambda each: around.graph.positions[each]))
    return Work(covered, attention.of(size), tuple(bases), arguments, plain=frozenset([*bases, covers[-1]]))


def _scores(graph: Graph, node: Node) -> _Scores | None:
    covers, scales, masks = [node], list[tuple[Node, bool]](), list[tuple[Node, tuple[Dim, ...]]]()
    while (reader := only_reader(graph, covers[-1])) is not None:
        value = covers[-1]
        covers.append(reader)
        if reader.kind is SOFTMAX:
            is_last = reader.op.axis in (-1, reader.typed.rank - 1) and reader.typed.shape == node.typed.shape
            return _Scores(tuple(covers), tuple(scales), tuple(masks)) if is_last else None
        if reader.kind is RESHAPE:
            if reader.typed.shape[-2:] != node.typed.shape[-2:]:
                return None
            continue
        other = next((operand for operand in reader.inputs if operand is not value), None)
        if other is None or other.weights is None or reader.typed.shape != value.typed.shape:
            return None
        if reader.kind is ADD:
            masks.append((other, reader.typed.shape))
        elif reader.kind in (MUL, DIV) and other.typed.numel == 1 and not masks and reader.inputs[0] is value:
            scales.append((other, reader.kind is DIV))
        else:
            return None
    return None


def _unscaled(x: Node, scales: tuple[tuple[Node, bool], ...]) -> tuple[Node, tuple[tuple[Node, bool], ...]]:
    """A value before it was multiplied by single numbers."""
    while x.kind in (MUL, DIV) and (other := x.inputs[1]).weights is not None and other.typed.numel == 1 and x.inputs[0].type == x.type:
        scales = (*scales, (other, x.kind is DIV))
        x = x.inputs[0]
    return x, scales


def _product(scales: Iterable[tuple[Node, bool]], values: ParamValues) -> Array:
    factors = [(values(node).astype(np.float64).ravel(), is_below) for node, is_below in scales]
    return np.prod([1 / each if is_below else each for each, is_below in factors], axis=0).astype(np.float32).reshape(1)


def _swapped(at: Pattern) -> Pattern:
    """With the last two axes the other way round."""
    shape, strides = list(at.shape), list(at.strides)
    shape[-2:], strides[-2:] = shape[:-3:-1], strides[:-3:-1]
    return Pattern(at.base, tuple(shape), tuple(strides), at.offset)


def _written(graph: Graph, node: Node, read: Sequence[Node]) -> tuple[list[Node], Pattern]:
    """A result with what alone moves it, and how its elements lie in the last of those."""
    covers, shape, perm = [node], node.typed.shape, list(range(node.typed.rank))
    reader = only_reader(graph, node)
    if reader is not None and reader.kind is TRANSPOSE:
        covers.append(reader)
        shape, perm = reader.typed.shape, list(TRANSPOSE.of(reader).perm)
    while (reader := only_reader(graph, covers[-1])) is not None and reader.kind in RESHAPES and shown(*read, reader) is not None:
        covers.append(reader)
    inner = contiguous(shape)
    return covers, Pattern(covers[-1], node.typed.shape, tuple(inner[perm.index(axis)] for axis in range(node.typed.rank)))


def _strided(at: Pattern, shape: tuple[int | None, ...], named: Dim | None) -> Strided | None:
    """A pattern of three axes has a single head."""
    axes = [at.strides[0], *((0,) if len(at.strides) == 3 else ()), *at.strides[1:]]
    found = [_stride(stride, named) for stride in (*axes, at.offset)]
    if None in found:
        return None
    numbers = [stride for stride in found if stride is not None]
    return Strided(shape, (numbers[0], numbers[1], numbers[2], numbers[3]), numbers[4])


def _stride(stride: Dim, named: Dim | None) -> Stride | None:
    """In elements, and in those times the size that has a name."""
    if isinstance(stride, int):
        return stride, 0
    if not isinstance(named, Expr):
        return None
    (times, rest), (unit, one) = content(stride), content(named)
    return (0, times // unit) if rest == one and times % unit == 0 else None


def _mask(name: str, masks: Sequence[tuple[Node, tuple[Dim, ...]]], scores: tuple[Dim, ...]) -> tuple[Argument, tuple[int, int]] | None:
    """The sum of all masks for so many images and heads, after which it comes again; None where it does not, or would take too much."""
    heads, last = (1 if len(scores) == 3 else scores[1]), scores[-2:]
    found: list[tuple[Node, tuple[int, ...], tuple[int, int]]] = []
    for node, shape in masks:
        met = (*shape[:1], 1, *shape[1:]) if len(scores) == 3 and len(shape) == 3 else shape
        own = (*node.typed.concrete()[:-2], *((1,) if met is not shape and node.typed.rank == 3 else ()), *node.typed.concrete()[-2:])
        own = (1,) * (len(met) - len(own)) + own
        first = next((axis for axis in range(len(met) - 3) if own[axis] != 1), len(met) - 3)
        images = met[first:-3]
        if len(met) < 3 or met[-3] != heads or not all(isinstance(dim, int) for dim in images):
            return None
        grown = (*(dim for dim in images if isinstance(dim, int)), *own[-3:])
        found.append((node, own[first:], (math.prod(grown[:-3]), own[-3])))
    if not found or not all(isinstance(dim, int) for dim in last):
        return None
    period = (max(images for *_, (images, _) in found), max(rows for *_, (_, rows) in found))
    if any(images not in (1, period[0]) for *_, (images, _) in found):
        return None
    full = (*period, *(dim for dim in last if isinstance(dim, int)))
    if 4 * math.prod(full) > MOST_MASK:
        return None

    def total(values: ParamValues) -> Array:
        whole = np.zeros(full, np.float64)
        for (node, own, (images, _)), (_, shape) in zip(found, masks, strict=True):
            lead = shape[len(shape) - len(own) : -3] if len(own) > 3 else ()
            grown = np.broadcast_to(values(node).reshape(own), (*(dim for dim in lead if isinstance(dim, int)), *own[-3:]))
            whole += grown.reshape(images, *own[-3:])
        return whole.astype(np.float32)

    return Argument(f"{name}.mask", full, "f32", total), period
