"""Fields of a manifest: a damaged or edited one is refused before anybody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

__all__ = [
    "Fits",
    "WrongField",
    "are_names",
    "are_names_if_any",
    "are_pairs",
    "are_tiles",
    "has_numbers",
    "is_packing",
    "is_text",
    "is_text_if_any",
    "refuse_wrong",
]

Fits = Callable[[Any], bool]


class WrongField(Exception):
    """Names the field that is missing or that convc cannot have written."""


def refuse_wrong(record: Mapping[str, Any], fields: Mapping[str, Fits]) -> None:
    """Raises: WrongField for the first that does not fit."""
    wrong = next((name for name, fits in fields.items() if not fits(record.get(name))), None)
    if wrong is not None:
        raise WrongField(wrong)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, cast("list[Any]", value)))


def is_text_if_any(value: Any) -> bool:
    """An older manifest has none."""
    return value is None or is_text(value)


def are_names_if_any(value: Any) -> bool:
    """An older manifest has none."""
    return value is None or are_names(value)


def are_pairs(value: Any) -> bool:
    """Names by names; an older manifest has none."""
    return value is None or (isinstance(value, dict) and all(map(is_text, cast("dict[str, Any]", value).values())))


def are_tiles(value: Any) -> bool:
    return isinstance(value, dict) and all(type(tile) is int and tile in (1, 2, 4) for tile in cast("dict[str, Any]", value).values())


def is_packing(value: Any) -> bool:
    """As Packed.record writes it; whether weights.packed is laid out so is seen when it is mapped."""
    if not isinstance(value, dict):
        return False
    record = cast("dict[str, Any]", value)
    entries: Any = record.get("entries")
    is_headed = is_text(record.get("layout")) and type(record.get("bytes")) is int
    return is_headed and isinstance(entries, list) and all(map(_is_entry, cast("list[Any]", entries)))


def has_numbers(value: Any, names: Sequence[str]) -> bool:
    """Whether these, and no others, have whole numbers."""
    if not isinstance(value, dict):
        return False
    record = cast("dict[str, Any]", value)
    return record.keys() == set(names) and all(type(number) is int for number in record.values())


def _is_entry(value: Any) -> bool:
    """[name, type, offset]"""
    return isinstance(value, list) and [type(part) for part in cast("list[Any]", value)] == [str, str, int]
