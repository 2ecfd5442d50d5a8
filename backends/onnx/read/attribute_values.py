"""What an operator of a file says: its attributes as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ....ir.errors import InvalidModel, UnsupportedOp
from ....ir.legible import quoted
from ....ir.types import DTYPES
from ..file.reading import Model
from .call import shortest

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto

__all__ = ["attribute_value"]


def attribute_value(model: Model, node: NodeProto, attribute: AttributeProto) -> Any:
    """A Python value. Floats are the shortest decimals that are the same in float32: 1e-05, not 9.99999974737875e-06."""
    kind = attribute.type
    if kind == attribute.FLOAT:
        return shortest(np.float32(attribute.f))
    if kind == attribute.INT:
        return attribute.i
    if kind == attribute.STRING:
        return _text_of(attribute.s, node)
    if kind == attribute.TENSOR:
        array = model.array(attribute.t)
        if array.dtype not in DTYPES.values():
            raise UnsupportedOp(f"{node.op_type} '{node.name}': attribute '{attribute.name}' is an array of {array.dtype}")
        return array
    if kind == attribute.FLOATS:
        return [shortest(np.float32(value)) for value in attribute.floats]
    if kind == attribute.INTS:
        return list(attribute.ints)
    if kind == attribute.STRINGS:
        return [_text_of(value, node) for value in attribute.strings]
    raise UnsupportedOp(f"{node.op_type} '{node.name}': attribute '{attribute.name}' is neither a number, a text nor a tensor")


def _text_of(value: bytes, node: NodeProto) -> str:
    """An attribute that is a text.

    Raises: InvalidModel for one that messages could not quote.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise InvalidModel(f"{node.op_type} '{node.name}': an attribute is no text") from error
    if not text.isprintable():  # messages quote it
        what = f"{node.op_type} '{node.name}': an attribute is {quoted(text)}"
        raise InvalidModel(f"{what}, which has characters that cannot be printed; take them out where the file is made")
    return text
