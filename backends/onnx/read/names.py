"""What an operator of a file says in words: the names that it reads, and attributes that are texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....ir.errors import InvalidModel
from ....ir.legible import quoted

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["text_of"]


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
