"""Lowerings element by element: what Relax has no operator for, or one that means something else where a value is NaN or large."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ....ir.graph import Node
from ....ir.ops import activation, activation_variants, elementwise, thresholds
from .relax_emitter import RelaxEmitter

__all__ = [
    "elu",
    "equal",
    "gelu",
    "hard_sigmoid",
    "hard_swish",
    "leaky_relu",
    "logical_not",
    "maximum",
    "minimum",
    "mish",
    "mod",
    "prelu",
    "round_",
    "selu",
    "shrink",
    "softplus",
    "subtract",
    "tanh",
    "where",
]

TANH_SERIES = (1.0, -1 / 3, 2 / 15, -17 / 315, 62 / 2835, -1382 / 155925)  # of tanh(p) / p in p^2
FMOD = {"float32": "fmodf", "float64": "fmod"}  # the C library's, exact; LLVM's back end has no intrinsic of TVM's name
Scalar = Any  # a TIR expression of one element
Const = Callable[[float], Scalar]  # a number in the element's type


def maximum(emitter: RelaxEmitter, node: Node, a: Any, b: Any) -> Any:
    """Relax's drops a NaN on one side. Whole numbers have none."""
    tirx = emitter.tirx
    if not node.typed.is_float:
        return emitter.ops.maximum(a, b)
    return _pairwise(emitter, node, lambda p, q, c: tirx.Select(tirx.any(p > q, tirx.isnan(p)), p, q), a, b)


def minimum(emitter: RelaxEmitter, node: Node, a: Any, b: Any) -> Any:
    tirx = emitter.tirx
    if not node.typed.is_float:
        return emitter.ops.minimum(a, b)
    return _pairwise(emitter, node, lambda p, q, c: tirx.Select(tirx.any(p < q, tirx.isnan(p)), p, q), a, b)


def mod(emitter: RelaxEmitter, node: Node, a: Any, b: Any) -> Any:
    """Of whole numbers a divisor that would trap (0, and -1 under the least number) leaves nothing."""
    op = elementwise.MOD.of(node)
    tirx = emitter.tirx
    if node.typed.is_float:
        return _pairwise(emitter, node, lambda p, q, c: _float_mod(emitter, p, q, c, fmod=op.fmod), a, b)
    left = tirx.truncmod if op.fmod else tirx.floormod

    def remainder(p: Scalar, q: Scalar, c: Const) -> Scalar:
        zero, one = tirx.const(0, p.dtype), tirx.const(1, p.dtype)
        traps = q == zero if node.typed.dtype.startswith("u") else tirx.any(q == zero, q == tirx.const(-1, p.dtype))
        return left(p, tirx.Select(traps, one, q))

    return _pairwise(emitter, node, remainder, a, b)


def _float_mod(emitter: RelaxEmitter, p: Scalar, q: Scalar, c: Const, *, fmod: bool) -> Scalar:
    tirx = emitter.tirx
    left = tirx.call_pure_extern(p.dtype, FMOD[str(p.dtype)], p, q)
    if fmod:
        return left
    other_sign = tirx.any(tirx.all(left < c(0), q > c(0)), tirx.all(left > c(0), q < c(0)))
    return tirx.Select(other_sign, left + q, left)


def shrink(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op, select = thresholds.SHRINK.of(node), emitter.tirx.Select

    def moved(p: Scalar, c: Const) -> Scalar:
        bias, lambd = c(op.bias), c(op.lambd)
        return select(p < c(-op.lambd), p + bias, select(p > lambd, p - bias, c(0)))

    return _each(emitter, node, moved, x)


def prelu(emitter: RelaxEmitter, node: Node, x: Any, slope: Any) -> Any:
    """Relax's takes one slope a channel and no others."""
    return _pairwise(emitter, node, lambda p, q, c: emitter.tirx.Select(p < c(0), p * q, p), x, slope)


def round_(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """Relax's rounds a half away from 0."""
    return _each(emitter, node, lambda p, c: emitter.te.nearbyint(p), x)


def softplus(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """Relax's is a straight line from some threshold on."""
    return _each(emitter, node, lambda p, c: _softplus(emitter, p, c), x)


def leaky_relu(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = activation.LEAKY_RELU.of(node)
    return _each(emitter, node, lambda p, c: emitter.tirx.Select(p < c(0), _times(p, c, op.alpha), p), x)


def elu(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = activation_variants.ELU.of(node)
    return _each(emitter, node, lambda p, c: _elu(emitter, p, c, op.alpha), x)


def selu(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = activation_variants.SELU.of(node)
    return _each(emitter, node, lambda p, c: _times(_elu(emitter, p, c, op.alpha), c, op.gamma), x)


def hard_sigmoid(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = activation_variants.HARD_SIGMOID.of(node)
    return _each(emitter, node, lambda p, c: _share(emitter, _times(p, c, op.alpha) + c(op.beta), c), x)


def hard_swish(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    return _each(emitter, node, lambda p, c: p * _share(emitter, p / c(6) + c(0.5), c), x)


def gelu(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = activation_variants.GELU.of(node)
    te = emitter.te

    def gated(p: Scalar, c: Const) -> Scalar:
        if op.approximate == "none":
            return c(0.5) * p * (c(1) + te.erf(p * c(math.sqrt(0.5))))
        scale, cubic = map(c, activation_variants.TANH_GELU)
        return c(0.5) * p * (c(1) + te.tanh(scale * (p + cubic * p * p * p)))

    return _each(emitter, node, gated, x)


def tanh(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """Relax's is 1 - 2 / (e^2p + 1), which has few digits near zero; there the series has them all."""
    te, select = emitter.te, emitter.tirx.Select
    near = 0.07 if node.typed.dtype == "f64" else 0.3  # what the series leaves out is below the unit of the type up to here

    def element(p: Scalar, c: Const) -> Scalar:
        square, series = p * p, c(0)
        for term in reversed(TANH_SERIES):
            series = c(term) + square * series
        return select(te.abs(p) < c(near), p * series, te.tanh(p))

    return _each(emitter, node, element, x)


def mish(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """tanh(log(1 + e^p)) is n / (n + 2) with n = e^p (e^p + 2): no digit is lost where e^p is small, and none overflows."""
    te, select = emitter.te, emitter.tirx.Select

    def element(p: Scalar, c: Const) -> Scalar:
        z = te.exp(c(0) - te.abs(p))
        below, above = z * (z + c(2)), c(1) + c(2) * z
        return p * select(p < c(0), below / (below + c(2)), above / (above + c(2) * z * z))

    return _each(emitter, node, element, x)


def equal(emitter: RelaxEmitter, node: Node, a: Any, b: Any) -> Any:
    """LLVM is asked for a comparison of booleans as if they were floats, and refuses. Of floats TVM takes x == x for true, of a NaN too."""
    if node.inputs[0].typed.is_float:
        return _pairwise(emitter, node, lambda p, q, c: emitter.tirx.all(p <= q, q <= p), a, b)
    if node.inputs[0].typed.dtype != "bool":
        return emitter.ops.equal(a, b)
    return emitter.ops.equal(*(emitter.builder.emit(emitter.ops.astype(x, "int8"), f"{node.name}.byte") for x in (a, b)))


def subtract(emitter: RelaxEmitter, node: Node, a: Any, b: Any) -> Any:
    """Of floats as a sum: where kernels are put into one TVM takes x + c - c for x, and x - x for 0."""
    if not node.typed.is_float:
        return emitter.ops.subtract(a, b)
    return _pairwise(emitter, node, lambda p, q, c: p + q * c(-1), a, b)


def logical_not(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """By bits: where it is put into one kernel with a comparison TVM turns that around, which a NaN does not bear."""
    tirx = emitter.tirx
    return _each(emitter, node, lambda p, c: (p.astype("int8") ^ tirx.const(1, "int8")).astype("bool"), x)


def where(emitter: RelaxEmitter, node: Node, condition: Any, a: Any, b: Any) -> Any:
    """All three operands broadcast at once."""

    def chosen(condition: Any, a: Any, b: Any, shape: Any) -> Any:
        def element(*at: Any) -> Any:
            return emitter.tirx.Select(_spread(emitter, condition, at), _spread(emitter, a, at), _spread(emitter, b, at))

        return emitter.te.compute(shape, element, "where")

    return emitter.compute(node, chosen, condition, a, b)


def _softplus(emitter: RelaxEmitter, p: Scalar, c: Const) -> Scalar:
    """max(p, 0) + log1p(exp(-|p|)), which never overflows, keeps a NaN, and far below zero keeps its digits."""
    te = emitter.te
    return emitter.tirx.Select(p < c(0), c(0), p) + emitter.tirx.log1p(te.exp(c(0) - te.abs(p)))


def _elu(emitter: RelaxEmitter, p: Scalar, c: Const, alpha: float) -> Scalar:
    return emitter.tirx.Select(p > c(0), p, _times(emitter.te.exp(p) - c(1), c, alpha))


def _times(p: Scalar, c: Const, factor: float) -> Scalar:
    """TVM takes a product with the number 0 for 0, which it is not of a NaN and of infinities."""
    return p * c(factor) if factor else p + p * c(-1)


def _share(emitter: RelaxEmitter, p: Scalar, c: Const) -> Scalar:
    """p cut to [0, 1]; a NaN stays one."""
    tirx = emitter.tirx
    return tirx.Select(p < c(0), c(0), tirx.Select(p > c(1), c(1), p))


def _each(emitter: RelaxEmitter, node: Node, function: Callable[[Scalar, Const], Scalar], x: Any) -> Any:
    def value(x: Any, shape: Any) -> Any:
        const = _const_of(emitter, x)

        def element(*at: Any) -> Any:
            return function(x[at], const)

        return emitter.te.compute(shape, element, node.kind.name)

    return emitter.compute(node, value, x)


def _pairwise(emitter: RelaxEmitter, node: Node, function: Callable[[Scalar, Scalar, Const], Scalar], a: Any, b: Any) -> Any:
    """A function of two elements, after broadcasting."""

    def value(a: Any, b: Any, shape: Any) -> Any:
        const = _const_of(emitter, a)

        def element(*at: Any) -> Any:
            return function(_spread(emitter, a, at), _spread(emitter, b, at), const)

        return emitter.te.compute(shape, element, node.kind.name)

    return emitter.compute(node, value, a, b)


def _const_of(emitter: RelaxEmitter, x: Any) -> Const:
    return lambda value: emitter.tirx.const(float(value), x.dtype)


def _spread(emitter: RelaxEmitter, x: Any, at: tuple[Any, ...]) -> Scalar:
    """The element of x that broadcasting brings to `at`: axes of one element stand still."""
    own = at[len(at) - len(x.shape) :]
    still = emitter.tirx.IntImm("int64", 0)
    return x[tuple(still if _is_one(extent) else i for i, extent in zip(own, x.shape, strict=True))]


def _is_one(extent: Any) -> bool:
    return getattr(extent, "value", None) == 1  # a named size is no number
