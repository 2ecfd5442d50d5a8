"""Lowerings of the ops that move values: slice, pad, crop, concat, reshapes, transpose."""

from __future__ import annotations

from typing import Any

from ....ir.graph import Node
from ....ir.ops.shape import CONCAT, PAD, SLICE, TRANSPOSE, place_of
from .relax_emitter import RelaxEmitter

__all__ = ["center_crop_pad", "concat", "pad", "reshape", "slice_", "transpose"]


def concat(emitter: RelaxEmitter, node: Node, *xs: Any) -> Any:
    op = CONCAT.of(node)
    if len(xs) == 1:
        return xs[0]
    return emitter.ops.concat(list(xs), axis=op.axis)


def reshape(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """Flatten too: the type already knows what -1 or an axis stands for. A 0 in a shape is for TVM what the operand has there."""

    def nothing(x: Any, shape: Any) -> Any:
        def first(*at: Any) -> Any:
            return x[(0,) * node.inputs[0].typed.rank]

        return emitter.te.compute(shape, first)

    if 0 in node.typed.shape:  # not zeros of that shape: they would become a constant, and no library can hold an empty one
        return emitter.compute(node, nothing, x)
    return emitter.ops.reshape(x, emitter.shape(node.typed))


def transpose(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = TRANSPOSE.of(node)
    return emitter.ops.permute_dims(x, list(op.perm))


def slice_(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """Bounds are settled here by Python's rules: strided_slice crashes on a large end of a named size."""
    op = SLICE.of(node)
    extents = node.inputs[0].typed.shape
    firsts: list[Any] = [emitter.dim(0)] * len(extents)
    steps = [1] * len(extents)
    for axis, start, end, step in zip(op.axes, op.starts, op.ends, op.steps or (1,) * len(op.axes), strict=True):
        extent = extents[axis]
        if isinstance(extent, int) and isinstance(start, int) and isinstance(end, int):
            firsts[axis] = emitter.dim(slice(start, end, step).indices(extent)[0])
        else:
            firsts[axis] = emitter.dim(place_of(start, extent))
        steps[axis] = step

    def take(x: Any, shape: Any, firsts: Any) -> Any:
        def element(*at: Any) -> Any:
            return x[tuple(first + i * step for i, first, step in zip(at, firsts, steps, strict=True))]

        return emitter.te.compute(shape, element, "slice")

    return emitter.compute(node, take, x, firsts=firsts)


def pad(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = PAD.of(node)
    if op.mode == "reflect":
        return _reflected(emitter, node, x)
    half = len(op.pads) // 2
    widths = [width for pair in zip(op.pads[:half], op.pads[half:], strict=True) for width in pair]
    mode = {"constant": "constant", "edge": "replicate"}[op.mode]
    return emitter.ops.nn.pad(x, widths, pad_mode=mode, pad_value=op.value)


def center_crop_pad(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """A named size may turn out on either side, so each element asks whether it lies within x."""
    tirx = emitter.tirx

    def middle(x: Any, shape: Any) -> Any:
        firsts = [tirx.truncdiv(have - want, tirx.IntImm("int64", 2)) for have, want in zip(x.shape, shape, strict=True)]

        def element(*at: Any) -> Any:
            place = [i + first for i, first in zip(at, firsts, strict=True)]
            inside = [hit for i, have in zip(place, x.shape, strict=True) for hit in (i >= 0, i < have)]
            return tirx.if_then_else(tirx.all(*inside), x[tuple(place)], tirx.const(0, x.dtype)) if inside else x[()]

        return emitter.te.compute(shape, element, "center_crop_pad")

    return emitter.compute(node, middle, x)


def _reflected(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    """As often as it takes: a named size may turn out small, and Relax's single reflection would read beyond the input."""
    op = PAD.of(node)
    te, tirx = emitter.te, emitter.tirx

    def mirrored(place: Any, size: Any) -> Any:
        period = 2 * (size - 1)
        folded = tirx.floormod(place, te.max(period, 1))
        return te.min(folded, period - folded)

    def grow(x: Any, shape: Any) -> Any:
        def element(*at: Any) -> Any:
            befores = op.pads[: len(at)]
            return x[tuple(mirrored(i - before, size) for i, before, size in zip(at, befores, x.shape, strict=True))]

        return te.compute(shape, element, "pad")

    return emitter.compute(node, grow, x)
