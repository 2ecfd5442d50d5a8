"""Lowerings of quantization: Relax's own quantize rounds a half away from zero."""

from __future__ import annotations

from typing import Any

from ....ir.graph import Node
from ....ir.ops.quantize import STEPS
from ....ir.types import DTYPES, range_of
from .reduce import extreme_of
from .relax_emitter import RelaxEmitter, dtype_name

__all__ = ["dequantize_linear", "dynamic_scale", "dynamic_zero", "quantize_linear"]


def quantize_linear(emitter: RelaxEmitter, node: Node, x: Any, scale: Any, zero_point: Any) -> Any:
    te, tirx, dtype = emitter.te, emitter.tirx, dtype_name(node.typed)

    def steps(x: Any, scale: Any, zero_point: Any, shape: Any) -> Any:
        least, most = (tirx.const(bound, "float32") for bound in range_of(DTYPES[node.typed.dtype]))

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


def dynamic_scale(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    te, tirx = emitter.te, emitter.tirx

    def size(x: Any, shape: Any) -> Any:
        most, least = (_beside_zero(emitter, x, greatest=greatest) for greatest in (True, False))

        def element(*at: Any) -> Any:
            reach = most[at] - least[at]
            return tirx.Select(reach == 0, tirx.const(1, x.dtype), reach / tirx.const(STEPS, x.dtype))

        return te.compute(shape, element, "dynamic_scale")

    return emitter.compute(node, size, x)


def dynamic_zero(emitter: RelaxEmitter, node: Node, x: Any, scale: Any) -> Any:
    te, tirx, dtype = emitter.te, emitter.tirx, dtype_name(node.typed)

    def steps(x: Any, scale: Any, shape: Any) -> Any:
        least = _beside_zero(emitter, x, greatest=False)

        def element(*at: Any) -> Any:
            level = tirx.nearbyint(tirx.const(0, x.dtype) - least[at] / scale[at])
            return te.min(te.max(level, tirx.const(0, x.dtype)), tirx.const(STEPS, x.dtype)).astype(dtype)

        return te.compute(shape, element, "dynamic_zero")

    return emitter.compute(node, steps, x, scale)


def _beside_zero(emitter: RelaxEmitter, x: Any, *, greatest: bool) -> Any:
    """The greatest or the least element, with 0 among them."""
    te, tirx = emitter.te, emitter.tirx
    places = [te.reduce_axis((0, extent), f"over{axis}") for axis, extent in enumerate(x.shape)]
    reducer = extreme_of(emitter, greatest=greatest, may_be_nan=True)
    zero = tirx.const(0, x.dtype)
    if not places:
        return te.compute((), lambda: (te.max if greatest else te.min)(x[()], zero), "alone")
    extreme = te.compute((), lambda: reducer(x[tuple(places)], axis=places), "extreme")
    return te.compute((), lambda: tirx.Select(extreme[()] > zero if greatest else extreme[()] < zero, extreme[()], zero), "beside_zero")


def _along(node: Node, values: Any, at: tuple[Any, ...]) -> Any:
    axis, block = node.op.axis % node.typed.rank if node.typed.rank else 0, node.op.block
    if block:
        return values[tuple(place // block if i == axis else place for i, place in enumerate(at))]
    return values[()] if len(values.shape) == 0 else values[at[axis]]
