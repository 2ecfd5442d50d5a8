"""Lowerings of what only a training has: the gradients of convolutions by their weights, and of max pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir.graph import Node
from ....ir.op import OpDef
from ....ir.ops.conv_weight_gradient import CONV_WEIGHT_GRADIENTS, ConvWeightGradient
from ....ir.ops.max_pool_gradient import MAX_POOL_GRADIENT, MaxPoolGradient
from .conv import accumulator, in_own_type
from .pool import counted, first_places, taps_of
from .relax_emitter import Lowering, RelaxEmitter, of_image

__all__ = ["GRADIENTS"]


def weight_gradient(emitter: RelaxEmitter, node: Node, x: Any, g: Any) -> Any:
    """A sum over images and windows for each tap."""
    te, tirx = emitter.te, emitter.tirx
    op: ConvWeightGradient = node.op
    axes, dtype = len(op.kernel), accumulator(node.typed)
    c_out, per_group, *_ = node.typed.concrete()

    def sums(x: Any, g: Any, shape: Any) -> Any:
        image = te.reduce_axis((0, g.shape[0]), "image")
        window = [te.reduce_axis((0, size), f"window{axis}") for axis, size in enumerate(g.shape[2:])]

        def term(o: Any, c: Any, *taps: Any) -> Any:
            channel = tirx.floordiv(o, c_out // op.groups) * per_group + c if op.groups > 1 else c
            place = [window[i] * op.strides[i] + taps[i] * op.dilations[i] - op.pads[i] for i in range(axes)]
            value = x[(image, channel, *place)].astype(dtype)
            if any(op.pads):
                hits = [hit for i, p in enumerate(place) for hit in (p >= 0, p < x.shape[2 + i])]
                value = tirx.if_then_else(tirx.all(*hits), value, tirx.const(0, dtype))
            return te.sum(value * g[(image, o, *window)].astype(dtype), axis=[image, *window])

        return te.compute(shape, of_image(axes, term), node.kind.name)

    return in_own_type(emitter, node, emitter.compute(node, sums, x, g))


def max_pool_gradient(emitter: RelaxEmitter, node: Node, x: Any, g: Any) -> Any:
    """Each element gathers from the windows that may hold it what those add whose greatest value it is."""
    te, tirx = emitter.te, emitter.tirx
    op: MaxPoolGradient = MAX_POOL_GRADIENT.of(node)

    def gathered(x: Any, g: Any, shape: Any) -> Any:
        first, taps = first_places(emitter, op, x, g.shape), taps_of(emitter, op)
        sizes = [size.astype("int64") for size in x.shape[2:]]
        dtype = accumulator(node.typed)

        def element(n: Any, c: Any, *at: Any) -> Any:
            window, hits = _windows(emitter, op, at, taps, g.shape[2:])
            own = tirx.if_then_else(tirx.all(*hits), first[(n, c, *window)], tirx.const(-1, "int64"))
            added = tirx.if_then_else(own == counted(at, sizes), g[(n, c, *window)].astype(dtype), tirx.const(0, dtype))
            return te.sum(added, axis=taps)

        return te.compute(shape, of_image(len(taps), element), node.kind.name)

    return in_own_type(emitter, node, emitter.compute(node, gathered, x, g))


def _windows(
    emitter: RelaxEmitter, op: MaxPoolGradient, at: Sequence[Any], taps: Sequence[Any], counts: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """The window of which each tap is at a place, and whether there is one."""
    tirx = emitter.tirx
    window: list[Any] = []
    hits: list[Any] = []
    for axis, (place, tap, count) in enumerate(zip(at, taps, counts, strict=True)):
        reach = place + op.pads[axis] - tap * op.dilations[axis]
        if isinstance(count, tirx.IntImm) and int(count) == 1:  # a quotient would be divided by 0 in TVM's arithmetic (0.27)
            window.append(tirx.const(0, "int64"))
            hits.append(reach == 0)
            continue
        window.append(tirx.floordiv(reach, op.strides[axis]))
        hits += [reach >= 0, tirx.floormod(reach, op.strides[axis]) == 0, window[-1] < count]
    return window, hits


GRADIENTS: dict[OpDef[Any], Lowering] = {
    **dict.fromkeys(CONV_WEIGHT_GRADIENTS, weight_gradient),
    MAX_POOL_GRADIENT: max_pool_gradient,
}
