"""What a manifest says of its library: a damaged or edited one is refused before anybody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

__all__ = ["wrong_field"]


def wrong_field(target: Mapping[str, Any]) -> str | None:
    """The first field of a manifest's target that is missing or that convc cannot have written."""
    kind: Any = target.get("kind")
    if not isinstance(kind, str) or kind not in FIELDS:
        return "kind"
    return next((name for name, fits in FIELDS[kind].items() if not fits(target.get(name))), None)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, cast("list[Any]", value)))


def _are_tiles(value: Any) -> bool:
    return isinstance(value, dict) and all(type(tile) is int and tile in (2, 4) for tile in cast("dict[str, Any]", value).values())


def _is_packing(value: Any) -> bool:
    """As Packed.record writes it; whether weights.packed is laid out so is seen when it is mapped."""
    if not isinstance(value, dict):
        return False
    record = cast("dict[str, Any]", value)
    entries: Any = record.get("entries")
    is_headed = _is_text(record.get("layout")) and type(record.get("bytes")) is int
    return is_headed and isinstance(entries, list) and all(map(_is_entry, cast("list[Any]", entries)))


def _is_entry(value: Any) -> bool:
    """[name, type, offset]"""
    return isinstance(value, list) and [type(part) for part in cast("list[Any]", value)] == [str, str, int]


FIELDS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "cpu": {"library": _is_text, "needs": _are_names, "tiles": _are_tiles, "packed": _is_packing},
    "cuda": {"library": _is_text},
}
