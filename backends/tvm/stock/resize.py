"""Lowering of resize. TVM's resize2d has no scales (it divides the sizes, which differs where a result was rounded down),
divides by zero for one aligned row, and finds positions in float32."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ....ir.errors import UnsupportedOp
from ....ir.graph import Node
from ....ir.ops.resize import CROP, RESIZE, Resize, scales_of
from .relax_emitter import RelaxEmitter, of_image

__all__ = ["resize"]


def resize(emitter: RelaxEmitter, node: Node, x: Any) -> Any:
    op = RESIZE.of(node)
    if op.policy != "stretch" or op.antialias:
        op = _by_scales(node)
    is_filter = op.antialias or op.exclude_outside
    sample = _separable if is_filter else {"nearest": _nearest, "bilinear": _bilinear, "cubic": _cubic}[op.mode]

    def sampled(x: Any, shape: Any) -> Any:
        found = sample(emitter, op, x, shape)
        return _cropped(emitter, op, found, x, shape) if op.roi else found

    return emitter.compute(node, sampled, x)


def _by_scales(node: Node) -> Resize:
    """The sizes are those of the result, so scales that are numbers may take their place.

    Raises: UnsupportedOp where named sizes decide them.
    """
    op, x = RESIZE.of(node), node.inputs[0]
    scales = scales_of(op, x.typed)
    if scales is None:
        raise UnsupportedOp(
            f"{node.where}: antialias of named sizes ({x.type} to {node.type}) is not compiled; give them values with --input"
        )
    return replace(op, scales=scales, sizes=(), policy="stretch")


def _cropped(emitter: RelaxEmitter, op: Resize, found: Any, x: Any, shape: Any) -> Any:
    """What lies outside the image is a number."""
    te, tirx = emitter.te, emitter.tirx

    def outside(axis: int) -> Any:
        def is_outside(i: Any) -> Any:
            at, last = _source(emitter, op, axis, i, x, shape), (x.shape[2 + axis] - 1).astype("float64")
            return tirx.any(at < tirx.const(0.0, "float64"), at > last)

        return te.compute((shape[2 + axis],), is_outside, f"outside{axis}")

    along = [outside(axis) for axis in range(len(op.scales))]

    def element(n: Any, c: Any, *at: Any) -> Any:
        is_outside = tirx.any(*(flags[i] for flags, i in zip(along, at, strict=True)))
        return tirx.Select(is_outside, tirx.const(op.extrapolation, x.dtype), found[(n, c, *at)])

    return te.compute(shape, of_image(len(along), element), "cropped")


def _separable(emitter: RelaxEmitter, op: Resize, x: Any, shape: Any) -> Any:
    """One axis after the other, each result a sum over as many neighbours as the filter sees."""
    axes, found = len(op.scales), x
    for axis in range(axes):
        found = _along(emitter, op, axis, found, x, shape)
    return found


def _along(emitter: RelaxEmitter, op: Resize, axis: int, found: Any, x: Any, shape: Any) -> Any:
    te, tirx = emitter.te, emitter.tirx
    narrowed = min(op.scales[axis], 1.0) if op.antialias else 1.0
    reach = math.ceil((1 if op.mode == "bilinear" else 2) / narrowed)
    size, taps = x.shape[2 + axis], emitter.dim(2 * reach)

    def below(i: Any) -> Any:
        return tirx.floor(_source(emitter, op, axis, i, x, shape))

    floors = te.compute((shape[2 + axis],), below, f"floor{axis}")

    def raw(i: Any, tap: Any) -> Any:
        place = floors[i] + (tap + (1 - reach)).astype("float64")
        weight = _weight(emitter, op, te.abs(place - _source(emitter, op, axis, i, x, shape)) * tirx.const(narrowed, "float64"))
        if not op.exclude_outside:
            return weight
        is_outside = tirx.any(place < tirx.const(0.0, "float64"), place > (size - 1).astype("float64"))
        return tirx.Select(is_outside, tirx.const(0.0, "float64"), weight)

    weights = te.compute((shape[2 + axis], taps), raw, f"raw{axis}")
    counted = te.reduce_axis((0, taps), f"counted{axis}")

    def total(i: Any) -> Any:
        return te.sum(weights[i, counted], axis=counted)

    totals = te.compute((shape[2 + axis],), total, f"total{axis}")

    def share(i: Any, tap: Any) -> Any:
        return (weights[i, tap] / totals[i]).astype(x.dtype)

    shares = te.compute((shape[2 + axis], taps), share, f"weights{axis}")
    tap = te.reduce_axis((0, taps), f"tap{axis}")

    def element(n: Any, c: Any, *at: Any) -> Any:
        place = te.max(te.min(floors[at[axis]].astype("int64") + tap + (1 - reach), size - 1), tirx.const(0, "int64"))
        return te.sum(found[(n, c, *at[:axis], place, *at[axis + 1 :])] * shares[at[axis], tap], axis=tap)

    return te.compute([*shape[: 3 + axis], *x.shape[3 + axis :]], of_image(len(op.scales), element), f"along{axis}")


def _weight(emitter: RelaxEmitter, op: Resize, distance: Any) -> Any:
    zero, one = (emitter.tirx.const(value, "float64") for value in (0.0, 1.0))
    if op.mode == "bilinear":
        return emitter.te.max(one - distance, zero)
    return emitter.tirx.Select(distance < emitter.tirx.const(2.0, "float64"), _keys(emitter, op.cubic_coeff_a, distance), zero)


def _nearest(emitter: RelaxEmitter, op: Resize, x: Any, shape: Any) -> Any:
    axes = len(op.scales)
    tables = [_table(emitter, op, axis, x, shape, "int64") for axis in range(axes)]

    def pick(n: Any, c: Any, *at: Any) -> Any:
        return x[(n, c, *(table[i] for table, i in zip(tables, at, strict=True)))]

    return emitter.te.compute(shape, of_image(axes, pick), "resize")


def _rounded(emitter: RelaxEmitter, op: Resize, at: Any) -> Any:
    tirx = emitter.tirx
    if op.rounding == "round_prefer_floor":
        return tirx.ceil(at - 0.5)
    if op.rounding == "round_prefer_ceil":
        return tirx.floor(at + 0.5)
    return tirx.floor(at) if op.rounding == "floor" else tirx.ceil(at)


def _bilinear(emitter: RelaxEmitter, op: Resize, x: Any, shape: Any) -> Any:
    axes = len(op.scales)
    tables = [_table(emitter, op, axis, x, shape, "float64") for axis in range(axes)]

    def blend(n: Any, c: Any, *at: Any) -> Any:
        between = [_between(emitter, x, table[i], 2 + axis) for axis, (table, i) in enumerate(zip(tables, at, strict=True))]

        def mixed(axis: int, *later: Any) -> Any:
            """Along this axis and those before it, at one place of the later ones."""
            if axis < 0:
                return x[(n, c, *later)]
            low, high, share = between[axis]
            return mixed(axis - 1, low, *later) * (1 - share) + mixed(axis - 1, high, *later) * share

        return mixed(axes - 1)

    return emitter.te.compute(shape, of_image(axes, blend), "resize")


def _cubic(emitter: RelaxEmitter, op: Resize, x: Any, shape: Any) -> Any:
    """The four pixels around a place along each axis, each weighed by all axes; beyond an edge its pixel is repeated."""
    te, tirx, zero = emitter.te, emitter.tirx, emitter.tirx.const(0, "int64")

    def floor(axis: int) -> Any:
        def below(i: Any) -> Any:
            return tirx.floor(_source(emitter, op, axis, i, x, shape))

        return te.compute((shape[2 + axis],), below, f"floor{axis}")

    axes = len(op.scales)
    floors = [floor(axis) for axis in range(axes)]

    def weights(axis: int) -> Any:
        def weight(i: Any, tap: Any) -> Any:
            t = _source(emitter, op, axis, i, x, shape) - floors[axis][i]
            far_before, before, after, far_after = (_keys(emitter, op.cubic_coeff_a, d) for d in (1 + t, t, 1 - t, 2 - t))
            latter = tirx.Select(tap == 2, after, far_after)
            return tirx.Select(tap == 0, far_before, tirx.Select(tap == 1, before, latter)).astype(x.dtype)

        return te.compute((shape[2 + axis], tirx.IntImm("int64", 4)), weight, f"weights{axis}")

    along = [weights(axis) for axis in range(axes)]

    def place(axis: int, i: Any, tap: int) -> Any:
        near = floors[axis][i].astype("int64") + (tap - 1)
        return te.max(te.min(near, x.shape[2 + axis] - 1), zero)

    def blend(n: Any, c: Any, *at: Any) -> Any:
        def weighed(axis: int, *before: Any) -> Any:
            """Along this axis and those after it, at one place of the former ones."""
            if axis == axes:
                return x[(n, c, *before)]
            i, total = at[axis], tirx.const(0, x.dtype)
            for tap in range(4):
                total = total + weighed(axis + 1, *before, place(axis, i, tap)) * along[axis][i, tap]
            return total

        return weighed(0)

    return te.compute(shape, of_image(axes, blend), "resize")


def _keys(emitter: RelaxEmitter, a: float, distance: Any) -> Any:
    """Keys 1981, eq. 4: the weight of a neighbour at a distance of up to 2."""
    d = distance
    return emitter.tirx.Select(d < 1.0, ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a)


def _between(emitter: RelaxEmitter, x: Any, at: Any, axis: int) -> tuple[Any, Any, Any]:
    """The two elements around position `at`, and the share of the second."""
    floor = emitter.tirx.floor(at)
    low = floor.astype("int64")
    return low, emitter.te.min(low + 1, x.shape[axis] - 1), (at - floor).astype(x.dtype)


def _table(emitter: RelaxEmitter, op: Resize, axis: int, x: Any, shape: Any, dtype: str) -> Any:
    """The place in x of each result row or column, found once instead of for every pixel."""
    last = (x.shape[2 + axis] - 1).astype("float64")
    first = emitter.tirx.const(0.0, "float64")

    def place(i: Any) -> Any:
        at = _source(emitter, op, axis, i, x, shape)
        at = _rounded(emitter, op, at) if op.mode == "nearest" else at
        return emitter.te.max(emitter.te.min(at, last), first).astype(dtype)

    return emitter.te.compute((shape[2 + axis],), place, f"resize_axis{2 + axis}")


def _source(emitter: RelaxEmitter, op: Resize, axis: int, i: Any, x: Any, shape: Any) -> Any:
    """Where result position i lies on the input's axis, in elements: step by step the formula of ir/ops/resize.py."""
    to = i.astype("float64")
    before, after = (extent[2 + axis].astype("float64") for extent in (x.shape, shape))
    zero, one = (emitter.tirx.const(value, "float64") for value in (0.0, 1.0))
    scale = after / before if op.sizes else emitter.tirx.const(op.scales[axis], "float64")
    if op.coordinates == "asymmetric":
        return to / scale
    if op.coordinates == "align_corners":
        # after is 1 only where to is 0: the divisor just has to be a number
        return to * ((before - one) / emitter.te.max(after - one, one))
    if op.coordinates == CROP:
        start, end = (emitter.tirx.const(value, "float64") for value in (op.roi[axis], op.roi[axis + len(op.scales)]))
        middle = emitter.tirx.const(0.5, "float64") * (start + end) * (before - one)
        spread = start * (before - one) + to * (end - start) * (before - one) / emitter.te.max(after - one, one)
        return emitter.tirx.Select(after == one, middle, spread)
    half = (to + 0.5) / scale - 0.5
    if op.coordinates == "half_pixel_symmetric":
        return half + (before / 2) * (one - after / (scale * before))
    return emitter.tirx.Select(after == one, zero, half) if op.coordinates == "pytorch_half_pixel" else half
