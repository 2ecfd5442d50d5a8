"""Rows that move values: shapes and what is computed from them, slices, pads, joins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.dims import Dim
from ....ir.graph import Node
from ....ir.types import DTYPES, Array
from .call import Call, Row

__all__ = ["ROWS", "axes_operand", "axis_of"]

END = 2**63 - 1
WRITTEN_BYTES = 64 << 10  # beyond which numbers that can be counted are not written down


def axis_of(c: Call, axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise c.refuse(f"axis {axis} is outside the {rank} axes of its operand")
    return axis + rank if axis < 0 else axis


# --- constants and shapes --------------------------------------------------------------------------------------------


def constant(c: Call) -> Node:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in c.attributes:
            c.asked.add(name)
            return c.constant(np.asarray(c.attributes[name], {"value_f": np.float32, "value_i": np.int64}.get(name[:7])))
    raise c.refuse(f"a constant of {', '.join(c.attributes) or 'nothing'}; only tensors and numbers can be compiled")


def constant_of_shape(c: Call) -> Node:
    """One value everywhere. With a named size it is spread out when the network runs."""
    zero: Array = np.zeros(1, np.float32)
    value: Array = c.attribute("value", zero)
    if value.size != 1:
        raise c.refuse(f"its value has {value.size} elements, expected one")
    dims = c.dims(0, "shape")
    numbers = [dim for dim in dims if isinstance(dim, int)]
    if len(numbers) == len(dims):
        return c.full(tuple(numbers), value.reshape(-1)[0].item(), value.dtype)
    return c.named("expand", c.constant(value.reshape(()), "value"), shape=tuple(dims))


def shape(c: Call) -> Node:
    dims = c.x().typed.shape
    start, end = c.attribute("start", 0), c.attribute("end", len(dims))
    return c.shape_value(dims[slice(start, end)])


def size(c: Call) -> Node:
    """The number of elements."""
    total = c.x().typed.numel
    if isinstance(total, int):
        return c.constant(np.array(total, np.int64))
    raise c.refuse(f"it counts {total} elements; give the named sizes a value with --input")


def range_(c: Call) -> Node:
    """A constant, or with a named size as its limit numbers that are counted when the network runs."""
    limit, dtype = c.dim(1, "limit"), DTYPES[c.x().typed.dtype]
    start, delta = (c.scalar(i, what) for i, what in ((0, "start"), (2, "delta")))
    if not isinstance(limit, int):
        if not isinstance(start, int) or not isinstance(delta, int) or delta < 1:
            raise c.refuse(f"from {start} to the named size {limit} by {delta}; give it a value with --input")
        return _counted(c, start, delta, (limit - start + (delta - 1)) // delta)
    limit = c.scalar(1, "limit")
    count = max(0, int(np.ceil((limit - start) / delta))) if delta else -1
    if not 0 <= count <= c.most_elements:
        raise c.refuse(f"from {start} to {limit} by {delta} is not a range of at most {c.most_elements:,} values")
    if count * dtype.itemsize > WRITTEN_BYTES:
        return _counted(c, start, delta, count)
    return c.constant((start + np.arange(count) * delta).astype(dtype))


def _counted(c: Call, start: Any, delta: Any, count: Dim) -> Node:
    first, step = (c.constant(np.array(value, DTYPES[c.x().typed.dtype]), what) for value, what in ((start, "start"), (delta, "delta")))
    return c.named("range", first, step, count=count)


def reshape(c: Call) -> Node:
    """0 copies the dimension at that place, unless `allowzero`; -1 is what is left."""
    x = c.x()
    target: list[Dim] = c.dims(1, "shape") if c.opset >= 5 else c.attribute("shape", list[Dim]())
    if not c.attribute("allowzero", 0):
        if any(dim == 0 and axis >= x.typed.rank for axis, dim in enumerate(target)):
            raise c.refuse(f"shape {target} copies a dimension that {x.type} does not have")
        target = [x.typed.shape[axis] if dim == 0 else dim for axis, dim in enumerate(target)]
    return c.named("reshape", x, shape=tuple(target))


def flatten(c: Call) -> Node:
    return c.named("flatten", c.x(), axis=c.attribute("axis", 1))


def axes_operand(c: Call, since: int) -> list[int] | None:
    """Axes are an attribute, and since some opset an operand; None where they are left out."""
    if c.opset < since:
        return c.attribute("axes", None)
    return None if c.maybe(1) is None else c.ints(1, "axes")


def squeeze(c: Call) -> Node:
    x = c.x()
    axes = axes_operand(c, 13)
    if axes is None:
        if any(not isinstance(dim, int) for dim in x.typed.shape):
            raise c.refuse(f"which axes of {x.type} are 1 depends on named sizes; give them a value with --input")
        axes = [axis for axis, dim in enumerate(x.typed.shape) if dim == 1]
    gone = {axis_of(c, axis, x.typed.rank) for axis in axes}
    if any(x.typed.shape[axis] != 1 for axis in gone):
        raise c.refuse(f"axes {axes} of {x.type} are not all 1")
    return c.named("reshape", x, shape=tuple(dim for axis, dim in enumerate(x.typed.shape) if axis not in gone))


def unsqueeze(c: Call) -> Node:
    x = c.x()
    axes = axes_operand(c, 13) or []
    rank = x.typed.rank + len(axes)
    new = {axis_of(c, axis, rank) for axis in axes}
    if len(new) != len(axes):
        raise c.refuse(f"axes {axes} name an axis twice")
    old = iter(x.typed.shape)
    return c.named("reshape", x, shape=tuple(1 if axis in new else next(old) for axis in range(rank)))


def expand(c: Call) -> Node:
    return c.named("expand", c.x(), shape=tuple(c.dims(1, "shape")))


def tile(c: Call) -> Node:
    return c.named("tile", c.x(), repeats=tuple(c.ints(1, "repeats")))


def transpose(c: Call) -> Node:
    x = c.x()
    return c.named("transpose", x, perm=tuple(c.attribute("perm", list(reversed(range(x.typed.rank))))))


# --- parts and joins -------------------------------------------------------------------------------------------------


def concat(c: Call) -> Node:
    return c.named("concat", *(c.x(i) for i in range(len(c.operands))), axis=c.attribute("axis", 1))


def gather(c: Call) -> Node:
    return c.named("gather", c.x(0), c.x(1), axis=c.attribute("axis", 0))


def slice_(c: Call) -> Node:
    x = c.x()
    if c.opset < 10:
        starts, ends, axes, steps = c.attribute("starts", list[int]()), c.attribute("ends", list[int]()), c.attribute("axes", None), None
    else:
        starts, ends = c.dims(1, "starts"), c.dims(2, "ends")
        axes = c.ints(3, "axes") if c.maybe(3) is not None else None
        steps = c.ints(4, "steps") if c.maybe(4) is not None else None
    axes = list(range(len(starts))) if axes is None else axes
    steps = () if steps is None or set(steps) == {1} else tuple(steps)
    if not len(axes) == len(starts) == len(ends) == (len(steps) or len(axes)):
        raise c.refuse(f"it has {len(starts)} starts, {len(ends)} ends, {len(axes)} axes and {len(steps)} steps")
    sizes = [x.typed.shape[axis_of(c, axis, x.typed.rank)] for axis in axes]
    bounds = [tuple(_bound(value, size) for value in (start, end)) for start, end, size in zip(starts, ends, sizes, strict=True)]
    return c.named("slice", x, axes=tuple(axes), starts=tuple(b[0] for b in bounds), ends=tuple(b[1] for b in bounds), steps=steps)


def _bound(value: Dim, size: Dim) -> Dim:
    """A bound as a number, if it can be: one that follows a named size is counted from the end, beyond which there is nothing."""
    behind = value - size
    if isinstance(value, int) or not isinstance(behind, int):
        return value
    return behind if behind < 0 else END


def split(c: Call) -> Sequence[Node | None]:
    """A slice for each result."""
    x, count = c.x(), len(c.results)
    axis = axis_of(c, c.attribute("axis", 0), x.typed.rank)
    total = x.typed.shape[axis]
    if not isinstance(total, int):
        raise c.refuse(f"it splits the named size {total}; give it a value with --input")
    sizes: list[int] | None = c.attribute("split", None)
    if c.opset >= 13 and c.maybe(1) is not None:
        sizes = c.ints(1, "sizes")
    part = -(-total // count)
    sizes = [min(part, total - part * i) for i in range(count)] if sizes is None else sizes
    if len(sizes) != count or sum(sizes) != total or min(sizes) < 0:
        raise c.refuse(f"sizes {sizes} do not make {total} in {count} parts")
    starts = [sum(sizes[:i]) for i in range(count)]
    return [
        c.named("slice", x, axes=(axis,), starts=(start,), ends=(start + size,), result=i) if c.results[i] else None
        for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
    ]


def pad(c: Call) -> Node:
    """Negative pads crop first."""
    x = c.x()
    rank, mode = x.typed.rank, c.attribute("mode", "constant")
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise c.refuse(f"mode '{mode}'; known are constant, edge, reflect, wrap")
    if c.opset < 11:
        pads, value = c.attribute("pads", list[int]()), c.attribute("value", 0.0)
    else:
        pads, value = c.ints(1, "pads"), c.scalar(2, "value") if c.maybe(2) is not None else 0.0
        if c.maybe(3) is not None:
            axes, written, pads = [axis_of(c, axis, rank) for axis in c.ints(3, "axes")], pads, [0] * (2 * rank)
            if len(written) != 2 * len(axes):
                raise c.refuse(f"{len(written)} pads for {len(axes)} axes")
            for i, axis in enumerate(axes):
                pads[axis], pads[axis + rank] = written[i], written[i + len(axes)]
    if len(pads) != 2 * rank:
        raise c.refuse(f"{len(pads)} pads for {rank} axes")
    if isinstance(value, int) and int(float(value)) != value:
        raise c.refuse(f"it pads with {value}, which convc keeps as float64, and that has no such number; join such a constant by Concat")
    cropped = [axis for axis in range(rank) if pads[axis] < 0 or pads[axis + rank] < 0]
    if cropped:
        bounds = [(max(0, -pads[axis]), pads[axis + rank] if pads[axis + rank] < 0 else END) for axis in cropped]
        suffix = "cropped" if max(pads) > 0 else ""
        x = c.named("slice", x, axes=tuple(cropped), starts=tuple(b[0] for b in bounds), ends=tuple(b[1] for b in bounds), suffix=suffix)
        if not suffix:
            return x
    if mode == "wrap":
        return _wrapped(c, x, [max(0, pad) for pad in pads])
    return c.named("pad", x, pads=tuple(max(0, pad) for pad in pads), value=float(value), mode=mode)


def center_crop_pad(c: Call) -> Node:
    x = c.x()
    axes: list[int] = c.attribute("axes", list[int]())
    return c.named("center_crop_pad", x, shape=tuple(c.dims(1, "shape")), axes=tuple(axis_of(c, axis, x.typed.rank) for axis in axes))


def _wrapped(c: Call, x: Node, pads: list[int]) -> Node:
    """The end before the beginning, and the beginning after the end, axis by axis. A named size may be too small for a slice of so many
    elements, which would then come out shorter; to gather them demands that they are there."""
    rank = x.typed.rank
    padded = [axis for axis in range(rank) if pads[axis] or pads[axis + rank]]
    for axis in padded:
        size, before, after = x.typed.shape[axis], pads[axis], pads[axis + rank]
        if isinstance(size, int) and max(before, after) > size:
            raise c.refuse(f"it wraps {before} and {after} around axis {axis} of {x.type}; at most the axis itself can be repeated")
        ends = c.named("slice", x, axes=(axis,), starts=(size - before,), ends=(size,), suffix=f"end{axis}")
        if isinstance(size, int):
            starts = c.named("slice", x, axes=(axis,), starts=(0,), ends=(after,), suffix=f"start{axis}")
        else:
            starts = c.named("gather", x, c.constant(np.arange(after), suffix=f"places{axis}"), axis=axis, suffix=f"start{axis}")
        x = c.named("concat", ends, x, starts, axis=axis, suffix="" if axis == padded[-1] else f"wrapped{axis}")
    return x if padded else c.named("identity", x)


# --- pictures --------------------------------------------------------------------------------------------------------


def depth_to_space(c: Call) -> Node:
    return c.named("depth_to_space", c.x(), block=c.attribute("blocksize", 0), mode=c.attribute("mode", "DCR"))


def space_to_depth(c: Call) -> Node:
    """CRD, with the channel slower than the place in the block, reorders the channels of DCR."""
    mode, block = c.attribute("mode", "DCR"), c.attribute("blocksize", 0)
    if mode not in ("DCR", "CRD"):
        raise c.refuse(f"mode '{mode}'; known are DCR, CRD")
    if mode == "DCR":
        return c.named("space_to_depth", c.x(), block=block)
    y = c.named("space_to_depth", c.x(), block=block, suffix="places")
    n, channels, rows, cols = y.typed.shape
    parted = c.named("reshape", y, shape=(n, block * block, channels // (block * block), rows, cols), suffix="parted")
    return c.named("reshape", c.named("transpose", parted, perm=(0, 2, 1, 3, 4), suffix="swapped"), shape=(n, channels, rows, cols))


ROWS: dict[str, Row] = {
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Shape": shape,
    "Size": size,
    "Range": range_,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Expand": expand,
    "Tile": tile,
    "Transpose": transpose,
    "Concat": concat,
    "Gather": gather,
    "Slice": slice_,
    "Split": split,
    "Pad": pad,
    "CenterCropPad": center_crop_pad,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
