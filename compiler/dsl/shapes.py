"""Shapes: values joined, cut, padded, resized and put in another order."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from ...ir.dims import Dim, Expr, parse_dim
from ...ir.errors import InvalidModel, ShapeError
from ...ir.ops.rearrange import DEPTH_TO_SPACE, SPACE_TO_DEPTH, DepthToSpace, SpaceToDepth
from ...ir.ops.resize import RESIZE, Resize
from ...ir.ops.shape import CONCAT, FLATTEN, PAD, RESHAPE, SLICE, TO_THE_END, TRANSPOSE, Concat, Flatten, Pad, Reshape, Slice, Transpose
from ...ir.ops.window import Borders
from .trace import Value
from .user_line import naming_line
from .window_arguments import axes_of

__all__ = [
    "concat",
    "depth_to_space",
    "flatten",
    "pad",
    "pixel_shuffle",
    "reshape",
    "slice_axis",
    "space_to_depth",
    "transpose",
    "upsample",
]


def concat(*xs: Value, axis: int = 1) -> Value:
    """Values `xs` one after another along `axis`, given one by one. Shapes: [N,A,H,W], [N,B,H,W] -> [N,A+B,H,W]."""
    if not xs or not all(isinstance(x, Value) for x in xs):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ShapeError(naming_line("concat takes values, as in concat(a, b, axis=1)"))
    return xs[0].trace.emit(CONCAT, Concat(axis), xs)


def slice_axis(x: Value, axis: int, start: int = 0, end: int | None = None, step: int = 1) -> Value:
    """x[start:end:step] along one axis; without `end`, to the last element."""
    last = TO_THE_END if end is None else end
    return x.trace.emit(SLICE, Slice((axis,), (start,), (last,), (step,) if step != 1 else ()), (x,))


def pad(x: Value, pads: int | Borders, value: float = 0.0, mode: str = "constant") -> Value:
    """x with a border around its rows and columns, or whatever axes follow the channels. Shapes: x[N,C,H,W] -> [N,C,H+top+bottom,...].

    pads: a number for all borders, or one for each: top, left, bottom, right.
    value: what the border is filled with.
    mode: "constant", or of the image's own values "reflect" or "edge".
    """
    axes = axes_of(x)
    ends = (pads,) * (2 * axes) if isinstance(pads, int) else pads
    return x.trace.emit(PAD, Pad((0, 0, *ends[:axes], 0, 0, *ends[axes:]), value, mode), (x,))


def flatten(x: Value, axis: int = 1) -> Value:
    """Axes before `axis` as one, and those from it on as another. Shapes: x[N,C,H,W] -> [N,C*H*W]."""
    return x.trace.emit(FLATTEN, Flatten(axis), (x,))


def reshape(x: Value, *shape: Dim | str | Sequence[Dim | str]) -> Value:
    """The same elements in another shape; one -1 stands for the rest, and `"N"` or `x.shape[0]` keeps a named batch.

    The sizes are given one by one or as one tuple: reshape(x, "N", 3, 1, 1), or reshape(x, ("N", 3, 1, 1)).
    """
    only = shape[0] if len(shape) == 1 else shape
    sizes = only if isinstance(only, Sequence) and not isinstance(only, str) else shape
    return x.trace.emit(RESHAPE, Reshape(tuple(map(_size, sizes))), (x,))


def _size(given: Any) -> Dim:
    """Raises: ShapeError for what is neither a number nor a named size."""
    try:
        return given if isinstance(given, Expr) else parse_dim(given) if isinstance(given, str) else index(given)
    except (InvalidModel, TypeError):
        how = 'give whole numbers and names of sizes, as in reshape(x, "N", 3, 1, 1)'
        raise ShapeError(naming_line(f"reshape to a size {given!r}: {how}")) from None


def transpose(x: Value, *perm: int) -> Value:
    """Axes in the order `perm`. Shapes: x[A,B,C] with 2, 0, 1 -> [C,A,B]."""
    return x.trace.emit(TRANSPOSE, Transpose(perm), (x,))


def upsample(x: Value, scale: float = 2.0, mode: str = "bilinear") -> Value:
    """Rows and columns, or whatever axes there are, grown by `scale`. Shapes: x[N,C,H,W] -> [N,C,scale*H,scale*W].

    `mode` "bilinear" lies between neighbours; "nearest" takes the pixel at or before (asymmetric, floor).
    """
    scales = (float(scale),) * axes_of(x)
    if mode == "nearest":
        return x.trace.emit(RESIZE, Resize(scales, mode, "asymmetric", "floor"), (x,))
    return x.trace.emit(RESIZE, Resize(scales, mode), (x,))


def depth_to_space(x: Value, block: int, mode: str = "DCR") -> Value:
    """Channels of x to squares of `block` by `block` pixels; by `mode` the place in the square is slower ("DCR") or the channel ("CRD").

    Shapes: x[N,C,H,W] -> [N,C/block^2,block*H,block*W].
    """
    return x.trace.emit(DEPTH_TO_SPACE, DepthToSpace(block, mode), (x,))


def pixel_shuffle(x: Value, scale: int) -> Value:
    """Rows and columns of x grown by `scale` out of channels, in PyTorch's order. Shi et al. 2016."""
    return depth_to_space(x, scale, "CRD")


def space_to_depth(x: Value, block: int) -> Value:
    """Squares of `block` by `block` pixels to channels, the place in the square slower.

    Shapes: x[N,C,H,W] -> [N,C*block^2,H/block,W/block].
    """
    return x.trace.emit(SPACE_TO_DEPTH, SpaceToDepth(block), (x,))
