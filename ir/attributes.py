"""Attribute records to text and back, checked against the record's own field types."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, replace
from functools import cache
from typing import Any

from .dims import Dim, Expr, dim_names, parse_dim
from .errors import InvalidModel
from .legible import escaped

__all__ = ["format_attributes", "format_value", "make_attributes", "named_sizes", "quote", "unquote"]

_NUMBER = float | int  # a float, but where no float is that number
_KINDS: Mapping[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", _NUMBER: "a number", str: "a word or string"}
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ESCAPED = re.compile(r"\\(u\{([0-9a-f]{1,6})\}|.)", re.DOTALL)


def format_attributes(op: Any) -> str:
    """`{strides=[2,1], groups=2}` without the fields that come out the same where they are left out; empty when all do."""
    pairs = ((f.name, getattr(op, f.name), _left_out(op, f)) for f in fields(op))
    # the texts too, since -0.0 equals 0.0
    shown = [f"{name}={format_value(value)}" for name, value, default in pairs if value != default or str(value) != str(default)]
    return f"{{{', '.join(shown)}}}" if shown else ""


def named_sizes(op: Any) -> Iterator[str]:
    """The named sizes in a record's fields, as reshape {shape=[N,128]} has one, repeats included."""
    for name in _fields(typing.cast("type[Any]", type(op))):
        value = getattr(op, name)
        for dim in typing.cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,):
            if isinstance(dim, Expr):
                yield from dim_names(dim)


def make_attributes(Attrs: type[Any], given: dict[str, Any]) -> Any:
    """The record `Attrs` from parsed values.

    Raises: InvalidModel for an unknown, missing or ill-typed attribute, naming it.
    """
    known = _fields(Attrs)
    for name in given:
        if name not in known:
            have = ", ".join(known) or "none"
            raise InvalidModel(f"unknown attribute '{name}'; it has {have}")
    for name, field in known.items():
        if name not in given and _default(field) is MISSING:
            raise InvalidModel(f"attribute '{name}' is missing")
    kinds = _kinds(Attrs)
    return Attrs(**{name: _convert(name, value, kinds[name]) for name, value in given.items()})


def quote(text: str) -> str:
    """A double-quoted string on one line; control characters are escaped so that none reaches a terminal."""
    body = escaped(text).replace('"', '\\"')
    return f'"{body}"'


def unquote(text: str) -> str:
    """The string that `quote` wrote.

    Raises: InvalidModel for an escape it never writes.
    """

    def plain(match: re.Match[str]) -> str:
        code = match.group(2)
        if code is not None:
            return chr(min(int(code, 16), 0x10FFFF))
        known = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
        if match.group(1) not in known:
            raise InvalidModel(f"unknown escape '\\{match.group(1)}' in a string")
        return known[match.group(1)]

    return _ESCAPED.sub(plain, text[1:-1])


def _left_out(op: Any, field: Field[Any]) -> Any:
    """What a field is where it is not given: its default, or what the record makes of that beside the other fields."""
    default = _default(field)
    return getattr(replace(op, **{field.name: default}), field.name) if default == () else default


def _default(field: Field[Any]) -> Any:
    return field.default


@cache
def _fields(Attrs: type[Any]) -> Mapping[str, Field[Any]]:
    return {f.name: f for f in fields(Attrs)}


@cache
def _kinds(Attrs: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(Attrs)


def format_value(value: Any) -> str:
    """One attribute as the text form writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if _BARE.match(value) else quote(value)
    if isinstance(value, tuple):
        return f"[{','.join(map(format_value, typing.cast('tuple[Any, ...]', value)))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return repr(value) if isinstance(value, float) else str(value)


def _convert(name: str, value: Any, kind: Any) -> Any:
    """`value` as the field's type: ints pass for floats, a bare word for a string or a dimension."""
    if typing.get_origin(kind) is tuple:
        return _convert_list(name, value, typing.get_args(kind))
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind == _NUMBER and isinstance(value, int | float) and not isinstance(value, bool):
        return value if isinstance(value, int) and abs(value) < 2**64 and int(float(value)) != value else float(value)
    if kind is str and isinstance(value, str):
        return value
    if kind == Dim and isinstance(value, int | Expr) and not isinstance(value, bool):
        return value
    if kind == Dim and isinstance(value, str):
        return parse_dim(value)
    expected = _KINDS.get(kind, "a dimension")
    raise InvalidModel(f"attribute '{name}' is {_shown(value)}, expected {expected}")


def _convert_list(name: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidModel(f"attribute '{name}' is {_shown(value)}, expected a list")
    items: list[Any] = list(typing.cast("list[Any]", value))
    if kinds[-1] is Ellipsis:
        return tuple(_convert(name, item, kinds[0]) for item in items)
    if len(items) != len(kinds):
        raise InvalidModel(f"attribute '{name}' has {len(items)} values, expected {len(kinds)}")
    return tuple(_convert(name, item, kind) for item, kind in zip(items, kinds, strict=True))


def _shown(value: Any) -> str:
    return format_value(tuple(typing.cast("list[Any]", value)) if isinstance(value, list) else value)
