"""The errors of layers that are computed with fewer products, by Winograd's tiles or by quarters."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ....ir.graph import Node
from ....ir.ops.conv import CONV2D
from ....ir.ops.conv_weight_gradient import CONV2D_WEIGHT_GRADIENT
from ....ir.ops.linear import DENSE
from ....ir.types import Array
from .kernels.strassen import error as quarters
from .kernels.strassen.quarters import QUARTERED
from .kernels.winograd import error as tiles
from .kernels.winograd.weight_gradient import TiledWeightGradient
from .unit_strides import UnitStrides, turned, unit_strides

__all__ = ["error_bound", "form_name", "noise"]

UNDERFLOW = 2.0**-126  # float32 engines may flush what is smaller, at every rounding


def form_name(tile: int) -> str:
    return "quarters" if tile == QUARTERED else f"F({tile}x{tile})"


def noise(tile: int, node: Node, x: Array, w: Array) -> Array:
    """One standard deviation of the error of every result, over the unit roundoff. Of a gradient by weights `w` is that of the result."""
    if tile == QUARTERED:
        return _as_result(node, quarters.noise(_rows(node, x), _columns(node, w)), x)
    if node.kind is CONV2D_WEIGHT_GRADIENT:
        return tiles.gradient_noise(_gradient(tile, node, x, w), x, w)
    form = _form(node)
    w = turned(w) if form.is_turned else w
    return np.concatenate([tiles.noise(tile, form.pads, *group, form.dilations) for group in _groups(form, x, w)], axis=1)


def error_bound(tile: int, node: Node, x: Array, w: Array, b: Array | None = None) -> Array:
    """Bound on |computed - true| of every result, before the epilogue's steps, in float32; float64. Operands as for `noise`."""
    if tile == QUARTERED:
        rows, columns = _rows(node, x), _columns(node, w)
        bound = quarters.error_bound(rows, columns, b) + UNDERFLOW * quarters.roundings(len(columns))
        return _as_result(node, bound, x)
    if node.kind is CONV2D_WEIGHT_GRADIENT:
        size = _gradient(tile, node, x, w)
        return tiles.gradient_error_bound(size, x, w) + UNDERFLOW * tiles.gradient_roundings(size)
    form = _form(node)
    w = turned(w) if form.is_turned else w
    _, c_in, r, _ = w.shape
    biases = [None] * form.groups if b is None else np.split(b, form.groups)
    bounds = [
        tiles.error_bound(tile, form.pads, *group, bias, dilations=form.dilations)
        for group, bias in zip(_groups(form, x, w), biases, strict=True)
    ]
    return np.concatenate(bounds, axis=1) + UNDERFLOW * tiles.roundings(tile, r, c_in)


def _groups(form: UnitStrides, x: Array, w: Array) -> Iterator[tuple[Array, Array]]:
    """Each group's inputs and filters."""
    return zip(np.split(x, form.groups, axis=1), np.split(w, form.groups), strict=True)


def _gradient(tile: int, node: Node, x: Array, g: Array) -> TiledWeightGradient:
    (n, c_in, rows, cols), c_out = x.shape, g.shape[1]
    return TiledWeightGradient(tile, n, c_in, c_out, rows, cols, _form(node).pads)


def _form(node: Node) -> UnitStrides:
    form = unit_strides(node)
    assert form is not None
    return form


def _rows(node: Node, x: Array) -> Array:
    """[images,rows,I]: pixels, or the last axis of several rows."""
    if node.kind is CONV2D:
        return x.reshape(*x.shape[:2], -1).swapaxes(1, 2)
    return x.reshape(-1, next((extent for extent in x.shape[-2::-1] if extent != 1), 1), x.shape[-1])


def _columns(node: Node, w: Array) -> Array:
    """[I,O]."""
    return w.reshape(len(w), -1).T if node.kind in (CONV2D, DENSE) else w


def _as_result(node: Node, rows: Array, x: Array) -> Array:
    if node.kind is not CONV2D:
        return rows.reshape(*x.shape[:-1], rows.shape[-1])
    assert rows.shape[1] == math.prod(x.shape[2:])
    return rows.swapaxes(1, 2).reshape(len(x), -1, *x.shape[2:])
