"""Comparisons, logic on their results, and the choice between two values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..facts import PAIRWISE, Facts, Reuse, follows
from ..op import OpDef, elementwise_cost, no_rounding, plain
from ..terms import Gradient, Term, where
from ..types import Array, TensorType
from .check import broadcast, need_same_dtype

__all__ = [
    "EQUAL",
    "GREATER",
    "GREATER_OR_EQUAL",
    "LESS",
    "LESS_OR_EQUAL",
    "LOGICAL_AND",
    "LOGICAL_OR",
    "OPS",
    "WHERE",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "LogicalAnd",
    "LogicalOr",
    "Where",
]


@dataclass(frozen=True, slots=True)
class Equal:
    """a == b, also of booleans; NaN equals nothing. ONNX Equal."""


@dataclass(frozen=True, slots=True)
class Greater:
    """a > b. ONNX Greater."""


@dataclass(frozen=True, slots=True)
class Less:
    """a < b. ONNX Less."""


@dataclass(frozen=True, slots=True)
class GreaterOrEqual:
    """a >= b. ONNX GreaterOrEqual."""


@dataclass(frozen=True, slots=True)
class LessOrEqual:
    """a <= b. ONNX LessOrEqual."""


@dataclass(frozen=True, slots=True)
class LogicalAnd:
    """Both. ONNX And."""


@dataclass(frozen=True, slots=True)
class LogicalOr:
    """At least one. ONNX Or."""


@dataclass(frozen=True, slots=True)
class Where:
    """a where the condition holds, b elsewhere; all three broadcast. ONNX Where."""


def infer_equal(op: Equal, a: TensorType, b: TensorType) -> TensorType:
    need_same_dtype(a, b)
    return TensorType("bool", broadcast(a, b))


def infer_order(op: Any, a: TensorType, b: TensorType) -> TensorType:
    """Raises: ShapeError when element types differ, have no order, or shapes do not broadcast."""
    if a.dtype == "bool":
        raise ShapeError(f"input is {a}; booleans have no order, cast them first")
    need_same_dtype(a, b)
    return TensorType("bool", broadcast(a, b))


def infer_logical(op: Any, a: TensorType, b: TensorType) -> TensorType:
    for operand in (a, b):
        if operand.dtype != "bool":
            raise ShapeError(f"operand is {operand}, expected bool; cast it or compare it")
    return TensorType("bool", broadcast(a, b))


def infer_where(op: Where, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
    if condition.dtype != "bool":
        raise ShapeError(f"the condition is {condition}, expected bool; cast it or compare it")
    need_same_dtype(a, b)
    return TensorType(a.dtype, broadcast(condition, TensorType(a.dtype, broadcast(a, b))))


def choice(op: Where, condition: Array, a: Array, b: Array) -> Array:
    return np.where(condition, a, b)


def kept_gradient(op: Where, g: Term, y: Term, condition: Term, a: Term, b: Term) -> Term:
    return where(condition, g, 0).fit(a)


def other_gradient(op: Where, g: Term, y: Term, condition: Term, a: Term, b: Term) -> Term:
    return where(condition, 0, g).fit(b)


CHOSEN: Gradient = (None, kept_gradient, other_gradient)

# In place where what is compared are bytes or truths: of the result's size.
ORDERED: Facts[object] = Facts(pointwise=True, reuse=PAIRWISE)
IN_ANY_ORDER: Facts[object] = Facts(pointwise=True, reuse=PAIRWISE, commutes=True)

EQUAL = OpDef("equal", Equal, (2, 2), infer_equal, plain(np.equal), elementwise_cost(1), roundings=no_rounding, facts=IN_ANY_ORDER)
GREATER = OpDef("greater", Greater, (2, 2), infer_order, plain(np.greater), elementwise_cost(1), roundings=no_rounding, facts=ORDERED)
LESS = OpDef("less", Less, (2, 2), infer_order, plain(np.less), elementwise_cost(1), roundings=no_rounding, facts=ORDERED)
GREATER_OR_EQUAL = OpDef(
    "greater_or_equal",
    GreaterOrEqual,
    (2, 2),
    infer_order,
    plain(np.greater_equal),
    elementwise_cost(1),
    roundings=no_rounding,
    facts=ORDERED,
)
LESS_OR_EQUAL = OpDef(
    "less_or_equal", LessOrEqual, (2, 2), infer_order, plain(np.less_equal), elementwise_cost(1), roundings=no_rounding, facts=ORDERED
)
LOGICAL_AND = OpDef(
    "logical_and", LogicalAnd, (2, 2), infer_logical, plain(np.logical_and), elementwise_cost(0), roundings=no_rounding, facts=IN_ANY_ORDER
)
LOGICAL_OR = OpDef(
    "logical_or", LogicalOr, (2, 2), infer_logical, plain(np.logical_or), elementwise_cost(0), roundings=no_rounding, facts=IN_ANY_ORDER
)
WHERE = OpDef(
    "where",
    Where,
    (3, 3),
    infer_where,
    choice,
    elementwise_cost(0),
    roundings=no_rounding,
    # a condition has the size of bytes alone
    facts=Facts(pointwise=True, reuse=Reuse("in place", (1, 2, 0), PAIRWISE.why), narrow=follows),
    gradient=CHOSEN,
)
COMPARISONS = (EQUAL, GREATER, LESS, GREATER_OR_EQUAL, LESS_OR_EQUAL)
OPS = (*COMPARISONS, LOGICAL_AND, LOGICAL_OR, WHERE)
