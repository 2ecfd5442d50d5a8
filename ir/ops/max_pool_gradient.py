"""The gradient of a max pool: what each window adds goes where its greatest value was. Channels are on axis 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts
from ..op import OpDef
from ..terms import Term
from ..types import Array, TensorType
from .check import need_same_dtype
from .pool import fill_window
from .unpool import MaxPoolIndices, infer_indices, max_pool_indices
from .window import Borders, PerAxis

__all__ = ["MAX_POOL_GRADIENT", "OPS", "MaxPoolGradient", "by_places"]


@dataclass(frozen=True, slots=True)
class MaxPoolGradient:
    """What max_pool(x) adds to a loss as x changes, if it adds g as its result does: each window's share where its greatest value was.

    Of equals the first in row-major order has it, as in PyTorch, and of NaNs, of which PyTorch takes the last; windows that overlap add
    up. No operator of ONNX: its MaxUnpool keeps one of several. Shapes: x[N,C,H,W], g[N,C,H',W'] -> x, and over one axis or three likewise.
    """

    kernel: PerAxis
    strides: PerAxis = ()
    pads: Borders = ()
    dilations: PerAxis = ()
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        fill_window(self)


def places_of(op: MaxPoolGradient) -> MaxPoolIndices:
    """What says where the greatest values were."""
    return MaxPoolIndices(op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode)


def infer_max_pool_gradient(op: MaxPoolGradient, x: TensorType, g: TensorType) -> TensorType:
    """Raises: ShapeError as max_pool_indices, or unless g has a value for each window."""
    need_same_dtype(x, g)
    windows = infer_indices(places_of(op), x).shape
    if g.shape != windows:
        raise ShapeError(f"gradient is {g}, expected a value for each window of {x}, {TensorType(g.dtype, windows)}")
    return x


def max_pool_gradient(op: MaxPoolGradient, x: Array, g: Array) -> Array:
    out = np.zeros(x.size, x.dtype)
    np.add.at(out, max_pool_indices(places_of(op), x).ravel(), g.ravel())
    return out.reshape(x.shape)


def max_pool_gradient_magnitude(op: MaxPoolGradient, x: Array, g: Array) -> Array:
    return max_pool_gradient(op, x, abs(g))


def max_pool_gradient_arithmetic(op: MaxPoolGradient, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, inputs[1].numel * (math.prod(op.kernel) + 1)  # a comparison a tap, and a sum


def max_pool_gradient_roundings(op: MaxPoolGradient, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    """As many windows may have an element."""
    return math.prod(op.kernel)


def result_gradient(op: MaxPoolGradient, g: Term, y: Term, x: Term, of_result: Term) -> Term:
    """What lies where the greatest values were; these stay there while x moves a little."""
    places, count = _places(op, x), x.type.numel
    return g.reshape(count).op("gather", places, axis=0)


def _places(op: MaxPoolGradient, x: Term) -> Term:
    window = {"kernel": op.kernel, "strides": op.strides, "pads": op.pads, "dilations": op.dilations, "ceil_mode": op.ceil_mode}
    return x.op("max_pool_indices", **window)


def by_places(op: MaxPoolGradient, x: Term, g: Term) -> Term:
    """In other ops, for those who have no such: scattered upon nothing."""
    places, count = _places(op, x).reshape(g.type.numel), x.type.numel
    added = g.full((count,), 0).op("scatter_elements", places, g.reshape(g.type.numel), axis=0, reduction="add")
    return added.reshape(*x.shape)


MAX_POOL_GRADIENT = OpDef(
    "max_pool_gradient",
    MaxPoolGradient,
    (2, 2),
    infer_max_pool_gradient,
    max_pool_gradient,
    max_pool_gradient_arithmetic,
    max_pool_gradient_magnitude,
    max_pool_gradient_roundings,
    facts=Facts(),
    gradient=(None, result_gradient),
)
OPS = (MAX_POOL_GRADIENT,)
