"""What an operator of a file says in words: the names that it reads, and attributes that are texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ....ir.errors import InvalidModel
from ....ir.legible import quoted

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["outer_names", "text_of"]


def outer_names(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, those that its subgraphs take from outside included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            for inner in graph.node:
                yield from (name for name in outer_names(inner) if name not in own)
                own.update(inner.output)
            yield from (value.name for value in graph.output if value.name not in own)


def text_of(value: bytes, node: NodeProto) -> str:
    """An attribute that is a text.

    Raises: InvalidModel for one that messages could not quote.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise InvalidModel(f"{node.op_type} '{node.name}': an attribute is no text") from error
    if not text.isprintable():  # messages quote it
        raise InvalidModel(f"{node.op_type} '{node.name}': an attribute is {quoted(text)}, which has characters that cannot be printed")
    return text
