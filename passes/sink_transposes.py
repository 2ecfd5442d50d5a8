"""sink-transposes: a transpose moves through what computes element by element, norms, products, reductions and pads to the one it undoes.

PyTorch's ConvNeXt turns an image to channels last for a layer norm and two products of every pixel, and back. The way back meets the norm
where it goes through the products first: they are 1x1 convolutions, that carry the layer's scale and bias, and what is left between the two
transposes is a norm over the channels. Exact: only the order of axes changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..ir.graph import Graph, Node
from ..ir.op import OpDef
from ..ir.ops.activation import LOG_SOFTMAX, SOFTMAX
from ..ir.ops.conv import CONVS
from ..ir.ops.group import LAYER_NORM
from ..ir.ops.leaf import PARAM
from ..ir.ops.linear import MATMUL
from ..ir.ops.reduce import REDUCTIONS
from ..ir.ops.shape import CONCAT, PAD, TRANSPOSE, Pad, Transpose
from ..ir.types import TensorType
from .rewriting.ledger import Ledger
from .rewriting.products import wide
from .rewriting.rewriter import ANY, Match, Pat, Rule, rewrite

__all__ = ["sink_transposes"]

MOST = 64  # nodes that one transpose moves through
Perm = tuple[int, ...]


@dataclass
class _Region:
    """What a transpose moves through, from its operand back: `inner` nodes, which nothing else reads, and where it stops: at transposes
    that it `met`, and at `ends`, which are turned. `why` says what it cannot pass.
    """

    inner: list[Node] = field(default_factory=list[Node])
    met: list[Node] = field(default_factory=list[Node])
    ends: list[Node] = field(default_factory=list[Node])
    why: str = ""


def sink(m: Match) -> Node | None:
    root, (x,) = m.root, m.root.inputs
    perm = TRANSPOSE.of(root).perm
    region = _explored(m, x, perm)
    if not region.inner or not (region.met or region.ends):
        return None
    if region.why:
        return m.decline(region.why)
    before = 1 + sum(m.uses(node) == 1 for node in region.met)
    left = [node for node in region.met if _composed(node, perm) is not None]
    after = len(left) + len(region.ends)
    if after > before or (after == before and not _frees_products(m, region, perm)):
        return None
    m.covered.extend([*region.inner, *(node for node in region.met if m.uses(node) == 1)])
    made = dict[Node, Node]()
    for node in [*region.met, *region.ends]:
        made[node] = _turned(m, node, perm)
    for node in reversed(region.inner):  # operands first
        operands = tuple(made.get(operand) or _constant(m, node, operand, perm) for operand in node.inputs)
        made[node] = _product(m, node, operands[0]) if node.kind is MATMUL else _moved(m, node, operands, perm)
    return made[x]


def _explored(m: Match, first: Node, perm: Perm) -> _Region:
    """Breadth first; a node of several operands within the region would be moved twice, so it has one reader."""
    region, waiting, seen = _Region(), [first], set[Node]()
    while waiting:
        node = waiting.pop(0)
        if node in seen:
            continue
        seen.add(node)
        if node.kind is TRANSPOSE:
            region.met.append(node)
        elif m.uses(node) == 1 and len(region.inner) < MOST and _passes(m, node, perm):
            region.inner.append(node)
            for operand in node.inputs[: 1 if node.kind in (MATMUL, LAYER_NORM) else None]:
                if operand.kind is PARAM or not operand.typed.shape:
                    continue
                if operand.typed.rank != len(perm):
                    region.why = (
                        f"%{operand.name} of {operand.typed.rank} axes would have to be turned with %{node.name}, which has {len(perm)}"
                    )
                    return region
                waiting.append(operand)
        else:
            region.ends.append(node)
    return region


def _passes(m: Match, node: Node, perm: Perm) -> bool:
    """Whether the axes of a node can be in another order."""
    kind, rank = node.kind, len(perm)
    if node.typed.rank != rank:
        return False
    if kind is MATMUL:
        return _is_pixelwise(m, node, perm)
    if kind is LAYER_NORM:  # over the last axis, which stays there
        return perm[-1] == rank - 1 and LAYER_NORM.of(node).axis in (-1, rank - 1)
    if kind.facts.pointwise:
        return not kind.facts.by_channel and any(operand.kind is not PARAM for operand in node.inputs)
    return kind in AXES and (kind not in REDUCTIONS or node.op.keepdims)


def _is_pixelwise(m: Match, node: Node, perm: Perm) -> bool:
    """Whether the last axis becomes the second, and weights that nothing else reads mix it: what a 1x1 convolution does."""
    x, w = node.inputs
    rank = len(perm)
    if not 3 <= rank < 3 + len(CONVS) or perm != (0, rank - 1, *range(1, rank - 1)):
        return False
    return w.kind is PARAM and w.typed.rank == 2 and x.kind is not PARAM and x.typed.rank == rank and m.uses(w) == 1


def _frees_products(m: Match, region: _Region, perm: Perm) -> bool:
    """Whether products become convolutions, and each transpose that is left makes, with one before it, a norm over the last axis one over
    the channels.
    """
    if region.met or not any(node.kind is MATMUL for node in region.inner):
        return False
    for end in region.ends:
        before = end.inputs[0] if end.inputs else end
        is_norm = end.kind is LAYER_NORM and LAYER_NORM.of(end).axis in (-1, end.typed.rank - 1) and m.uses(end) == 1
        if not is_norm or before.kind is not TRANSPOSE or _composed(before, perm) is not None:
            return False
    return True


def _composed(node: Node, perm: Perm) -> Perm | None:
    """The order of axes of a transpose that is turned; None where it is the original again."""
    first = TRANSPOSE.of(node).perm
    both = tuple(first[axis] for axis in perm)
    return None if both == tuple(range(len(perm))) else both


def _turned(m: Match, node: Node, perm: Perm) -> Node:
    if node.kind is not TRANSPOSE:
        return m.node("turned", TRANSPOSE, Transpose(perm), (node,))
    both = _composed(node, perm)
    return node.inputs[0] if both is None else m.node("turned", TRANSPOSE, Transpose(both), node.inputs)


def _constant(m: Match, node: Node, operand: Node, perm: Perm) -> Node:
    """A parameter as a moved node reads it: with all its axes, in their new order; a norm's lies along the last axis as before."""
    if node.kind is LAYER_NORM or operand.typed.numel == 1 or not operand.typed.shape or node.kind is MATMUL:
        return operand
    shape = (1,) * (len(perm) - operand.typed.rank) + operand.typed.concrete()
    type_ = TensorType(operand.typed.dtype, tuple(shape[axis] for axis in perm))
    return m.param("turned", type_, lambda: wide(operand).reshape(shape).transpose(perm))


def _product(m: Match, node: Node, x: Node) -> Node:
    w, rank = node.inputs[1], node.typed.rank
    type_w = TensorType(w.typed.dtype, (*w.typed.shape[::-1], *(1,) * (rank - 2)))
    weight = m.param("w", type_w, lambda: wide(w).T.reshape(type_w.concrete()))
    kind = CONVS[rank - 3]
    return m.node("conv", kind, kind.Attrs(), (x, weight))


def _moved(m: Match, node: Node, operands: tuple[Node, ...], perm: Perm) -> Node:
    op = AXES[node.kind](node, perm) if node.kind in AXES else node.op
    return m.node(node.kind.name, node.kind, op, operands)


def _reduced(node: Node, perm: Perm) -> Any:
    return replace(node.op, axes=tuple(sorted(perm.index(axis % len(perm)) for axis in node.op.axes)))


def _along(node: Node, perm: Perm) -> Any:
    return replace(node.op, axis=perm.index(node.op.axis % len(perm)))


def _padded(node: Node, perm: Perm) -> Pad:
    op, rank = PAD.of(node), len(perm)
    return replace(op, pads=tuple(op.pads[side * rank + axis] for side in (0, 1) for axis in perm))


AXES: Mapping[OpDef[Any], Callable[[Node, Perm], Any]] = {  # attributes that name axes, in their new order
    **dict.fromkeys(REDUCTIONS, _reduced),
    **dict.fromkeys((SOFTMAX, LOG_SOFTMAX, CONCAT), _along),
    PAD: _padded,
}
RULES = (Rule("sink", Pat((TRANSPOSE,), (ANY(),)), sink),)


def sink_transposes(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %t = transpose(%x) {perm=[0,2,3,1]}; %r = relu(%t); %y = transpose(%r) {perm=[0,3,1,2]}    After: %y = relu(%x)

    Before: %n = layer_norm(transpose(%x)); %m = matmul(%n, %w); %y = transpose(%m)    After: %n the same; %y = conv2d(transpose(%n), %y.w)
    """
    return rewrite(graph, RULES, ledger)
