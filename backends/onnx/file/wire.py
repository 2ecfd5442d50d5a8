"""What a protobuf message will cost in memory, counted before it is parsed.

Two bytes of a file make an empty node, which takes a hundred in memory: a 100 MiB file can ask for 5 GiB before anybody can look
at anything in it.
Source: protobuf.dev, Encoding.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from ....ir.errors import InvalidModel
from .limits import Limits

__all__ = ["check_cost"]

SMALL = 4_096  # bytes; a message below this is set aside,
ASIDE = 4 * 2**20  # and looked into only if all of those together are more than this
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_VARINT = 10  # bytes
VARINT_TYPES = frozenset({3, 4, 5, 8, 13, 14, 17, 18})  # FieldDescriptor.TYPE_INT64 ... TYPE_SINT64

Table = dict[int, Any]  # a field's number to the Table of its message; to None for numbers of variable length
_Span = tuple[int, int, Table]


class _Malformed(Exception):
    """Bytes that are no protobuf message; the argument is where."""


@dataclass
class _Cost:
    """What was counted so far."""

    fields: int = 0
    messages: int = 0
    packed: int = 0  # bytes


def check_cost(data: bytes, where: str, limits: Limits) -> None:
    """Count the fields and messages of a ModelProto, and the bytes of packed numbers.

    Raises: InvalidModel for more than the limits allow, or for bytes that are no protobuf message.
    """
    spans: list[_Span] = [(0, len(data), _model_table())]
    aside: list[_Span] = []
    small, cost = SMALL, _Cost()
    while spans:
        try:
            children = _children(data, spans.pop(), cost, limits)
        except _Malformed as error:
            raise InvalidModel(f"{where}: not an ONNX file, or a damaged one: no protobuf message at byte {error}") from error
        for count, most, what in (
            (cost.fields, limits.fields, "fields"),
            (cost.messages, limits.messages, "messages"),
            (cost.packed, limits.packed_bytes, "bytes of packed integers, which could be raw_data"),
        ):
            if count > most:
                raise InvalidModel(f"{where}: more than {most:,} {what}; that is the most that is read")
        for child in children:
            (aside if child[1] - child[0] < small else spans).append(child)
        if not spans and small and sum(end - start for start, end, _ in aside) > ASIDE:
            spans, aside, small = aside, [], 0


def _children(data: bytes, span: _Span, cost: _Cost, limits: Limits) -> list[_Span]:
    """The messages in one message that hold something. Adds to `cost`, and stops when that is too much."""
    at, end, table = span
    children: list[_Span] = []
    while at < end and cost.fields <= limits.fields and cost.messages <= limits.messages:
        begin = at
        tag, at = _varint(data, at)
        kind = tag & 7
        cost.fields += 1
        if kind == LENGTH:
            length, at = _varint(data, at)
            if (number := tag >> 3) in table:
                if (inner := table[number]) is None:
                    cost.packed += length
                else:
                    cost.messages += 1
                    if length:
                        children.append((at, at + length, inner))
            at += length
        elif kind == VARINT:
            _, at = _varint(data, at)
        elif kind == FIXED32:
            at += 4
        elif kind == FIXED64:
            at += 8
        else:  # groups: ONNX never had them
            raise _Malformed(begin)
        if at > end:
            raise _Malformed(begin)
    return children


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a position, and the position after it."""
    if at >= len(data):
        raise _Malformed(at)
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    value, shift = byte & 127, 7
    for following in data[at + 1 : at + MAX_VARINT]:
        value |= (following & 127) << shift
        shift += 7
        if following < 128:
            return value, at + shift // 7
    raise _Malformed(at)


@functools.cache
def _model_table() -> Table:
    """The fields of every message below ModelProto, as the installed onnx describes them."""
    from onnx import ModelProto

    tables: dict[str, Table] = {}
    todo: list[Any] = [ModelProto.DESCRIPTOR]
    while todo:
        message = todo.pop()
        table = tables.setdefault(message.full_name, {})
        for field in message.fields:
            if (inner := field.message_type) is not None:
                if inner.full_name not in tables:
                    todo.append(inner)
                table[field.number] = tables.setdefault(inner.full_name, {})
            elif field.type in VARINT_TYPES:
                table[field.number] = None
    return tables[ModelProto.DESCRIPTOR.full_name]
