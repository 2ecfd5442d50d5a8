"""constant-places: what is read and written at places that are known needs no indices.

PyTorch's exporters write x[:, [2, 1, 0]] as a gather_nd between two transposes, and y[..., 0:2] = z as a scatter_nd of the coordinates of
every element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.ops.indexed import GATHER_ELEMENTS, GATHER_ND, SCATTER_ELEMENTS, SCATTER_ND
from ..ir.ops.select import GATHER, Gather
from ..ir.ops.shape import CONCAT, RESHAPE, SLICE, TRANSPOSE, Concat, Reshape, Slice, Transpose
from ..ir.types import Array, TensorType
from .analysis.places import grid, known_places, run
from .rewriting.ledger import Ledger
from .rewriting.rewriter import Match, Pat, Rule, rewrite

__all__ = ["constant_places"]

MANY = 16  # indices that take more of a file than the bounds of a slice


# --- reading ---------------------------------------------------------------------------------------------------------


def gather_run(m: Match) -> Node | None:
    """gather of every second row, say, is a slice."""
    x, indices = m.root.inputs
    axis = GATHER.of(m.root).axis % x.typed.rank
    places = known_places(indices)
    if places is None or (places.size < MANY and not _is_all(places, x.typed.shape[axis])) or run(places, x.typed.shape[axis]) is None:
        return None
    return _taken(m, x, places, axis)


def gather_grid(m: Match) -> Node | None:
    """gather_nd whose indices are those of a grid: a gather for each axis, where that is no more than there was with transposes around."""
    nd = m.root if m.root.kind is GATHER_ND else m.root.inputs[0]
    if nd.kind is not GATHER_ND or (nd is not m.root and m.uses(nd) != 1) or GATHER_ND.of(nd).batch_dims:
        return None
    view, indices = nd.inputs
    x, axes = _untransposed(m, view)
    places = known_places(indices)
    parts = grid(places, view.typed.shape[: places.shape[-1]]) if places is not None else None
    if parts is None:
        return None
    shown = [(axis, i) for axis, part in zip(axes, parts, strict=False) for i in range(part.ndim)]
    shown += [(axis, 0) for axis in axes[len(parts) :]]
    if nd is not m.root:
        shown = [shown[axis] for axis in TRANSPOSE.of(m.root).perm]
    ranks = {axis: part.ndim for axis, part in zip(axes, parts, strict=False)}
    natural = [(axis, i) for axis in range(len(axes)) for i in range(ranks.get(axis, 1))]
    wanted = [(axis, part) for axis, part in zip(axes, parts, strict=False) if not _is_all(part, x.typed.shape[axis])]
    before = 1 + (x is not view) + (nd is not m.root)
    if len(wanted) > before or (shown != natural and len(wanted) + 1 >= before):
        return None
    m.covered.extend(node for node in (nd, view) if node not in (m.root, x))
    y = x
    for axis, part in sorted(wanted, key=lambda each: -each[0]):
        y = _gathered(m, y, part, axis)
    if y is x and shown == natural:
        return None if m.is_output else x
    return y if shown == natural else _transposed(m, y, [natural.index(label) for label in shown])


def gather_rows(m: Match) -> Node | None:
    """gather_elements that takes whole rows: the indices are the same all along the other axes, which are as long as those of x."""
    x, indices = m.root.inputs
    axis = GATHER_ELEMENTS.of(m.root).axis % x.typed.rank
    part = _rows(indices, x, axis)
    return None if part is None else _taken(m, x, part, axis)


# --- writing ---------------------------------------------------------------------------------------------------------


def scatter_box(m: Match) -> Node | None:
    """scatter_nd of neighbouring places of one axis, whole on the others: what stands before, the updates, what stands after."""
    nd = m.root if m.root.kind is SCATTER_ND else m.root.inputs[0]
    if nd.kind is not SCATTER_ND or (nd is not m.root and m.uses(nd) != 1) or SCATTER_ND.of(nd).reduction != "none":
        return None
    view, indices, updates = nd.inputs
    x, axes = _untransposed(m, view)
    places = known_places(indices)
    parts = grid(places, view.typed.shape[: places.shape[-1]]) if places is not None else None
    if parts is None or any(part.ndim > 1 for part in parts):
        return None
    cut = _cut(x, [(axis, part.reshape(-1)) for axis, part in zip(axes, parts, strict=False)])
    if cut is None:
        return None
    perm = list(TRANSPOSE.of(m.root).perm) if nd is not m.root else list(range(len(axes)))
    shown = [axes[axis] for axis in perm]
    m.covered.extend(node for node in (nd, view) if node not in (m.root, x))
    if any(part.ndim == 0 for part in parts):
        whole = [dim if j >= len(parts) else parts[j].size for j, dim in enumerate(view.typed.shape)]
        updates = m.node("kept", RESHAPE, Reshape(tuple(whole)), (updates,))
    y = _between(m, x, _transposed(m, updates, [axes.index(axis) for axis in range(len(axes))]), *cut)
    if y is nd.inputs[2] and m.is_output:
        return None
    return y if shown == sorted(shown) else _transposed(m, y, shown)


def scatter_rows(m: Match) -> Node | None:
    """scatter_elements that puts whole rows next to each other."""
    x, indices, updates = m.root.inputs
    op = SCATTER_ELEMENTS.of(m.root)
    axis = op.axis % x.typed.rank
    part = _rows(indices, x, axis) if op.reduction == "none" else None
    cut = _cut(x, [(axis, part)]) if part is not None else None
    y = _between(m, x, updates, *cut) if cut is not None else None
    return None if y is updates and m.is_output else y


def _cut(x: Node, parts: Sequence[tuple[int, Array]]) -> tuple[int, int, int] | None:
    """The one axis that the indices are not all of, its first place and the last plus one; any axis where they are all of x."""
    bounds = [(axis, run(part, x.typed.shape[axis])) for axis, part in parts]
    found = [(axis, each[0], each[1]) for axis, each in bounds if each is not None and each[2] == 1]
    if len(found) < len(parts):
        return None
    partial = [each for each in found if each[1:] != (0, x.typed.shape[each[0]])]
    return (partial or found)[0] if len(partial) < 2 else None


def _between(m: Match, x: Node, updates: Node, axis: int, start: int, end: int) -> Node:
    size = x.typed.shape[axis]
    before = [m.node("before", SLICE, _slice(axis, 0, start, 1), (x,))] if start else []
    after = [m.node("after", SLICE, _slice(axis, end, size, 1), (x,))] if isinstance(size, int) and end < size else []
    parts = (*before, updates, *after)
    return m.node("joined", CONCAT, Concat(axis), parts) if len(parts) > 1 else updates


# --- what that leaves ------------------------------------------------------------------------------------------------


def slice_of_concat(m: Match) -> Node | None:
    """The parts that a slice takes, where it cuts none of them; or its cut of the one that it lies in."""
    joined, bounds = m.root.inputs[0], _bounds(m.root)
    if joined.kind is not CONCAT or bounds is None or bounds[0] != CONCAT.of(joined).axis % joined.typed.rank:
        return None
    axis, first, last = bounds
    at, taken = 0, list[Node]()
    for part in joined.inputs:
        size = part.typed.shape[axis]
        if not isinstance(size, int):
            return None
        start, end = max(first, at) - at, min(last, at + size) - at
        if start < end:
            taken.append(part if (start, end) == (0, size) else m.node("part", SLICE, _slice(axis, start, end, 1), (part,)))
        at += size
    if any(part.kind is SLICE and part not in joined.inputs for part in taken) and len(taken) > 1:
        return None
    whole = taken[0] if len(taken) == 1 else m.node("parts", CONCAT, Concat(axis), tuple(taken))
    return None if whole in joined.inputs and m.is_output else whole


def slice_of_slice(m: Match) -> Node | None:
    inner, bounds = m.root.inputs[0], _bounds(m.root)
    before = _bounds(inner) if inner.kind is SLICE else None
    if bounds is None or before is None or bounds[0] != before[0]:
        return None
    axis, first, last = bounds
    return m.root.like(op=_slice(axis, before[1] + first, before[1] + last, 1), inputs=inner.inputs)


def _bounds(node: Node) -> tuple[int, int, int] | None:
    """The axis, the first place and the last plus one, of a slice in steps of 1 that cuts one axis and takes something."""
    op, x = SLICE.of(node), node.inputs[0].typed
    size = x.shape[op.axes[0]] if len(op.axes) == 1 and op.steps in ((), (1,)) else None
    if not (isinstance(size, int) and isinstance(op.starts[0], int) and isinstance(op.ends[0], int)):
        return None
    first, last, _ = slice(op.starts[0], op.ends[0]).indices(size)
    return (op.axes[0] % x.rank, first, last) if first < last else None


# --- pieces ----------------------------------------------------------------------------------------------------------


def _rows(indices: Node, x: Node, axis: int) -> Array | None:
    """Indices of whole rows: one for each place on `axis`."""
    if any(a != b for i, (a, b) in enumerate(zip(indices.typed.shape, x.typed.shape, strict=True)) if i != axis):
        return None
    places, size = known_places(indices), x.typed.shape[axis]
    if places is None or not isinstance(size, int):
        return None
    rows = np.moveaxis(places, axis, -1).reshape(-1, places.shape[axis])
    first: Array = rows[0]
    return np.where(first < 0, first + size, first) if (rows == first).all() else None


def _is_all(part: Array, size: Any) -> bool:
    return isinstance(size, int) and run(part, size) == (0, size, 1)


def _slice(axis: int, start: int, end: Any, step: int) -> Slice:
    return Slice((axis,), (start,), (end,), () if step == 1 else (step,))


def _taken(m: Match, x: Node, part: Array, axis: int) -> Node | None:
    """`part` of x; x itself where that is all of it, unless the name is an output's."""
    if _is_all(part, x.typed.shape[axis]):
        return None if m.is_output else x
    return _gathered(m, x, part, axis)


def _gathered(m: Match, x: Node, part: Array, axis: int) -> Node:
    bounds = run(part, x.typed.shape[axis])
    if bounds is not None:
        return m.node("slice", SLICE, _slice(axis, *bounds), (x,))
    return m.node("gather", GATHER, Gather(axis), (x, _indices(m, part)))


def _indices(m: Match, part: Array) -> Node:
    values = part.astype(np.int64)
    return m.param("places", TensorType("i64", values.shape), lambda: values)


def _untransposed(m: Match, view: Node) -> tuple[Node, list[int]]:
    """What a transpose that nobody else reads was made of, and the axis of it that each of its own is."""
    if view.kind is TRANSPOSE and m.uses(view) == 1:
        return view.inputs[0], list(TRANSPOSE.of(view).perm)
    return view, list(range(view.typed.rank))


def _transposed(m: Match, x: Node, perm: list[int]) -> Node:
    """x with its axes in this order, of what x was transposed from where nobody else reads that."""
    if perm == sorted(perm):
        return x
    if x.kind is TRANSPOSE and m.uses(x) <= 1:
        m.covered.append(x)
        x, perm = x.inputs[0], [TRANSPOSE.of(x).perm[axis] for axis in perm]
    return x if perm == sorted(perm) else m.node("turned", TRANSPOSE, Transpose(tuple(perm)), (x,))


# first: the same with the transposes around it, which then go
AROUND = (Rule("gather-by-axis", Pat((TRANSPOSE,)), gather_grid), Rule("scatter-to-concat", Pat((TRANSPOSE,)), scatter_box))
RULES = (
    Rule("gather-to-slice", Pat((GATHER,)), gather_run),
    Rule("gather-by-axis", Pat((GATHER_ND,)), gather_grid),
    Rule("gather-rows", Pat((GATHER_ELEMENTS,)), gather_rows),
    Rule("scatter-to-concat", Pat((SCATTER_ND,)), scatter_box),
    Rule("scatter-rows", Pat((SCATTER_ELEMENTS,)), scatter_rows),
    Rule("slice-of-concat", Pat((SLICE,)), slice_of_concat),
    Rule("slice-of-slice", Pat((SLICE,)), slice_of_slice),
)


def constant_places(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %y = gather_nd(%x, %i), where %i are [2], [3], [4]    After: %y = slice(%x) {axes=[0], starts=[2], ends=[5]}"""
    return rewrite(rewrite(graph, AROUND, ledger), RULES, ledger)
