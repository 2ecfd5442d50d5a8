"""Repeated fields of ONNX messages: other messages in place of those that are there, nodes in an order in which they can be computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ....ir.errors import InvalidModel
from ..file.opaque import outer_names

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["in_order", "replace_all"]


def replace_all(field: Any, values: list[Any]) -> None:
    """Other messages in a repeated field; some may be those that are there."""
    copies: list[Any] = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def in_order(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Operands before readers, else in the order given.

    Raises: InvalidModel where the two parts wait for each other.
    """
    nodes = list(nodes)
    maker = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    done: set[int] = set()
    open_: set[int] = set()
    for root in range(len(nodes)):
        stack = [(root, False)]
        while stack:
            index, left = stack.pop()
            if left:
                done.add(index)
                yield nodes[index]
            elif index not in done:
                if index in open_:
                    raise InvalidModel(f"the operator that makes '{nodes[index].output[0]}' would wait for itself")
                open_.add(index)
                stack.append((index, True))
                stack.extend((maker[name], False) for name in outer_names(nodes[index]) if name in maker and maker[name] not in done)
