"""fold-shapes: reshapes, transposes and spreads that come to fewer. Exact: none computes anything.

Attention as frameworks export it splits heads, turns, and puts axes of one element in and out, one operator at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..ir.dims import Dim
from ..ir.errors import ShapeError
from ..ir.graph import Graph, Node
from ..ir.ops.leaf import PARAM
from ..ir.ops.rearrange import EXPAND
from ..ir.ops.reduce import REDUCTIONS
from ..ir.ops.select import GATHER
from ..ir.ops.shape import RESHAPE, RESHAPES, SLICE, TRANSPOSE, Reshape, Slice, Transpose
from ..ir.verifier import infer_type
from .analysis.places import known_places
from .drop_identity import RULES as MERGES
from .rewriting.ledger import Ledger
from .rewriting.rewriter import ANY, Match, Pat, Rule, rewrite

__all__ = ["fold_shapes"]


def turn_of_ones(m: Match) -> Node | None:
    """A transpose that leaves the axes of more than one element in their order is a reshape."""
    shape = m.root.inputs[0].typed.shape
    moved = [axis for axis in TRANSPOSE.of(m.root).perm if shape[axis] != 1]
    if moved != sorted(moved) or not _is_plain(m.root.typed.shape):
        return None
    return m.root.like(kind=RESHAPE, op=Reshape(m.root.typed.shape))


def ones_before_turn(m: Match) -> Node | None:
    """reshape, transpose, reshape: where the last only puts axes of one element in or out, the first can do that."""
    turn, root = m.root.inputs[0], m.root
    first = turn.inputs[0] if turn.kind is TRANSPOSE and m.uses(turn) == 1 else None
    if first is None or first.kind not in RESHAPES or m.uses(first) != 1:
        return None
    shaped = _shaped_first(m, turn, root, (first, turn))
    return root.like(kind=TRANSPOSE, op=Transpose(shaped[1]), inputs=shaped[:1]) if shaped else None


def turns_around_ones(m: Match) -> Node | None:
    """transpose, reshape, transpose: where the reshape only puts axes of one element in or out, it can go first and the others are one."""
    middle = m.root.inputs[0]
    turn = middle.inputs[0] if middle.kind in RESHAPES and m.uses(middle) == 1 else None
    if turn is None or turn.kind is not TRANSPOSE or m.uses(turn) != 1:
        return None
    shaped = _shaped_first(m, turn, middle, (turn, middle))
    if shaped is None:
        return None
    reshaped, perm = shaped
    return m.root.like(op=Transpose(tuple(perm[axis] for axis in TRANSPOSE.of(m.root).perm)), inputs=(reshaped,))


def _shaped_first(m: Match, turn: Node, shaping: Node, covered: tuple[Node, ...]) -> tuple[Node, tuple[int, ...]] | None:
    """A reshape before the turn in place of `shaping` after it, and how the turn goes then; `covered` nodes give way, the first one's
    operand is reshaped.
    """
    earlier = _earlier(turn, shaping.typed.shape)
    if earlier is None:
        return None
    shape, perm = earlier
    m.covered.extend(covered)
    return m.node("shaped", RESHAPE, Reshape(shape), covered[0].inputs), perm


def picked_parts(m: Match) -> Node | None:
    """A reshape of one place of an axis of which others read the others: of a slice, so that all of them are one cut."""
    picked = m.root.inputs[0]
    if picked.kind is not GATHER or m.uses(picked) != 1 or picked.inputs[1].typed.rank or picked.inputs[1].kind is not PARAM:
        return None
    (x, places), axis = picked.inputs, GATHER.of(picked).axis % picked.inputs[0].typed.rank
    size, place = x.typed.shape[axis], known_places(places)
    if place is None or not isinstance(size, int) or m.uses(x) != size or size < 2:
        return None
    m.covered.append(picked)
    at = int(place) % size
    part = m.node("part", SLICE, Slice((axis,), (at,), (at + 1,)), (x,))
    return m.root.like(kind=RESHAPE, op=Reshape(m.root.typed.shape), inputs=(part,))


def kept_axes(m: Match) -> Node | None:
    """A reduction whose axes come back as axes of one element keeps them."""
    reduced = m.root.inputs[0]
    if reduced.kind not in REDUCTIONS or m.uses(reduced) != 1 or reduced.op.keepdims:
        return None
    kept = reduced.like(op=replace(reduced.op, keepdims=True))
    if infer_type(kept) != m.root.type:
        return None
    m.covered.append(reduced)
    return kept.like(name=m.root.name, type=m.root.type)


def needless_spread(m: Match) -> Node | None:
    """What is computed element by element spreads its operands by itself."""
    root = m.root
    if not root.kind.facts.pointwise or len(root.inputs) < 2:
        return None
    for i, operand in enumerate(root.inputs):
        if operand.kind is not EXPAND:
            continue
        lean = root.like(inputs=(*root.inputs[:i], operand.inputs[0], *root.inputs[i + 1 :]))
        try:
            if infer_type(lean) == root.type:
                m.covered.append(operand)
                return lean
        except ShapeError:
            continue
    return None


def _earlier(turn: Node, target: Sequence[Dim]) -> tuple[tuple[Dim, ...], tuple[int, ...]] | None:
    """A shape for what is turned, and how to turn it, so that `target` comes out; None where it is more than axes of one element away."""
    perm, shape = TRANSPOSE.of(turn).perm, turn.inputs[0].typed.shape
    came: list[int | None] = []  # for each axis of the target the one of the operand; None for a new one
    at = 0
    for dim in target:
        while at < len(perm) and shape[perm[at]] == 1 and dim != 1:
            at += 1
        if at < len(perm) and shape[perm[at]] == dim:
            came.append(perm[at])
            at += 1
        elif dim == 1:
            came.append(None)
        else:
            return None
    if any(shape[axis] != 1 for axis in perm[at:]):
        return None
    kept = sorted(axis for axis in came if axis is not None)
    new = len(came) - len(kept)
    places = iter(range(new))
    wanted = tuple(next(places) if axis is None else new + kept.index(axis) for axis in came)
    made = ((1,) * new) + tuple(shape[axis] for axis in kept)
    return (made, wanted) if _is_plain(made) else None


def _is_plain(shape: Sequence[Any]) -> bool:
    """Whether a reshape to it needs no size computed as the network runs."""
    return sum(not isinstance(dim, int) for dim in shape) <= 1


RULES = (
    Rule("turn-of-ones", Pat((TRANSPOSE,)), turn_of_ones),
    Rule("ones-before-turn", Pat(RESHAPES), ones_before_turn),
    Rule("turns-around-ones", Pat((TRANSPOSE,)), turns_around_ones),
    Rule("kept-axes", Pat(RESHAPES), kept_axes),
    Rule("needless-spread", ANY(), needless_spread),
    Rule("picked-parts", Pat(RESHAPES), picked_parts),
)


def fold_shapes(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %y = transpose(%x) {perm=[1,0,2]} : f32[16,1,4]    After: %y = reshape(%x) {shape=[16,1,4]} : f32[16,1,4]"""
    return rewrite(graph, (*MERGES, *RULES), ledger)
