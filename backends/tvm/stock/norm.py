"""Lowerings of batch_norm and local_response_norm."""

from __future__ import annotations

from typing import Any

from ....ir.graph import Node
from ....ir.ops.norm import BATCH_NORM, LOCAL_RESPONSE_NORM
from .relax_emitter import RelaxEmitter

__all__ = ["batch_norm", "local_response_norm"]


def batch_norm(emitter: RelaxEmitter, node: Node, x: Any, scale: Any, shift: Any, mean: Any, var: Any) -> Any:
    op = BATCH_NORM.of(node)
    normed = emitter.ops.nn.batch_norm(x, scale, shift, mean, var, axis=1, epsilon=op.epsilon, training=False)
    return emitter.tvm.relax.TupleGetItem(emitter.builder.emit(normed, f"{node.name}.stats"), 0)


def local_response_norm(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """Relax has no such op, and topi's wants four axes and an odd size."""
    op = LOCAL_RESPONSE_NORM.of(node)
    te, tirx = emitter.te, emitter.tirx
    before = (op.size - 1) // 2

    def norm(x: Any, shape: Any) -> Any:
        shift = te.reduce_axis((0, op.size), "shift")

        def square(n: Any, c: Any, *at: Any) -> Any:
            near = c + shift - before
            inside = tirx.all(near >= 0, near < x.shape[1])
            value = tirx.if_then_else(inside, x[(n, near, *at)] * x[(n, near, *at)], tirx.const(0, x.dtype))
            return te.sum(value, axis=shift)

        squares = te.compute(shape, square, "lrn_squares")
        alpha, beta, bias = (tirx.const(value, x.dtype) for value in (op.alpha / op.size, op.beta, op.bias))

        def quotient(*at: Any) -> Any:
            return x[at] / te.power(bias + alpha * squares[at], beta)

        return te.compute(shape, quotient, "local_response_norm")

    return emitter.compute(node, norm, x)
