"""Operators that the importer left out, put back around the exported graph as the file had them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ....ir.errors import InvalidModel, UnsupportedOp
from ..read.importer import Imported
from ..read.names import outer_names

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["splice"]


def splice(model: ModelProto, imported: Imported) -> ModelProto:
    """`model`, the export of the imported graph after passes, with the foreign operators between its nodes.

    The model is changed in place and returned. Inputs that stood for foreign results go, and outputs that only foreign operators
    read.

    Raises: UnsupportedOp where the two parts are of different opsets, so that an operator could change its meaning, or have different
    values of one name.
    """
    if not imported.foreign:
        return model
    original, graph = imported.model.proto, model.graph
    opsets = [{entry.domain.replace("ai.onnx", "", 1): entry.version for entry in proto.opset_import} for proto in (original, model)]
    if opsets[0].get("", opsets[1][""]) != opsets[1][""]:
        raise UnsupportedOp(
            f"{imported.model.path.name} is of opset {opsets[0]['']} and the export of {opsets[1]['']}; "
            "operators pass through only into their own opset: convert the file to 13 or newer first"
        )
    foreign = [original.graph.node[position] for position in imported.foreign]
    results = {name for node in foreign for name in node.output}
    _replace(graph.input, [value for value in graph.input if value.name not in results])
    made = {value.name: value for value in graph.output}
    _replace(graph.output, [made.get(value.name, value) for value in original.graph.output])
    wanted = {name for node in foreign for name in outer_names(node)} | {value.name for value in original.graph.output}
    present = {tensor.name for tensor in graph.initializer} | {node_name for node in graph.node for node_name in node.output}
    read = [tensor for tensor in original.graph.initializer if tensor.name in wanted]
    foreign_names = {tensor.name for tensor in read} | {name for name in results if name}
    if clashing := sorted(present & foreign_names - {node.name for node in imported.graph.nodes}):
        raise UnsupportedOp(
            f"{imported.model.path.name}: an operator that passes through has a value '{clashing[0]}', and so has what convc made of the "
            "rest; rename it in the file"
        )
    graph.initializer.extend(tensor for tensor in read if tensor.name not in present)
    _replace(graph.node, list(_in_order([*graph.node, *foreign])))
    model.opset_import.extend(entry for entry in original.opset_import if entry.domain not in ("", "ai.onnx"))
    return model


def _replace(field: Any, values: list[Any]) -> None:
    copies: list[Any] = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def _in_order(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
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
