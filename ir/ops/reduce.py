"""Reductions: reduce_mean."""

from __future__ import annotations

from dataclasses import dataclass

from ..dims import Dim
from ..errors import ShapeError
from ..op import OpDef
from ..types import Array, TensorType
from .check import need_axis, need_float

__all__ = ["OPS", "REDUCE_MEAN", "ReduceMean"]


@dataclass(frozen=True, slots=True)
class ReduceMean:
    """Mean over `axes`, kept as 1 with `keepdims`. ONNX ReduceMean; no axes mean all of them."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True


def infer_reduce(op: ReduceMean, x: TensorType) -> TensorType:
    """Raises: ShapeError for an axis out of range or named twice."""
    need_float(x)
    axes = _axes(op, x.rank)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"axes {list(op.axes)} name an axis twice")
    if op.keepdims:
        return TensorType(x.dtype, tuple(1 if i in axes else dim for i, dim in enumerate(x.shape)))
    return TensorType(x.dtype, tuple(dim for i, dim in enumerate(x.shape) if i not in axes))


def _axes(op: ReduceMean, rank: int) -> tuple[int, ...]:
    return tuple(need_axis(axis, rank) for axis in op.axes) or tuple(range(rank))


def reduce_mean(op: ReduceMean, x: Array) -> Array:
    return x.mean(axis=_axes(op, x.ndim), keepdims=op.keepdims)


def reduce_mean_magnitude(op: ReduceMean, x: Array) -> Array:
    return reduce_mean(op, abs(x))


def reduce_arithmetic(op: ReduceMean, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    return 0, inputs[0].numel


def reduce_roundings(op: ReduceMean, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    total: Dim = 1
    for axis in _axes(op, inputs[0].rank):
        total = total * inputs[0].shape[axis]
    return total + 1


REDUCE_MEAN = OpDef(
    "reduce_mean", ReduceMean, (1, 1), infer_reduce, reduce_mean, reduce_arithmetic, reduce_mean_magnitude, reduce_roundings
)
OPS = (REDUCE_MEAN,)
