"""canonicalize: of several ways to write a computation, the one that other passes and backends look for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.op import OpDef
from ..ir.ops.activation import CLIP, LOG_SOFTMAX, RELU, SOFTMAX, Clip, LogSoftmax, Relu, Softmax
from ..ir.ops.check import broadcast
from ..ir.ops.elementwise import ADD, DIV, MUL, SUB, Add, Mul
from ..ir.ops.leaf import PARAM
from ..ir.ops.linear import DENSE, MATMUL, Dense
from ..ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from ..ir.ops.reduce import REDUCE_MEAN
from ..ir.ops.shape import CONCAT, FLATTEN, RESHAPE, RESHAPES, Concat, Flatten, Reshape, infer_flatten
from ..ir.types import Array, TensorType
from .rewriting.ledger import Ledger
from .rewriting.products import DEEPEST, fits, is_known, rounding_to_whole, wide
from .rewriting.rewriter import ANY, CONST, Match, Pat, Rule, rewrite

__all__ = ["canonicalize"]


# --- pools -----------------------------------------------------------------------------------------------------------


def whole_image(m: Match) -> Node | None:
    """A pool whose only window holds the whole image. Named sizes could be larger than any window."""
    op: MaxPool | AvgPool = m.root.op
    x = m.root.inputs[0]
    if any(size != 1 for size in m.root.typed.shape[2:]) or max(op.dilations) > 1:
        return None
    if not all(isinstance(size, int) and op.kernel[i] - op.pads[i] >= size for i, size in enumerate(x.typed.shape[2:])):
        return None
    if m.root.kind is MAX_POOL:
        return m.root.like(kind=GLOBAL_MAX_POOL, op=GlobalMaxPool())
    if any(op.pads) and AVG_POOL.of(m.root).count_include_pad:
        return None  # divides by more than the image
    return m.root.like(kind=GLOBAL_AVG_POOL, op=GlobalAvgPool())


def mean_of_image(m: Match) -> Node | None:
    """The mean over exactly the axes after the channels; without kept axes, flattened."""
    op, x = REDUCE_MEAN.of(m.root), m.root.inputs[0]
    rank = x.typed.rank
    if rank not in (4, 5) or {axis % rank for axis in op.axes} != set(range(2, rank)):
        return None  # of three axes the last may be the features of a token
    if op.keepdims:
        return m.root.like(kind=GLOBAL_AVG_POOL, op=GlobalAvgPool())
    if rank != 4:
        return None
    pooled = m.node("pool", GLOBAL_AVG_POOL, GlobalAvgPool(), (x,))
    return m.root.like(kind=FLATTEN, op=Flatten(), inputs=(pooled,))


# --- shapes ----------------------------------------------------------------------------------------------------------


def flat(m: Match) -> Node | None:
    """flatten, where that is what comes out: it needs no sizes. A reshape that stays says its sizes in full."""
    x = m.root.inputs[0].typed
    if x.rank and m.root.typed == infer_flatten(Flatten(), x):
        same = m.root.kind is FLATTEN and FLATTEN.of(m.root).axis == 1
        return None if same else m.root.like(kind=FLATTEN, op=Flatten())
    if m.root.kind is RESHAPE and -1 in RESHAPE.of(m.root).shape:
        return m.root.like(op=Reshape(m.root.typed.shape))
    return None


def axis_from_front(m: Match) -> Node | None:
    op: Concat | Softmax | LogSoftmax = m.root.op
    return None if op.axis >= 0 else m.root.like(op=replace(op, axis=op.axis + m.root.typed.rank))


# --- products --------------------------------------------------------------------------------------------------------


def matmul_to_dense(m: Match) -> Node | None:
    """Dense has a bias to fold into. Its weights are transposed, so shared ones (uses=1) would be kept twice."""
    w = m["w"]
    if m.root.typed.rank != 2:
        return None
    weight = m.param("w", TensorType(w.typed.dtype, w.typed.shape[::-1]), lambda: wide(w).T)
    return m.root.like(kind=DENSE, op=Dense(), inputs=(m.root.inputs[0], weight))


def rows_to_dense(m: Match) -> Node | None:
    """A product of many axes between two reshapes: those may as well make rows for a dense layer, which takes the sum in."""
    product, shaped, w, b = m["product"], m["shaped"], m["w"], m["b"]
    axes = product.typed.shape
    if w.typed.rank != 2 or len(axes) < 3 or b.typed.shape != axes[-1:] or not product.typed.is_float:
        return None
    count = math.prod(axes[:-1], start=1)
    rows = m.node("rows", RESHAPE, Reshape((count, shaped.typed.shape[-1])), shaped.inputs)
    weight = m.param("w", TensorType(w.typed.dtype, w.typed.shape[::-1]), lambda: wide(w).T)
    dense = m.node("dense", DENSE, Dense(), (rows, weight, b))
    return m.root.like(kind=RESHAPE, op=Reshape(m.root.typed.shape), inputs=(dense,))


def add_to_bias(m: Match) -> Node | None:
    """One value per output, and nothing else, is a bias as it stands."""
    dense, b = m["dense"], m["b"]
    if b.typed.shape != dense.typed.shape[1:]:
        return None
    return dense.like(inputs=(*dense.inputs, b))


# --- arithmetic ------------------------------------------------------------------------------------------------------


def constant_right(m: Match) -> Node | None:
    """Of two constants neither needs to move: fold-constants takes both."""
    return None if m["x"].kind is PARAM else m.root.like(inputs=(m["x"], m["c"]))


def one_constant(m: Match) -> Node | None:
    """(x + c) - d = x + (c - d), and (x * c) / d = x * (c / d) up to one rounding. Whole numbers wrap and truncate instead."""
    x, root, inner, c, d = m["x"], m.root, m["inner"], m["c"], m["d"]
    if x.kind is PARAM or not root.typed.is_float or len(inner.origin.made_from) >= DEEPEST:
        return None
    if why := rounding_to_whole(root.kind, c, d):
        return m.decline(why)
    both = TensorType(c.typed.dtype, broadcast(c.typed, d.typed))
    if both.numel not in (c.typed.numel, d.typed.numel):
        return None  # a row and a column would become a whole image of constants
    kind, op = (ADD, Add()) if root.kind in (ADD, SUB) else (MUL, Mul())
    first, last = inner.kind, root.kind

    def value() -> Array:
        with np.errstate(all="ignore"):
            return kind.meaning(op, _operand(first, c), _operand(last, d))

    if all(is_known(node) for node in (c, d)) and not fits(value(), both.dtype):
        return m.decline(f"%{c.name} and %{d.name} make a constant beyond the range of {both.dtype}")
    constant = m.param("c", both, value)
    return root.like(kind=kind, op=op, inputs=(x, constant))


def _operand(kind: OpDef[Any], constant: Node) -> Array:
    """What a sum adds, or a product multiplies by."""
    if kind is SUB:
        return -wide(constant)
    return 1 / wide(constant) if kind is DIV else wide(constant)


def clip_to_relu(m: Match) -> Node | None:
    return m.root.like(kind=RELU, op=Relu()) if CLIP.of(m.root) == Clip(0.0) else None


SUMS, FACTORS = (ADD, SUB), (MUL, DIV)  # the two algebras that `one_constant` knows
ROWS = Pat((MATMUL,), (Pat(RESHAPES, (ANY(),), bind="shaped", uses=1), Pat((PARAM,), bind="w", uses=1)), bind="product", uses=1)
RULES = (
    Rule("global-pool", Pat((AVG_POOL, MAX_POOL)), whole_image),
    Rule("mean-to-global-pool", Pat((REDUCE_MEAN,)), mean_of_image),
    Rule("flatten", Pat(RESHAPES), flat),
    Rule("axis-from-front", Pat((CONCAT, SOFTMAX, LOG_SOFTMAX)), axis_from_front),
    Rule("matmul-to-dense", Pat((MATMUL,), (ANY(), Pat((PARAM,), bind="w", uses=1))), matmul_to_dense),
    Rule("rows-to-dense", Pat(RESHAPES, (Pat((ADD,), (ROWS, CONST("b")), uses=1),)), rows_to_dense),
    Rule("rows-to-dense", Pat(RESHAPES, (Pat((ADD,), (CONST("b"), ROWS), uses=1),)), rows_to_dense),
    Rule("add-to-bias", Pat((ADD,), (Pat((DENSE,), (ANY(), ANY()), bind="dense", uses=1), CONST("b"))), add_to_bias),
    Rule("constant-right", Pat((ADD, MUL), (CONST("c"), ANY("x"))), constant_right),
    Rule("one-constant", Pat(SUMS, (Pat(SUMS, (ANY("x"), CONST("c")), bind="inner", uses=1), CONST("d"))), one_constant),
    Rule("one-constant", Pat(FACTORS, (Pat(FACTORS, (ANY("x"), CONST("c")), bind="inner", uses=1), CONST("d"))), one_constant),
    Rule("clip-to-relu", Pat((CLIP,)), clip_to_relu),
)


def canonicalize(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %y = reduce_mean(%x) {axes=[2,3]}; %z = add(%c, %y)    After: %y = global_avg_pool(%x); %z = add(%y, %c)"""
    return rewrite(graph, RULES, ledger)
