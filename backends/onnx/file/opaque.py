"""Nodes of an ONNX file that the IR keeps as they are: to the record of an opaque op, and back to a node."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ir.errors import InvalidModel
from ....ir.ops.opaque import Opaque

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, NodeProto

__all__ = [
    "attribute_text",
    "captured_names",
    "imported",
    "inner_graphs",
    "inner_names",
    "made_in",
    "node_of",
    "outer_names",
    "read_attribute",
    "renamed",
]

KINDS = {"float": 1, "int": 2, "string": 3, "floats": 6, "ints": 7, "strings": 8}  # AttributeProto.AttributeType
FIELDS = {"float": "f", "int": "i", "string": "s", "floats": "floats", "ints": "ints", "strings": "strings"}
PACKED = "packed"  # the message itself, in a few characters
TEXT = re.compile(rf"(\w+): ({'|'.join((*FIELDS, PACKED))}) = (.*)", re.ASCII | re.DOTALL)
MOST_BYTES = 1 << 28  # of one attribute, unpacked


def attribute_text(attribute: AttributeProto) -> str:
    """`axis: int = 1`, as ONNX writes it; what is no number and no text is packed."""
    kind = next((word for word, number in KINDS.items() if number == attribute.type), PACKED)
    value = _plain(kind, getattr(attribute, FIELDS[kind])) if kind != PACKED else None
    if value is None or not re.fullmatch(r"\w+", attribute.name, re.ASCII):
        packed = base64.b85encode(zlib.compress(attribute.SerializeToString(deterministic=True), 9)).decode()
        word = attribute.name if re.fullmatch(r"\w+", attribute.name, re.ASCII) else "_"
        return f"{word}: {PACKED} = {packed}"
    return f"{attribute.name}: {kind} = {value}"


def read_attribute(text: str) -> AttributeProto:
    """The attribute that `attribute_text` wrote.

    Raises: InvalidModel for any other text.
    """
    from google.protobuf.message import DecodeError
    from onnx import AttributeProto

    match = TEXT.fullmatch(text)
    if match is None:
        raise InvalidModel(f"'{text[:80]}' is no attribute of an opaque node, which are written like axis: int = 1")
    name, kind, value = match.groups()
    try:
        if kind == PACKED:
            return AttributeProto.FromString(_unpacked(value))
        attribute = AttributeProto(name=name, type=KINDS[kind])  # pyright: ignore[reportArgumentType]
        _set(attribute, kind, value)
    except (ValueError, TypeError, zlib.error, DecodeError, RecursionError) as error:
        raise InvalidModel(f"attribute '{name}' of an opaque node is no {kind} ({type(error).__name__})") from error
    return attribute


def node_of(op: Opaque, inputs: Sequence[str], outputs: Sequence[str], clashing: Mapping[str, str] | None = None) -> NodeProto:
    """The ONNX node of an op whose operands and results have these names; `clashing` are other names for some within its subgraphs.

    Raises: InvalidModel for attributes that no ONNX node wrote.
    """
    from onnx import NodeProto

    own = list(inputs[: len(inputs) - len(op.captured)])
    for place in op.absent:
        own.insert(place, "")
    node = NodeProto(op_type=op.operator, domain=op.domain, input=own, output=outputs)
    node.attribute.extend(map(read_attribute, op.attributes))
    names = dict(zip(op.captured, inputs[len(inputs) - len(op.captured) :], strict=True))
    for graph in inner_graphs(node):
        _rename(graph, names, clashing or {})
    return node


def imported(op: Opaque) -> dict[str, int]:
    """The versions of domains that its subgraphs use, and it does not.

    Raises: InvalidModel for a text that says no version.
    """
    versions: dict[str, int] = {}
    for text in op.imports:
        domain, _, version = text.rpartition(" ")
        if not version.isdecimal() or len(version) > 9:
            raise InvalidModel(f"'{text}' is no import of an opaque node, which are written like com.microsoft 1")
        versions[domain] = int(version)
    return versions


def inner_graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def made_in(graph: GraphProto) -> Iterator[str]:
    """The names that a graph defines, those of graphs inside it excepted."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (name for node in graph.node for name in node.output if name)


def inner_names(node: NodeProto) -> Iterator[str]:
    """Every name that is defined inside a node."""
    for graph in inner_graphs(node):
        yield from made_in(graph)
        for inner in graph.node:
            yield from inner_names(inner)


def outer_names(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, those that its subgraphs take from outside included."""
    yield from (name for name in node.input if name)
    yield from captured_names(node)


def captured_names(node: NodeProto) -> Iterator[str]:
    """The names that a node's subgraphs take from outside, as often as they read them."""
    for graph in inner_graphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        for inner in graph.node:
            yield from (name for name in outer_names(inner) if name not in own)
            own.update(inner.output)
        yield from (value.name for value in graph.output if value.name not in own)


def renamed(graph: GraphProto, names: Mapping[str, str]) -> GraphProto:
    """A copy in which the values that the graph itself defines have other names."""
    from onnx import GraphProto

    copy = GraphProto.FromString(graph.SerializeToString())
    _rename(copy, {}, names)
    return copy


def _rename(graph: GraphProto, outer: Mapping[str, str], clashing: Mapping[str, str]) -> None:
    """Put the names of values from outside in place of those by which the graph knows them."""
    names = dict(outer)
    for name in made_in(graph):
        names[name] = clashing.get(name, name)
    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        for value in values:
            value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for inner in inner_graphs(node):
            _rename(inner, names, clashing)


def _plain(kind: str, value: Any) -> str | None:
    """The text of a value; None where it should rather be packed."""
    if kind == "float":
        return str(np.float32(value))
    if kind == "floats":
        return f"[{','.join(str(np.float32(each)) for each in value)}]"
    if kind == "int":
        return str(value)
    if kind == "ints":
        return f"[{','.join(map(str, value))}]"
    try:
        texts = [each.decode() for each in (value if kind == "strings" else [value])]
    except UnicodeDecodeError:
        return None
    if not all(text.isprintable() for text in texts):
        return None
    return json.dumps(texts, ensure_ascii=False) if kind == "strings" else texts[0]


def _set(attribute: AttributeProto, kind: str, value: str) -> None:
    if kind == "int":
        attribute.i = int(value)
    elif kind == "float":
        attribute.f = float(value)
    elif kind == "string":
        attribute.s = value.encode()
    elif kind == "strings":
        attribute.strings.extend(text.encode() for text in json.loads(value))
    else:
        parts = value.removeprefix("[").removesuffix("]").split(",") if value != "[]" else []
        if kind == "ints":
            attribute.ints.extend(map(int, parts))
        else:
            attribute.floats.extend(map(float, parts))


def _unpacked(text: str) -> bytes:
    unpack = zlib.decompressobj()
    data = unpack.decompress(base64.b85decode(text), MOST_BYTES)
    if unpack.unconsumed_tail:
        raise ValueError("too long")
    return data
