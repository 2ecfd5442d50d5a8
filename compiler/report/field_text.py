"""Receptive fields in words and in JSON, for the lines of `convc summary`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ...passes.analysis.receptive_field import Field

__all__ = ["field_cells", "field_record"]


def field_cells(of: Mapping[str, Sequence[Field]]) -> tuple[str, str, str]:
    """Field, stride and offset of a value, of each image it depends on: 163x163, 16, -64. One number where all axes have the same."""
    if not of:
        return "field: no image", "", ""
    named = [(f" of {name}" if len(of) > 1 else "", fields) for name, fields in of.items()]
    sizes = ", ".join(_sizes(fields) + name for name, fields in named)
    finite = [fields for fields in of.values() if any(field.size is not None for field in fields)]
    strides = ", ".join(_alike([field.stride for field in fields]) for fields in finite)
    offsets = ", ".join(_alike([field.offset for field in fields]) for fields in finite)
    return f"field: {sizes}", strides and f"stride: {strides}", offsets and f"offset: {offsets}"


def field_record(of: Mapping[str, Sequence[Field]]) -> dict[str, Any]:
    """By image: size, stride and offset along each axis of space, null where a unit sees all of it. A stride may be a fraction."""
    return {
        name: {
            "size": [field.size for field in fields],
            "stride": [_number(field.stride) for field in fields],
            "offset": [field.offset for field in fields],
        }
        for name, fields in of.items()
    }


def _sizes(fields: Sequence[Field]) -> str:
    if all(field.size is None for field in fields):
        return "whole image"
    return "x".join("all" if field.size is None else str(field.size) for field in fields)


def _alike(figures: Sequence[int | Fraction | None]) -> str:
    texts = ["-" if figure is None else str(figure) for figure in figures]
    return texts[0] if len(set(texts)) == 1 else " x ".join(texts)


def _number(figure: Fraction | None) -> float | None:
    return figure if figure is None else int(figure) if figure.denominator == 1 else float(figure)
