"""Ops that move values and compute none: concat, slice, pad, flatten, reshape, transpose."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import RENAMED, Facts, follows, is_same_type
from ..op import OpDef, elementwise_cost, no_rounding
from ..terms import EachOperand, Term, of_one
from ..types import Array, TensorType
from .adjoint import along, stepped
from .check import need_axis, need_same_dtype

__all__ = [
    "CONCAT",
    "FLATTEN",
    "OPS",
    "PAD",
    "RESHAPE",
    "RESHAPES",
    "SLICE",
    "TO_THE_END",
    "TRANSPOSE",
    "Concat",
    "Flatten",
    "Pad",
    "Reshape",
    "Slice",
    "Transpose",
]

TO_THE_END = 2**31 - 1  # what ONNX files have for an end: so or larger


@dataclass(frozen=True, slots=True)
class Concat:
    """Operands one after another along an axis. ONNX Concat."""

    axis: int = 1


@dataclass(frozen=True, slots=True)
class Slice:
    """x[start:end:step] along each named axis, Python's rules for negative and large bounds. ONNX Slice."""

    axes: tuple[int, ...]
    starts: tuple[Dim, ...]
    ends: tuple[Dim, ...]
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pad:
    """`pads` more elements before (first half) and after (second half) each axis. ONNX Pad.

    `mode` is constant (with `value`), edge or reflect.
    """

    pads: tuple[int, ...]
    value: float = 0.0
    mode: str = "constant"


@dataclass(frozen=True, slots=True)
class Flatten:
    """Two axes: those before `axis`, and the rest. ONNX Flatten. Shapes: x[N,C,H,W] -> [N,C*H*W]."""

    axis: int = 1


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same elements in another shape; one -1 stands for what is left. ONNX Reshape."""

    shape: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Transpose:
    """Axis i of the result is axis perm[i] of x. ONNX Transpose."""

    perm: tuple[int, ...]


def infer_concat(op: Concat, *xs: TensorType) -> TensorType:
    """Raises: ShapeError when operands differ off the axis."""
    first = xs[0]
    need_same_dtype(*xs)
    axis = need_axis(op.axis, first.rank)
    total: Dim = 0
    for x in xs:
        if x.rank != first.rank or any(p != q for i, (p, q) in enumerate(zip(x.shape, first.shape, strict=False)) if i != axis):
            raise ShapeError(f"operands {first} and {x} differ off axis {axis}")
        total = total + x.shape[axis]
    return TensorType(first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]))


def concat(op: Concat, *xs: Array) -> Array:
    return np.concatenate(xs, axis=op.axis)


def infer_slice(op: Slice, x: TensorType) -> TensorType:
    """Raises: ShapeError for uneven attribute lengths, a zero step, or bounds that a named size leaves open."""
    steps = op.steps or (1,) * len(op.axes)
    if not len(op.axes) == len(op.starts) == len(op.ends) == len(steps):
        raise ShapeError("slice needs as many starts, ends and steps as axes")
    if len({need_axis(axis, x.rank) for axis in op.axes}) != len(op.axes):
        raise ShapeError(f"slice axes {list(op.axes)} name an axis twice")
    shape = list(x.shape)
    for axis, start, end, step in zip(op.axes, op.starts, op.ends, steps, strict=True):
        axis = need_axis(axis, x.rank)
        size = shape[axis]
        if step == 0:
            raise ShapeError("slice step 0")
        if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
            shape[axis] = len(range(*_python(start, end, step).indices(size)))
        elif step < 0 or (isinstance(end, int) and 0 <= end < TO_THE_END):
            raise ShapeError(f"slice [{start}:{end}:{step}] of axis {axis} depends on the named size {size}; give it a value")
        else:
            shape[axis] = (place_of(end, size) - place_of(start, size) + (step - 1)) // step
    return TensorType(x.dtype, tuple(shape))


def place_of(bound: Dim, size: Dim) -> Dim:
    """A bound of a slice with named sizes, counted from the first element. One that lies behind the end whatever the sizes are is
    the end, as ONNX has it; where it depends on them it must lie inside: types at numbers show if it does not.
    """
    if isinstance(bound, int) and bound < 0:
        return size + bound
    if isinstance(bound, int) and bound >= TO_THE_END:
        return size
    behind = bound - size
    return size if isinstance(behind, int) and behind > 0 else bound


def _python(start: Dim, end: Dim, step: int) -> slice:
    """ONNX writes "to the very first element, backwards" as a large negative end. The interpreter has put numbers for named sizes."""
    assert isinstance(start, int)
    assert isinstance(end, int)
    return slice(start, None if step < 0 and end <= -(2**31) else end, step)


def slice_(op: Slice, x: Array) -> Array:
    taken = [slice(None)] * x.ndim
    for axis, start, end, step in zip(op.axes, op.starts, op.ends, op.steps or (1,) * len(op.axes), strict=True):
        taken[axis] = _python(start, end, step)
    return np.ascontiguousarray(x[tuple(taken)])


def infer_pad(op: Pad, x: TensorType) -> TensorType:
    """Raises: ShapeError for a wrong number of pads, an unknown mode, a reflection wider than the input, or an edge of nothing."""
    if len(op.pads) != 2 * x.rank:
        raise ShapeError(f"pad has {len(op.pads)} pads, expected 2 for each of {x.rank} axes")
    if op.mode not in ("constant", "edge", "reflect"):
        raise ShapeError(f"unknown pad mode '{op.mode}'; known are constant, edge, reflect")
    if min(op.pads, default=0) < 0:
        raise ShapeError(f"pads {list(op.pads)} must not be negative; use slice to crop")
    shape: list[Dim] = []
    for axis, size in enumerate(x.shape):
        before, after = op.pads[axis], op.pads[axis + x.rank]
        if op.mode == "edge" and size == 0 and before + after:
            raise ShapeError(f"edge pads {before} and {after} repeat an element of axis {axis}, which has none")
        if op.mode == "reflect" and isinstance(size, int) and before + after and max(before, after) >= size:
            raise ShapeError(f"reflect pads {before} and {after} reach the size {size} of axis {axis}")
        shape.append(size + before + after)
    return TensorType(x.dtype, tuple(shape))


def pad(op: Pad, x: Array) -> Array:
    widths = [(op.pads[axis], op.pads[axis + x.ndim]) for axis in range(x.ndim)]
    if not widths:
        return x  # np.pad refuses a scalar
    if op.mode == "constant":
        return np.pad(x, widths, constant_values=op.value)
    return np.pad(x, widths, mode="edge") if op.mode == "edge" else np.pad(x, widths, mode="reflect")


def infer_flatten(op: Flatten, x: TensorType) -> TensorType:
    axis = need_axis(op.axis, x.rank, end=1)
    halves = TensorType(x.dtype, x.shape[:axis]), TensorType(x.dtype, x.shape[axis:])
    return TensorType(x.dtype, (halves[0].numel, halves[1].numel))


def flatten(op: Flatten, x: Array) -> Array:
    axis = op.axis + x.ndim if op.axis < 0 else op.axis
    return x.reshape(int(np.prod(x.shape[:axis])), -1) if x.size else x.reshape(int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))


def infer_reshape(op: Reshape, x: TensorType) -> TensorType:
    """Raises: ShapeError when the number of elements would change."""
    if op.shape.count(-1) > 1:
        raise ShapeError(f"reshape to {_list(op.shape)} has more than one -1")
    if any(isinstance(dim, int) and dim < -1 for dim in op.shape):
        raise ShapeError(f"reshape to {_list(op.shape)} has a negative dimension")
    shape = tuple(_rest(op.shape, x) if dim == -1 else dim for dim in op.shape)
    result = TensorType(x.dtype, shape)
    if result.numel != x.numel:
        raise ShapeError(f"reshape of {x} to {_list(shape)} changes the number of elements from {x.numel} to {result.numel}")
    return result


def _rest(shape: tuple[Dim, ...], x: TensorType) -> Dim:
    """What -1 stands for: the input's elements over the known ones, common named sizes cancelled, and so common sizes of 0."""
    left = list(x.shape)
    known = 1
    for dim in shape:
        if dim == -1:
            continue
        if dim in left and (dim == 0 or not isinstance(dim, int)):
            left.remove(dim)
        elif isinstance(dim, int):
            known *= dim
        else:
            raise ShapeError(f"reshape of {x} to {_list(shape)}: {dim} is not a dimension of the input")
    rest = TensorType(x.dtype, tuple(left)).numel
    quotient = rest // known if known > 0 else 0
    if quotient * known != rest:
        raise ShapeError(f"reshape of {x} to {_list(shape)}: {rest} elements do not divide by {known}")
    return quotient


def _list(shape: tuple[Dim, ...]) -> str:
    return f"[{','.join(str(dim) for dim in shape)}]"


def reshape(op: Reshape, x: Array) -> Array:
    """The interpreter has put numbers for named sizes before it calls this."""
    if not x.size:  # NumPy knows no -1 beside a 0
        return x.reshape(infer_reshape(op, TensorType.of(x)).concrete())
    return x.reshape(tuple(dim if isinstance(dim, int) else -1 for dim in op.shape))


def infer_transpose(op: Transpose, x: TensorType) -> TensorType:
    if sorted(op.perm) != list(range(x.rank)):
        raise ShapeError(f"perm {list(op.perm)} does not name each of {x.rank} axes once")
    return TensorType(x.dtype, tuple(x.shape[axis] for axis in op.perm))


def transpose(op: Transpose, x: Array) -> Array:
    return np.asarray(x.transpose(op.perm), order="C")


def is_in_order(op: Transpose, inputs: tuple[TensorType, ...], out: TensorType) -> bool:
    return op.perm == tuple(range(len(op.perm)))


def concat_gradient(op: Concat, place: int, g: Term, y: Term, *xs: Term) -> Term:
    axis = op.axis % y.rank
    start = sum((x.shape[axis] for x in xs[:place]), start=0)
    return g.cut(axis, start, start + xs[place].shape[axis])


def slice_gradient(op: Slice, g: Term, y: Term, x: Term) -> Term:
    """Zeros where nothing was taken. The last axis comes first: to spread elements apart is slow, and there are fewer as yet."""
    taken_by = list(zip(op.axes, op.starts, op.ends, op.steps or (1,) * len(op.axes), strict=True))
    for axis, start, end, step in sorted(taken_by, key=lambda cut: -need_axis(cut[0], x.rank)):
        axis = need_axis(axis, x.rank)
        size = x.shape[axis]
        if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
            taken = range(size)[_python(start, end, step)]
            if not taken:
                g = g.full((*g.shape[:axis], size, *g.shape[axis + 1 :]), 0)
                continue
            if step < 0:
                g, taken = g.flipped(axis), taken[::-1]
            first = taken[0]
        else:
            first = place_of(start, size)
            if not isinstance(first, int):
                raise ShapeError(f"slice from {first} of axis {axis} depends on a named size")
        g = stepped(g, axis, first, abs(step), size)
    return g


def pad_gradient(op: Pad, g: Term, y: Term, x: Term) -> Term:
    for axis, size in enumerate(x.shape):
        before, after = op.pads[axis], op.pads[axis + x.rank]
        if op.mode == "constant":
            g = g.cut(axis, before, before + size)
        elif before or after:
            if not isinstance(size, int):
                raise ShapeError(f"what {op.mode} pads repeat of axis {axis} depends on the named size {size}")
            g = along(g, axis, (before + size + after, size), functools.partial(_padding, op.mode, size, before, after))
    return g


def _padding(mode: str, size: int, before: int, after: int) -> Array:
    """The matrix of one axis: which element each place of the padded axis has."""
    eye, widths = np.eye(size), ((before, after), (0, 0))
    return np.pad(eye, widths, mode="edge") if mode == "edge" else np.pad(eye, widths, mode="reflect")


RESHAPED = of_one(lambda op, g, y, x: g.reshape(*x.shape))

# What of these has memory of its own although sharing looks possible: concat and pad have their operands in the result with gaps,
# unless the axis is the first; so has slice its result in the operand, and kernels want dense tensors; transpose moves elements to
# places that have not been read yet.
CONCAT = OpDef(
    "concat",
    Concat,
    (1, None),
    infer_concat,
    concat,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(identity=lambda op, inputs, out: len(inputs) == 1, narrow=follows),
    gradient=EachOperand(concat_gradient),
)
SLICE = OpDef(
    "slice",
    Slice,
    (1, 1),
    infer_slice,
    slice_,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(
        identity=lambda op, inputs, out: inputs[0] == out and all(step > 0 for step in op.steps),
        narrow=follows,
        sizes=("starts", "ends"),
    ),
    gradient=(slice_gradient,),
)
PAD = OpDef(
    "pad",
    Pad,
    (1, 1),
    infer_pad,
    pad,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(identity=lambda op, inputs, out: not any(op.pads), narrow=follows),
    gradient=(pad_gradient,),
)
FLATTEN = OpDef(
    "flatten",
    Flatten,
    (1, 1),
    infer_flatten,
    flatten,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(reuse=RENAMED, identity=is_same_type, narrow=follows),
    gradient=RESHAPED,
)
RESHAPE = OpDef(
    "reshape",
    Reshape,
    (1, 1),
    infer_reshape,
    reshape,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(reuse=RENAMED, identity=is_same_type, narrow=follows, sizes=("shape",)),
    gradient=RESHAPED,
)
TRANSPOSE = OpDef(
    "transpose",
    Transpose,
    (1, 1),
    infer_transpose,
    transpose,
    elementwise_cost(0),
    roundings=no_rounding,
    facts=Facts(identity=is_in_order, narrow=follows),
    gradient=of_one(lambda op, g, y, x: g.transpose(*(op.perm.index(axis) for axis in range(x.rank)))),
)
RESHAPES = (RESHAPE, FLATTEN)  # the same elements in the same order, under another shape
OPS = (CONCAT, SLICE, PAD, FLATTEN, RESHAPE, TRANSPOSE)
