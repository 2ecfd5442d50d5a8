"""Lowerings element by element: what Relax has no operator for, or one that means something else where a value is NaN or large."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...ir.graph import Node
from ...ir.ops import gate
from .emitter import Emitter

__all__ = [
    "elu",
    "equal",
    "gelu",
    "hard_sigmoid",
    "hard_swish",
    "maximum",
    "minimum",
    "mish",
    "prelu",
    "round_",
    "selu",
    "softplus",
    "where",
]

Scalar = Any  # a TIR expression of one element
Const = Callable[[float], Scalar]  # a number in the element's type


def maximum(emitter: Emitter, node: Node, a: Any, b: Any) -> Any:
    """Relax's drops a NaN on one side. Whole numbers have none."""
    tirx = emitter.tirx
    if not node.typed.is_float:
        return emitter.ops.maximum(a, b)
    return _pairwise(emitter, node, lambda p, q, c: tirx.Select(tirx.any(p > q, tirx.isnan(p)), p, q), a, b)


def minimum(emitter: Emitter, node: Node, a: Any, b: Any) -> Any:
    tirx = emitter.tirx
    if not node.typed.is_float:
        return emitter.ops.minimum(a, b)
    return _pairwise(emitter, node, lambda p, q, c: tirx.Select(tirx.any(p < q, tirx.isnan(p)), p, q), a, b)


def prelu(emitter: Emitter, node: Node, x: Any, slope: Any) -> Any:
    """Relax's takes one slope a channel and no others."""
    return _pairwise(emitter, node, lambda p, q, c: emitter.tirx.Select(p < c(0), p * q, p), x, slope)


def round_(emitter: Emitter, node: Node, x: Any) -> Any:
    """Relax's rounds a half away from 0."""
    return _each(emitter, node, lambda p, c: emitter.te.nearbyint(p), x)


def softplus(emitter: Emitter, node: Node, x: Any) -> Any:
    """Relax's is a straight line from some threshold on."""
    return _each(emitter, node, lambda p, c: _softplus(emitter, p, c), x)


def elu(emitter: Emitter, node: Node, x: Any) -> Any:
    op: gate.Elu = node.op
    return _each(emitter, node, lambda p, c: _elu(emitter, p, c, op.alpha), x)


def selu(emitter: Emitter, node: Node, x: Any) -> Any:
    op: gate.Selu = node.op
    return _each(emitter, node, lambda p, c: c(op.gamma) * _elu(emitter, p, c, op.alpha), x)


def hard_sigmoid(emitter: Emitter, node: Node, x: Any) -> Any:
    op: gate.HardSigmoid = node.op
    return _each(emitter, node, lambda p, c: _share(emitter, p * c(op.alpha) + c(op.beta), c), x)


def hard_swish(emitter: Emitter, node: Node, x: Any) -> Any:
    return _each(emitter, node, lambda p, c: p * _share(emitter, p / c(6) + c(0.5), c), x)


def gelu(emitter: Emitter, node: Node, x: Any) -> Any:
    op: gate.Gelu = node.op
    te = emitter.te

    def gated(p: Scalar, c: Const) -> Scalar:
        if op.approximate == "none":
            return c(0.5) * p * (c(1) + te.erf(p * c(math.sqrt(0.5))))
        scale, cubic = map(c, gate.TANH_GELU)
        return c(0.5) * p * (c(1) + te.tanh(scale * (p + cubic * p * p * p)))

    return _each(emitter, node, gated, x)


def mish(emitter: Emitter, node: Node, x: Any) -> Any:
    return _each(emitter, node, lambda p, c: p * emitter.te.tanh(_softplus(emitter, p, c)), x)


def equal(emitter: Emitter, node: Node, a: Any, b: Any) -> Any:
    """LLVM is asked for a comparison of booleans as if they were floats, and refuses."""
    if node.inputs[0].typed.dtype != "bool":
        return emitter.ops.equal(a, b)
    return emitter.ops.equal(*(emitter.builder.emit(emitter.ops.astype(x, "int8"), f"{node.name}.byte") for x in (a, b)))


def where(emitter: Emitter, node: Node, condition: Any, a: Any, b: Any) -> Any:
    """All three operands broadcast at once."""

    def chosen(condition: Any, a: Any, b: Any, shape: Any) -> Any:
        def element(*at: Any) -> Any:
            return emitter.tirx.Select(_spread(emitter, condition, at), _spread(emitter, a, at), _spread(emitter, b, at))

        return emitter.te.compute(shape, element, "where")

    return emitter.compute(node, chosen, condition, a, b)


def _softplus(emitter: Emitter, p: Scalar, c: Const) -> Scalar:
    """max(p, 0) + log(1 + exp(-|p|)), which never overflows and keeps a NaN."""
    te = emitter.te
    return emitter.tirx.Select(p < c(0), c(0), p) + te.log(c(1) + te.exp(c(0) - te.abs(p)))


def _elu(emitter: Emitter, p: Scalar, c: Const, alpha: float) -> Scalar:
    return emitter.tirx.Select(p > c(0), p, c(alpha) * (emitter.te.exp(p) - c(1)))


def _share(emitter: Emitter, p: Scalar, c: Const) -> Scalar:
    """p cut to [0, 1]; a NaN stays one."""
    tirx = emitter.tirx
    return tirx.Select(p < c(0), c(0), tirx.Select(p > c(1), c(1), p))


def _each(emitter: Emitter, node: Node, function: Callable[[Scalar, Const], Scalar], x: Any) -> Any:
    def value(x: Any, shape: Any) -> Any:
        const = _const_of(emitter, x)

        def element(*at: Any) -> Any:
            return function(x[at], const)

        return emitter.te.compute(shape, element, node.kind.name)

    return emitter.compute(node, value, x)


def _pairwise(emitter: Emitter, node: Node, function: Callable[[Scalar, Scalar, Const], Scalar], a: Any, b: Any) -> Any:
    """A function of two elements, after broadcasting."""

    def value(a: Any, b: Any, shape: Any) -> Any:
        const = _const_of(emitter, a)

        def element(*at: Any) -> Any:
            return function(_spread(emitter, a, at), _spread(emitter, b, at), const)

        return emitter.te.compute(shape, element, node.kind.name)

    return emitter.compute(node, value, a, b)


def _const_of(emitter: Emitter, x: Any) -> Const:
    return lambda value: emitter.tirx.const(float(value), x.dtype)


def _spread(emitter: Emitter, x: Any, at: tuple[Any, ...]) -> Scalar:
    """The element of x that broadcasting brings to `at`: axes of one element stand still."""
    own = at[len(at) - len(x.shape) :]
    still = emitter.tirx.IntImm("int64", 0)
    return x[tuple(still if _is_one(extent) else i for i, extent in zip(own, x.shape, strict=True))]


def _is_one(extent: Any) -> bool:
    return getattr(extent, "value", None) == 1  # a named size is no number
