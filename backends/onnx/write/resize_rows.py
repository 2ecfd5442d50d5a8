"""Resize in the opsets' forms: scales or sizes of all axes, of some from 18 on; before 11 by scales alone, before 10 as Upsample."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.dims import Dim
from ....ir.errors import UnsupportedOp
from ....ir.graph import Node
from ....ir.ops.resize import RESIZE
from ....ir.types import Array
from ..read.resizes import rounding_before_11
from .onnx_emitter import OnnxEmitter

__all__ = ["resize"]

HALF_PIXELS = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")


def resize(node: Node, to: OnnxEmitter) -> None:
    """Sizes stay sizes, as scales in float32 they could come out one short; unless only scales do without the shape of x."""
    op, x = RESIZE.of(node), node.inputs[0]
    if to.opset < 11:
        _by_scales(node, to)
        return
    modes, roi = _modes(node, to), _roi(node, to)
    scales = None if to.opset >= 18 or _is_static(x.typed.shape[:2]) else exact_scales(node)
    if not op.sizes or scales is not None:
        given = op.scales if scales is None else scales
        to.node("Resize", node, [x.name, roi, to.constant(node, "scales", np.array([1.0, 1.0, *given], np.float32))], **modes)
    elif to.opset >= 18:
        to.node("Resize", node, [x.name, roi, "", to.dims(node, "sizes", op.sizes)], axes=list(range(2, x.typed.rank)), **modes)
    else:
        none = to.constant(node, "scales", np.zeros(0, np.float32)) if to.opset < 13 else ""
        to.node("Resize", node, [x.name, roi, none, to.dims(node, "sizes", (*x.typed.shape[:2], *op.sizes))], **modes)


def _roi(node: Node, to: OnnxEmitter) -> str:
    """Of all axes, or where sizes are said of some axes, of those."""
    op, axes = RESIZE.of(node), node.typed.rank - 2
    if not op.roi:
        return to.constant(node, "roi", np.zeros(0, np.float32)) if to.opset < 13 else ""
    starts, ends = op.roi[:axes], op.roi[axes:]
    values = (*starts, *ends) if op.sizes and to.opset >= 18 else (0, 0, *starts, 1, 1, *ends)
    return to.constant(node, "roi", np.array(values, np.float32))


def exact_scales(node: Node) -> tuple[float, ...] | None:
    """Scales that give the sizes however they are multiplied, or None. They are what runtimes compute from sizes."""
    sizes, extents = RESIZE.of(node).sizes, node.inputs[0].typed.shape[2:]
    scales: list[float] = []
    for size, extent in zip(sizes, extents, strict=False):
        if not isinstance(size, int) or not isinstance(extent, int) or not extent:
            return None
        scale = np.float32(size) / np.float32(extent)
        if float(scale) * extent != size:
            return None
        scales.append(float(scale))
    return tuple(scales) or None


def _by_scales(node: Node, to: OnnxEmitter) -> None:
    """Positions are those of `asymmetric`, rounded down, or up where x shrinks; by whole factors the nearest are those of half pixels."""
    op = RESIZE.of(node)
    scales = exact_scales(node) if op.sizes else op.scales
    is_whole = scales is not None and all(scale >= 1 and float(scale).is_integer() for scale in scales)
    is_rounded = scales is not None and op.mode == "nearest" and op.rounding == rounding_before_11(scales)
    is_plain = op.coordinates == "asymmetric" and (op.mode == "bilinear" or is_rounded)
    by_pixels = op.mode == "nearest" and op.coordinates in HALF_PIXELS and op.rounding.startswith("round") and is_whole
    if scales is None or not (is_plain or by_pixels) or op.exclude_outside:
        raise UnsupportedOp(f"{node.where}: this resize ({op.mode}, {op.coordinates}) needs ONNX opset 11, not {to.opset}")
    if to.opset < 10 and min(scales) < 1:
        raise UnsupportedOp(f"{node.where}: a resize that shrinks needs ONNX opset 10, not {to.opset}")
    mode, factors = "linear" if op.mode == "bilinear" else "nearest", [1.0, 1.0, *scales]
    if to.opset < 9:
        to.node("Upsample", node, mode=mode, scales=factors)
        return
    values: Array = np.array(factors, np.float32)
    to.node("Resize" if to.opset >= 10 else "Upsample", node, [node.inputs[0].name, to.constant(node, "scales", values)], mode=mode)


def _is_static(dims: tuple[Dim, ...]) -> bool:
    return all(isinstance(dim, int) for dim in dims)


def _modes(node: Node, to: OnnxEmitter) -> dict[str, Any]:
    op = RESIZE.of(node)
    coordinates = op.coordinates
    if coordinates == "half_pixel_symmetric" and to.opset < 19:
        extents = zip(node.inputs[0].typed.shape[2:], op.scales, node.typed.shape[2:], strict=True)
        if not op.sizes and any(before * scale != after for before, scale, after in extents if isinstance(before, int)):
            raise UnsupportedOp(f"{node.where}: half_pixel_symmetric needs ONNX opset 19, not {to.opset}")
        coordinates = "half_pixel"  # the same where no size was rounded down
    modes: dict[str, Any] = {"mode": "linear" if op.mode == "bilinear" else op.mode, "coordinate_transformation_mode": coordinates}
    if to.opset < 18 and (op.antialias or op.policy != "stretch"):
        what = "antialias" if op.antialias else op.policy
        raise UnsupportedOp(f"{node.where}: {what} needs ONNX opset 18, not {to.opset}")
    modes |= {"antialias": 1} if op.antialias else {}
    modes |= {"exclude_outside": 1} if op.exclude_outside else {}
    modes |= {"keep_aspect_ratio_policy": op.policy} if op.policy != "stretch" else {}
    modes |= {"extrapolation_value": op.extrapolation} if op.roi else {}
    modes |= {"nearest_mode": op.rounding} if op.mode == "nearest" else {}
    return modes | ({"cubic_coeff_a": op.cubic_coeff_a} if op.mode == "cubic" else {})
