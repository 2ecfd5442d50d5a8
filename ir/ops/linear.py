"""Products without windows: dense and matmul."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..facts import Facts, gains
from ..op import OpDef
from ..terms import Term
from ..types import Array, TensorType
from .check import broadcast, need_float, need_rank, need_same_dtype

__all__ = ["DENSE", "MATMUL", "OPS", "Dense", "MatMul"]


@dataclass(frozen=True, slots=True)
class Dense:
    """x w^T + b: a fully connected layer. ONNX Gemm with transB.

    Shapes: x[N,I], w[O,I], b[O] -> [N,O].
    """


@dataclass(frozen=True, slots=True)
class MatMul:
    """Matrix product over the last two axes, the others broadcast. ONNX MatMul.

    Shapes: a[...,M,K], b[...,K,N] -> [...,M,N].
    """


def infer_dense(op: Dense, x: TensorType, w: TensorType, b: TensorType | None = None) -> TensorType:
    """Raises: ShapeError when features or bias disagree."""
    need_float(x)
    if x.rank != 2:
        raise ShapeError(f"input is {x}, expected 2 axes (N,features); flatten it first")
    need_rank("weight", w, 2)
    need_same_dtype(x, w, b)
    if x.shape[1] != w.shape[1]:
        raise ShapeError(f"weight covers {w.shape[1]} features, input has {x.shape[1]}")
    if b is not None and b.shape != (w.shape[0],):
        raise ShapeError(f"bias is {b}, expected one value for each of {w.shape[0]} outputs")
    return TensorType(x.dtype, (x.shape[0], w.shape[0]))


def dense(op: Dense, x: Array, w: Array, b: Array | None = None) -> Array:
    y = x @ w.T
    return y if b is None else y + b


def dense_magnitude(op: Dense, x: Array, w: Array, b: Array | None = None) -> Array:
    return dense(op, abs(x), abs(w), None if b is None else abs(b))


def dense_arithmetic(op: Dense, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    macs = out.numel * inputs[1].shape[1]
    return macs, macs * 2 + (out.numel if len(inputs) > 2 else 0)


def infer_matmul(op: MatMul, a: TensorType, b: TensorType) -> TensorType:
    """Raises: ShapeError when inner or batch dimensions disagree."""
    need_float(a)
    need_same_dtype(a, b)
    if a.rank < 2 or b.rank < 2:
        raise ShapeError(f"operands are {a} and {b}, expected at least 2 axes each")
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"inner dimensions of {a} and {b} differ: {a.shape[-1]} against {b.shape[-2]}")
    batch = broadcast(TensorType(a.dtype, a.shape[:-2]), TensorType(b.dtype, b.shape[:-2]))
    return TensorType(a.dtype, (*batch, a.shape[-2], b.shape[-1]))


def matmul(op: MatMul, a: Array, b: Array) -> Array:
    return np.matmul(a, b)


def matmul_magnitude(op: MatMul, a: Array, b: Array) -> Array:
    return np.matmul(abs(a), abs(b))


def matmul_arithmetic(op: MatMul, inputs: tuple[TensorType, ...], out: TensorType) -> tuple[Dim, Dim]:
    macs = out.numel * inputs[0].shape[-1]
    return macs, macs * 2


def product_roundings(op: Dense | MatMul, inputs: tuple[TensorType, ...], out: TensorType) -> Dim:
    return inputs[0].shape[-1] + 1


def dense_input_gradient(op: Dense, g: Term, y: Term, x: Term, w: Term, *bias: Term) -> Term:
    return g.op("matmul", w)


def dense_weight_gradient(op: Dense, g: Term, y: Term, x: Term, w: Term, *bias: Term) -> Term:
    return g.transpose(1, 0).op("matmul", x)


def dense_bias_gradient(op: Dense, g: Term, y: Term, *operands: Term) -> Term:
    return g.sum(0)


def matmul_left_gradient(op: MatMul, g: Term, y: Term, a: Term, b: Term) -> Term:
    return g.op("matmul", _turned(b)).fit(a)


def matmul_right_gradient(op: MatMul, g: Term, y: Term, a: Term, b: Term) -> Term:
    """Of one matrix for all as one product: its matrices, one for each of the others, would be many times what is wanted."""
    if b.rank == 2:
        a, g = (x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) for x in (a, g))
    return _turned(a).op("matmul", g).fit(b)


def _turned(x: Term) -> Term:
    """The last two axes exchanged."""
    return x.transpose(*range(x.rank - 2), x.rank - 1, x.rank - 2)


DENSE = OpDef(
    "dense",
    Dense,
    (2, 3),
    infer_dense,
    dense,
    dense_arithmetic,
    dense_magnitude,
    product_roundings,
    facts=Facts(narrow=gains),
    gradient=(dense_input_gradient, dense_weight_gradient, dense_bias_gradient),
)
MATMUL = OpDef(
    "matmul",
    MatMul,
    (2, 2),
    infer_matmul,
    matmul,
    matmul_arithmetic,
    matmul_magnitude,
    product_roundings,
    facts=Facts(narrow=gains),
    gradient=(matmul_left_gradient, matmul_right_gradient),
)
OPS = (DENSE, MATMUL)
