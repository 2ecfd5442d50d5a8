"""Resize in all its forms, and Upsample before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir.dims import Dim
from ....ir.graph import Node
from ....ir.ops.resize import CROP
from ....ir.ops.window import MOST_AXES
from .call import Call, Row
from .shapes import axis_of

__all__ = ["ROWS", "rounding_before_11"]


def upsample(c: Call) -> Node:
    """Deprecated by Resize; positions as `asymmetric` has them."""
    scales = c.attribute("scales", list[float](), of=float) if c.opset < 9 else c.floats(1, "scales")
    mode = c.attribute("mode", "nearest")
    return _resized(c, scales, [], "bilinear" if mode == "linear" else mode, "asymmetric", "floor")


def resize(c: Call) -> Node:
    """Operands moved with opset 11: x, roi, scales, sizes."""
    mode = c.attribute("mode", "nearest")
    mode = "bilinear" if mode == "linear" else mode
    if c.opset < 11:
        scales = c.floats(1, "scales")
        rounding = rounding_before_11(scales) if mode == "nearest" else "floor"
        if rounding is None:
            raise c.refuse(f"its scales {scales} shrink one axis and stretch another, to the nearest; opset 11 says what that means")
        return _resized(c, scales, [], mode, "asymmetric", rounding)
    scales = [] if c.maybe(2) is None else c.floats(2, "scales")
    sizes = [] if c.maybe(3) is None else c.dims(3, "sizes")
    coordinates, rounding = c.attribute("coordinate_transformation_mode", "half_pixel"), c.attribute("nearest_mode", "round_prefer_floor")
    if coordinates == "tf_half_pixel_for_nn":  # half a pixel further than half_pixel, as opsets 11 and 12 had it
        nearest = {"floor": "round_prefer_ceil", "round_prefer_floor": "ceil"}
        if mode != "nearest" or rounding not in nearest:
            raise c.refuse(f"coordinates tf_half_pixel_for_nn with mode {mode}, {rounding}; they are meant for nearest, floor")
        coordinates, rounding = "half_pixel", nearest[rounding]
    extra: dict[str, Any] = {"cubic_coeff_a": c.attribute("cubic_coeff_a", -0.75)} if mode == "cubic" else {}
    extra |= {name: bool(c.attribute(name, 0)) for name in ("antialias", "exclude_outside")}
    extra |= {"policy": c.attribute("keep_aspect_ratio_policy", "stretch") if sizes else "stretch"}
    if coordinates == CROP:
        extra |= {"roi": _roi(c), "extrapolation": c.attribute("extrapolation_value", 0.0)}
    return _resized(c, scales, sizes, mode, coordinates, rounding, **extra)


def rounding_before_11(scales: Sequence[float]) -> str | None:
    """What onnxruntime, and ONNX's own test cases, do with nearest positions; None where axes go different ways."""
    if min(scales, default=1.0) >= 1:
        return "floor"
    return "ceil" if max(scales) <= 1 else None


def _resized(c: Call, scales: list[float], sizes: list[Dim], mode: str, coordinates: str, rounding: str, **extra: Any) -> Node:
    x = c.x()
    rank = x.typed.rank
    axes = [axis_of(c, axis, rank) for axis in c.attribute("axes", list(range(rank)))]
    given = sizes or scales
    if len(given) != len(axes):
        raise c.refuse(f"{len(given)} sizes or scales for {len(axes)} axes")
    if not 3 <= rank <= MOST_AXES + 2:
        raise c.refuse(f"its input is {x.type}; convc resizes one to three axes of space")
    by_axis: dict[int, Any] = dict(zip(axes, given, strict=True))
    for axis in (0, 1):
        if axis in by_axis and by_axis[axis] != (x.typed.shape[axis] if sizes else 1):
            raise c.refuse(f"it resizes axis {axis}; convc resizes the axes after the channels")
    attributes: dict[str, Any] = {"mode": mode, "coordinates": coordinates, **extra}
    attributes |= {"rounding": rounding} if mode == "nearest" else {}
    if extra.get("policy", "stretch") != "stretch":
        if sorted(axes) != list(range(2, rank)):
            raise c.refuse(f"{extra['policy']} of axes {axes}; convc keeps the ratio of all axes after the channels")
        attributes["sizes"] = tuple(by_axis[axis] for axis in range(2, rank))
    elif sizes:
        attributes |= _size_attributes(x, [by_axis.get(axis, x.typed.shape[axis]) for axis in range(2, rank)])
    else:
        attributes["scales"] = tuple(float(by_axis.get(axis, 1)) for axis in range(2, rank))
    return c.named("resize", x, **attributes)


def _roi(c: Call) -> tuple[float, ...]:
    """The starts of the axes of space, then the ends; images and channels are not cropped."""
    rank, roi = c.x().typed.rank, c.floats(1, "roi")
    axes = [axis_of(c, axis, rank) for axis in c.attribute("axes", list(range(rank)))]
    if len(roi) != 2 * len(axes):
        raise c.refuse(f"{len(roi)} numbers of a region for {len(axes)} axes")
    ends = dict(zip(axes, zip(roi[: len(axes)], roi[len(axes) :], strict=True), strict=True))
    if any(ends.get(axis, (0.0, 1.0)) != (0.0, 1.0) for axis in (0, 1)):
        raise c.refuse("its region is a part of the images or channels; convc resizes the axes after the channels")
    return tuple(ends.get(axis, (0.0, 1.0))[end] for end in (0, 1) for axis in range(2, rank))


def _size_attributes(x: Node, sizes: list[Dim]) -> dict[str, Any]:
    """The sizes; or a whole multiple of named sizes as a scale."""
    if all(isinstance(size, int) for size in sizes):
        return {"sizes": tuple(sizes)}
    scales = [
        next((float(k) for k in range(1, 65) if before * k == size), 0.0) for size, before in zip(sizes, x.typed.shape[2:], strict=True)
    ]
    return {"scales": tuple(scales)} if all(scales) else {"sizes": tuple(sizes)}


ROWS: dict[str, Row] = {"Upsample": upsample, "Resize": resize}
