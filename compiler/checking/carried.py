"""How far a value is off because its operands are: what an op makes of errors, in the worst case and not only of small ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...ir.graph import Node
from ...ir.op import OpDef, no_rounding
from ...ir.ops.activation import SOFTMAX
from ...ir.ops.check import need_axis
from ...ir.ops.conv import CONVS
from ...ir.ops.elementwise import CAST, DIV, MUL
from ...ir.ops.group import LAYER_NORM
from ...ir.ops.linear import DENSE, MATMUL
from ...ir.ops.pool import MAX_POOL
from ...ir.ops.quantize import DEQUANTIZE_LINEAR, QUANTIZE_LINEAR
from ...ir.ops.rearrange import CENTER_CROP_PAD, DEPTH_TO_SPACE, EXPAND, SPACE_TO_DEPTH, TILE
from ...ir.ops.select import GATHER
from ...ir.ops.shape import CONCAT, PAD, RESHAPES, SLICE, TRANSPOSE
from ...ir.ops.unary import CEIL, EXP, FLOOR, LOG, ROUND, SQRT
from ...ir.types import HALVES, Array, is_floating
from .steps import QUOTIENT
from .units import UNIT

__all__ = ["carried", "carried_in", "is_known"]

Error = Array | float  # of each element of an operand; 0.0 where it is exact


def is_known(kind: OpDef[Any]) -> bool:
    """Whether errors of operands of this op have a bound in its result."""
    return kind in RULES or kind.facts.slope is not None


def carried(node: Node, operands: list[Array], errors: list[Array | None]) -> Array | float:
    """How far the value is off because operands are, by the steepest slope there is."""
    if all(error is None for error in errors):
        return 0.0
    known = [0.0 if error is None else error for error in errors]
    if node.kind in RULES:
        return RULES[node.kind](node, operands, known)
    slope = node.kind.facts.slope
    assert slope is not None, f"{node.where} has no bound on its slope, so no kernel that covers it may be checked as one"
    return slope(node.op) * sum(known)


def carried_in(node: Node, operands: list[Array], errors: list[Array | None]) -> Array | float:
    """The same of operands that are read wider than they are shown; infinite where nothing bounds it. A value that is only moved is
    rounded where it is shown, as it was before.
    """
    if node.kind.roundings is no_rounding and node.typed.dtype in HALVES:
        return 0.0
    if node.kind is CAST:
        return 0.0 if errors[0] is None or not node.typed.is_float else errors[0]
    if is_known(node.kind):
        return carried(node, operands, errors)
    return 0.0 if all(error is None for error in errors) else np.inf


def _by_product(node: Node, sizes: list[Array], known: list[Array | float]) -> Array | float:
    """Errors of either factor, and of the bias as it is. After a batch norm or a flatten the weights are as they are."""
    x, w = sizes[:2]
    total: Array | float = known[2] if len(known) > 2 else 0.0
    if np.ndim(total) and node.kind in CONVS:
        total = np.asarray(total).reshape(-1, *(1,) * (node.typed.rank - 2))
    if np.ndim(known[0]):
        total = total + np.asarray(node.kind.meaning(node.op, known[0], w))
    if np.ndim(known[1]):
        total = total + np.asarray(node.kind.meaning(node.op, x + known[0], known[1]))
    return total


def _mul(node: Node, operands: list[Array], known: list[Error]) -> Error:
    (a, b), (off_a, off_b) = map(abs, operands), known
    return a * off_b + b * off_a + off_a * off_b


def _div(node: Node, operands: list[Array], known: list[Error]) -> Error:
    """Infinite where the divisor may be 0."""
    (a, b), (off_a, off_b) = map(abs, operands), known
    least = b - off_b
    return np.where(least > 0, (off_a + a / b * off_b) / least, np.inf)


def _max_pool(node: Node, operands: list[Array], known: list[Error]) -> Error:
    return np.asarray(MAX_POOL.meaning(node.op, known[0]))


def _product(node: Node, operands: list[Array], known: list[Error]) -> Error:
    return _by_product(node, [abs(operand) for operand in operands], known)


def _dequantized(node: Node, operands: list[Array], known: list[Error]) -> Error:
    """Of its scale, itself a product."""
    return abs(np.asarray(node.kind.meaning(node.op, operands[0], np.broadcast_to(known[1], operands[1].shape), operands[2])))


def _quantized(node: Node, operands: list[Array], known: list[Error]) -> Error:
    """As many steps as may lie between, and those that rounding of the quotient adds."""
    x, *others = operands
    off = known[0] + QUOTIENT * UNIT["f32"] * abs(x)
    ends = [node.kind.meaning(node.op, x + way * off, *others).astype(np.float64) for way in (-1, 1)]
    return ends[1] - ends[0]


def _moved(node: Node, operands: list[Array], known: list[Error]) -> Error:
    """Errors go where their elements go."""
    errors = [np.broadcast_to(off, x.shape) if is_floating(x) else x for x, off in zip(operands, known, strict=True)]
    return np.asarray(node.kind.meaning(node.op, *errors))


def _padded(node: Node, operands: list[Array], known: list[Error]) -> Error:
    """As `_moved`; the constant that pads is exact."""
    (x,) = operands
    return np.asarray(PAD.meaning(replace(PAD.of(node), value=0.0), np.broadcast_to(known[0], x.shape)))


def _rising(node: Node, operands: list[Array], known: list[Error]) -> Error:
    """Of one operand, where a greater one never gives a smaller value: it lies between those of the ends. What is no number at an end, as
    the logarithm of less than 0, bounds nothing.
    """
    (x,) = operands
    y, *ends = (np.asarray(node.kind.meaning(node.op, x + way * known[0])) for way in (0, -1, 1))
    return np.nan_to_num(np.maximum(*(abs(end - y) for end in ends)), nan=np.inf, posinf=np.inf)


def _root(node: Node, operands: list[Array], known: list[Error]) -> Error:
    """A step of e has no more than the root of e, at 0, where no slope bounds it; what began below 0 is there."""
    (x,) = operands
    y = np.sqrt(x)
    return np.maximum(y - np.sqrt(np.maximum(x - known[0], 0)), np.sqrt(np.maximum(x + known[0], 0)) - y)


def _softmax(node: Node, operands: list[Array], known: list[Error]) -> Error:
    """With E the greatest error of a row, each power and their sum change by a factor between e^-E and e^E: y by one up to e^2E. No two
    shares differ by more than 1. An infinite x has no error.
    """
    (x,), axis = operands, SOFTMAX.of(node).axis
    most = np.where(np.isfinite(x), known[0], 0.0).max(axis=axis, keepdims=True, initial=0.0)
    return np.fmin(SOFTMAX.meaning(node.op, x) * np.expm1(2 * most), 1.0)  # of 0 times infinity too


def _layer_norm(node: Node, operands: list[Array], known: list[Error]) -> Error:
    """Of n = c / s with c = x - mean and s = sqrt(mean c^2 + epsilon), a length: errors e move c by e + mean e at most, and s by the root
    of mean e^2. So n is off by (e + mean e + |n| root) / s', where s' is at least s - root and sqrt(epsilon).
    """
    x, scale, *_ = operands
    op = LAYER_NORM.of(node)
    axes = tuple(range(need_axis(op.axis, x.ndim), x.ndim))
    off = np.broadcast_to(known[0], x.shape)
    centred = x - x.mean(axis=axes, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + op.epsilon)
    root = np.sqrt(np.square(off).mean(axis=axes, keepdims=True))
    n, least = abs(centred) / spread, np.maximum(spread - root, np.sqrt(op.epsilon))
    of_x = (off + off.mean(axis=axes, keepdims=True) + n * root) / least
    return of_x * (abs(scale) + known[1]) + n * known[1] + (known[2] if len(known) > 2 else 0.0)


Carry = Callable[[Node, list[Array], list[Error]], Error]
RULES: dict[OpDef[Any], Carry] = {  # of ops whose slope depends on their operands, or that mix elements
    MUL: _mul,
    DIV: _div,
    MAX_POOL: _max_pool,
    **dict.fromkeys((*CONVS, DENSE, MATMUL), _product),
    DEQUANTIZE_LINEAR: _dequantized,
    QUANTIZE_LINEAR: _quantized,
    **dict.fromkeys((*RESHAPES, TRANSPOSE, SLICE, GATHER, CONCAT), _moved),
    **dict.fromkeys((DEPTH_TO_SPACE, SPACE_TO_DEPTH, CENTER_CROP_PAD, EXPAND, TILE), _moved),
    PAD: _padded,
    SOFTMAX: _softmax,
    LAYER_NORM: _layer_norm,
    **dict.fromkeys((EXP, LOG, FLOOR, CEIL, ROUND), _rising),
    SQRT: _root,
}
