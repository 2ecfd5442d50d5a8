"""canonicalize: of several ways to write a computation, the one that other passes and backends look for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.op import OpDef
from ..ir.ops.activation import CLIP, LOG_SOFTMAX, RELU, SOFTMAX, TANH, Clip, LogSoftmax, Relu, Softmax
from ..ir.ops.activation_variants import MISH, Mish
from ..ir.ops.check import broadcast
from ..ir.ops.elementwise import ADD, DIV, MUL, SUB, Add, Mul
from ..ir.ops.group import GROUP_NORM, INSTANCE_NORM, GroupNorm
from ..ir.ops.leaf import PARAM
from ..ir.ops.linear import DENSE, MATMUL, Dense
from ..ir.ops.pool import AVG_POOL, GLOBAL_AVG_POOL, GLOBAL_MAX_POOL, MAX_POOL, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from ..ir.ops.reduce import REDUCE_MEAN
from ..ir.ops.shape import CONCAT, FLATTEN, RESHAPE, RESHAPES, Concat, Flatten, Reshape, infer_flatten
from ..ir.ops.unary import SOFTPLUS
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


# --- norms and activations that a file has in pieces -----------------------------------------------------------------


def group_norm(m: Match) -> Node | None:
    """Before opset 21 PyTorch writes each group as a channel: a reshape, an instance norm, and the way back."""
    norm, grouped, x = m["norm"], m["grouped"], m["x"].typed
    channels, groups = (x.shape[1], grouped.typed.shape[1]) if x.rank > 2 and grouped.typed.rank > 2 else (None, None)
    if not isinstance(channels, int) or not isinstance(groups, int) or channels % groups:
        return None
    if m.root.typed != x or grouped.typed.shape[0] != x.shape[0]:
        return None
    type_ = TensorType(x.dtype, (channels,))

    def spread(which: str) -> Callable[[], Array]:
        return lambda: np.repeat(wide(m[which]), channels // groups)

    numbers = (m.param("scale", type_, spread("scale")), m.param("bias", type_, spread("bias")))
    return m.root.like(kind=GROUP_NORM, op=GroupNorm(groups, INSTANCE_NORM.of(norm).epsilon), inputs=(m["x"], *numbers))


def into_group_norm(m: Match) -> Node | None:
    """A factor, or a summand, for each channel: the norm has both."""
    norm, c, scale, bias = m["norm"], m["c"], m["scale"], m["bias"]
    column = (norm.typed.shape[1], *(1,) * (norm.typed.rank - 2))
    if m.root.typed != norm.typed or c.typed.shape not in (column, (1, *column)):
        return None
    if why := rounding_to_whole(m.root.kind, c, bias):
        return m.decline(why)

    def changed(of: Node) -> Array:
        return (np.multiply if m.root.kind is MUL else np.add)(wide(of), wide(c).reshape(-1))

    taken = (scale, bias) if m.root.kind is MUL else (bias,)
    with np.errstate(all="ignore"):
        if any(is_known(c) and is_known(of) and not fits(changed(of), of.typed.dtype) for of in taken):
            return m.decline(f"%{c.name} makes numbers of %{norm.name} that are beyond the range of {c.typed.dtype}")
    shift = m.param("bias", bias.typed, lambda: changed(bias))
    gain = m.param("scale", scale.typed, lambda: changed(scale)) if m.root.kind is MUL else scale
    return norm.like(name=m.root.name, inputs=(norm.inputs[0], gain, shift))


def mish_of_pieces(m: Match) -> Node | None:
    """x * tanh(softplus(x))."""
    return m.root.like(kind=MISH, op=Mish(), inputs=(m["x"],)) if m["inner"] is m["x"] else None


SUMS, FACTORS = (ADD, SUB), (MUL, DIV)  # the two algebras that `one_constant` knows
ROWS = Pat((MATMUL,), (Pat(RESHAPES, (ANY(),), bind="shaped", uses=1), Pat((PARAM,), bind="w", uses=1)), bind="product", uses=1)
BY_GROUP = Pat((INSTANCE_NORM,), (Pat(RESHAPES, (ANY("x"),), bind="grouped"), CONST("scale"), CONST("bias")), bind="norm", uses=1)
NORM = Pat((GROUP_NORM,), (ANY(), CONST("scale"), CONST("bias")), bind="norm", uses=1)
SOFT_STEP = Pat((TANH,), (Pat((SOFTPLUS,), (ANY("inner"),), uses=1),), uses=1)
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
    Rule("group-norm", Pat(RESHAPES, (BY_GROUP,)), group_norm),
    Rule("into-group-norm", Pat((MUL, ADD), (NORM, CONST("c"))), into_group_norm),
    Rule("mish", Pat((MUL,), (ANY("x"), SOFT_STEP)), mish_of_pieces),
    Rule("mish", Pat((MUL,), (SOFT_STEP, ANY("x"))), mish_of_pieces),
    Rule("clip-to-relu", Pat((CLIP,)), clip_to_relu),
)


def canonicalize(graph: Graph, ledger: Ledger) -> Graph:
    """Before: %y = reduce_mean(%x) {axes=[2,3]}; %z = add(%c, %y)    After: %y = global_avg_pool(%x); %z = add(%y, %c)"""
    return rewrite(graph, RULES, ledger)
