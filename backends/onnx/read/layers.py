"""Rows of whole layers: recurrent ones, sums named by letters, and what is read between the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir.graph import Node
from ....ir.ops.boxes import OPTIONAL as OPTIONAL_THRESHOLDS
from ....ir.ops.recurrent import DEFAULTS, FUNCTIONS, OPTIONAL
from ....ir.ops.recurrent import OPS as RECURRENT
from .call import Call, Row
from .pointwise import cast_to

__all__ = ["ROWS"]


def einsum(c: Call) -> Node:
    return c.named("einsum", *(c.x(i) for i in range(len(c.operands))), equation=c.attribute("equation", ""))


def recurrent(name: str) -> Row:
    """Up to three results, each a node: all states, the last, and the last cell."""
    kind = next(kind for kind in RECURRENT if kind.name == name)

    def row(c: Call) -> Sequence[Node | None]:
        optional = {what: c.maybe(3 + i) for i, what in enumerate(OPTIONAL[kind.Attrs])}
        present = {what: node for what, node in optional.items() if node is not None}
        attributes: dict[str, Any] = {"hidden": c.attribute("hidden_size", c.x(2).typed.concrete()[-1])}
        attributes |= {"direction": c.attribute("direction", "forward"), "activations": _activations(c, DEFAULTS[kind.Attrs])}
        attributes |= {"clip": c.attribute("clip", 0.0), "layout": c.attribute("layout", 0), "given": tuple(present)}
        for flag in ("linear_before_reset", "input_forget"):
            if hasattr(kind.Attrs, flag):
                attributes[flag] = bool(c.attribute(flag, 0))
        operands = (c.x(0), c.x(1), c.x(2), *present.values())
        wanted = [i if name else None for i, name in enumerate(c.results)]
        return [None if i is None else c.make(kind, kind.Attrs(**attributes, result=i), *operands, result=i) for i in wanted]

    return row


def _activations(c: Call, usual: tuple[str, ...]) -> tuple[str, ...]:
    """By their names, in whatever case; the default is left out."""
    named: list[str] = c.attribute("activations", list[str](), of=str) if "activations" in c.attributes else []
    for numbers in ("activation_alpha", "activation_beta"):
        if c.attribute(numbers, list[float](), of=float):
            raise c.refuse(f"{numbers}; only activations with their default numbers can be compiled")
    known = {name.lower(): name for name in FUNCTIONS}
    found = tuple(known.get(name.lower(), name) for name in named)
    return () if found == usual * (len(found) // len(usual)) else found


def grid_sample(c: Call) -> Node:
    """Modes had other names before opset 20."""
    mode = c.attribute("mode", "linear" if c.opset >= 20 else "bilinear")
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    grid = cast_to(c, c.x(1), c.x(0).typed.dtype, "grid")
    corners = bool(c.attribute("align_corners", 0))
    return c.named("grid_sample", c.x(0), grid, mode=mode, padding=c.attribute("padding_mode", "zeros"), align_corners=corners)


def roi_align(c: Call) -> Node:
    size = c.attribute("output_height", 1), c.attribute("output_width", 1)
    coordinates = c.attribute("coordinate_transformation_mode", "half_pixel") if c.opset >= 16 else "output_half_pixel"
    numbers = {"ratio": c.attribute("sampling_ratio", 0), "scale": c.attribute("spatial_scale", 1.0)}
    mode, images = c.attribute("mode", "avg"), cast_to(c, c.x(2), "i64", "images")
    return c.named("roi_align", c.x(0), c.x(1), images, size=size, mode=mode, half_pixel=coordinates == "half_pixel", **numbers)


def non_max_suppression(c: Call) -> Node:
    optional = {what: c.maybe(2 + i) for i, what in enumerate(OPTIONAL_THRESHOLDS)}
    present = {what: node for what, node in optional.items() if node is not None}
    center, count = bool(c.attribute("center_point_box", 0)), c.new_size(c.results[0], 0)
    return c.named("non_max_suppression", c.x(0), c.x(1), *present.values(), count=count, center=center, given=tuple(present))


ROWS: dict[str, Row] = {
    "Einsum": einsum,
    "RNN": recurrent("rnn"),
    "GRU": recurrent("gru"),
    "LSTM": recurrent("lstm"),
    "GridSample": grid_sample,
    "RoiAlign": roi_align,
    "NonMaxSuppression": non_max_suppression,
}
