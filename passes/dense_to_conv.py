"""dense-to-conv: the fully convolutional form. Long, Shelhamer & Darrell 2015, sec. 3.1.

A dense layer over a flattened image, or sequence or volume, is a conv whose kernel is the whole image; those after it are 1x1 convs. A
flatten after each keeps the types, so the network is the same until somebody takes the flattens off. On demand.
"""

from __future__ import annotations

from ..ir.graph import Graph, Node
from ..ir.ops.conv import CONVS
from ..ir.ops.linear import DENSE
from ..ir.ops.shape import FLATTEN, Flatten
from ..ir.types import TensorType
from .rewriting.ledger import Ledger
from .rewriting.products import wide
from .rewriting.rewriter import ANY, CONST, Match, Pat, Rule, rewrite

__all__ = ["dense_to_conv"]


def convolve(m: Match) -> Node | None:
    functions: list[Node] = []
    x = m["x"]
    while _is_elementwise(x) and m.uses(x) == 1:  # one with another reader would be computed twice
        functions.append(x)
        x = x.inputs[0]
    if x.kind is not FLATTEN or not _keeps_images_apart(x):
        return None
    m.covered.extend((*functions, x))
    image, w = x.inputs[0], m["w"]
    for function in reversed(functions):
        image = m.node(function.kind.name, function.kind, function.op, (image,))
    type_w = TensorType(w.typed.dtype, (w.typed.shape[0], *image.typed.shape[1:]))
    weight = m.param("w", type_w, lambda: wide(w).reshape(type_w.concrete()))
    kind = CONVS[image.typed.rank - 3]
    conv = m.node("conv", kind, kind.Attrs(), (image, weight, *m.root.inputs[2:]))
    return Node(m.root.name, FLATTEN, Flatten(), (conv,), m.root.type)


def _is_elementwise(node: Node) -> bool:
    """Whether it is the same before a flatten as after it."""
    return node.kind.facts.pointwise and len(node.inputs) == 1


def _keeps_images_apart(flatten: Node) -> bool:
    """[N,C,H,W] -> [N,C*H*W]."""
    rank = flatten.inputs[0].typed.rank
    return 3 <= rank < 3 + len(CONVS) and FLATTEN.of(flatten).axis % rank == 1


RULES = (Rule("convolve", Pat((DENSE,), (ANY("x"), CONST("w"), Pat(bind="b", optional=True))), convolve),)


def dense_to_conv(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %f = flatten(%x); %y = dense(%f, %w, %b)    After: %y.conv = conv2d(%x, %y.w, %b); %y = flatten(%y.conv)"""
    return rewrite(graph, RULES, ledger)
