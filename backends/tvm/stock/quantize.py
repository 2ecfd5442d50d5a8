"""Lowerings of quantize_linear and dequantize_linear: Relax's own round a half away from zero."""

from __future__ import annotations

from typing import Any

from ....ir.graph import Node
from .relax_emitter import RelaxEmitter, dtype_name

__all__ = ["dequantize_linear", "quantize_linear"]


def quantize_linear(emitter: RelaxEmitter, node: Node, x: Any, scale: Any, zero_point: Any) -> Any:
    te, tirx, dtype = emitter.te, emitter.tirx, dtype_name(node.typed)

    def steps(x: Any, scale: Any, zero_point: Any, shape: Any) -> Any:
        least, most = (bound(dtype).astype("float32") for bound in (tirx.min_value, tirx.max_value))

        def element(*at: Any) -> Any:
            step, offset = (_along(node, values, at).astype("float32") for values in (scale, zero_point))
            level = tirx.nearbyint(x[at].astype("float32") / step) + offset
            return te.max(te.min(level, most), least).astype(dtype)

        return te.compute(shape, element, "quantize_linear")

    return emitter.compute(node, steps, x, scale, zero_point)


def dequantize_linear(emitter: RelaxEmitter, node: Node, x: Any, scale: Any, zero_point: Any) -> Any:
    def values(x: Any, scale: Any, zero_point: Any, shape: Any) -> Any:
        def element(*at: Any) -> Any:
            step, offset = _along(node, scale, at), _along(node, zero_point, at)
            return (x[at].astype(scale.dtype) - offset.astype(scale.dtype)) * step

        return emitter.te.compute(shape, element, "dequantize_linear")

    return emitter.compute(node, values, x, scale, zero_point)


def _along(node: Node, values: Any, at: tuple[Any, ...]) -> Any:
    return values[()] if len(values.shape) == 0 else values[at[node.op.axis]]
