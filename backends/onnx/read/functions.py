"""Local functions of a file, written out where they are called: no node of a graph calls anything.

ONNX's own inliner does it, which is native code, in a process of its own. It is not asked before it is sure that it comes to an end: no
function calls itself, and what comes out is no larger than a file may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ....ir.errors import InvalidModel
from ....ir.legible import quoted
from ..file.checking import check_model
from ..file.limits import Limits
from ..file.opaque import inner_graphs
from ..file.reading import Model, imported_opsets
from ..file.saving import copy_fields
from .child import Child

if TYPE_CHECKING:
    from onnx import FunctionProto, ModelProto, NodeProto

__all__ = ["without_functions"]

SECONDS = 20
ANSWER_BYTES = 1 << 28
PROGRAM = """
from onnx import ModelProto, inliner

def answer(data):
    model = ModelProto.FromString(data)
    made = inliner.inline_local_functions(model)
    if made.functions:  # of another opset than the graph
        made = inliner.inline_local_functions(model, convert_version=True)
    return made.SerializeToString()
"""

Key = tuple[str, str, str]  # a function's domain, name and overload


def without_functions(model: Model) -> Model:
    """The model with every call of a local function replaced by what the function does.

    Raises: InvalidModel for functions that call themselves, are there twice, or grow beyond the limits.
    """
    proto, file = model.proto, model.path.name
    if not proto.functions:
        return model
    functions: dict[Key, FunctionProto] = {}
    for function in proto.functions:
        key = (function.domain, function.name, function.overload)
        if key in functions:
            raise InvalidModel(f"{file}: function {quoted(function.name)} is there twice")
        functions[key] = function
    _check_growth(proto, functions, file, model.limits)
    made = _inlined(proto)
    if made is None or made.functions:
        names = ", ".join(quoted(function.name) for function in (proto if made is None else made).functions[:5])
        raise InvalidModel(f"{file}: the local functions {names} cannot be written out where they are called")
    opset = imported_opsets(made, model.path)
    check_model(made, file, opset, model.limits)
    return replace(model, proto=made, opset=opset)


def _check_growth(model: ModelProto, functions: Mapping[Key, FunctionProto], file: str, limits: Limits) -> None:
    """Raises: InvalidModel for a function that calls itself, by others perhaps, or for more nodes than a file may have."""
    sizes: dict[Key, int] = {}  # nodes once everything in it is written out
    for root in functions:
        path: list[Key] = []
        stack = [(root, False)]
        while stack:
            key, left = stack.pop()
            if left:
                path.pop()
                sizes[key] = min(sum(sizes.get(_key(node), 1) for node in _nodes(functions[key].node)), limits.nodes + 1)
            elif key in path:
                raise InvalidModel(f"{file}: function {quoted(key[1])} calls itself; a network is no recursion")
            elif key not in sizes:
                path.append(key)
                stack.append((key, True))
                stack += [(called, False) for node in _nodes(functions[key].node) if (called := _key(node)) in functions]
    total = sum(sizes.get(_key(node), 1) for node in _nodes(model.graph.node))
    if total > limits.nodes:
        raise InvalidModel(f"{file}: its local functions come to over {limits.nodes:,} nodes where they are called; that is the most")


def _key(node: NodeProto) -> Key:
    return (node.domain, node.op_type, node.overload)


def _nodes(nodes: Any) -> Iterator[NodeProto]:
    """Nodes and those inside them."""
    for node in nodes:
        yield node
        for graph in inner_graphs(node):
            yield from _nodes(graph.node)


def _inlined(model: ModelProto) -> ModelProto | None:
    """The model after ONNX's inliner, which does not get to see weights; None where it fails."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    slim = ModelProto()
    copy_fields(model, slim, without="graph")
    copy_fields(model.graph, slim.graph, without="initializer")
    given = {value.name for value in model.graph.input}
    names = [tensor.name for tensor in model.graph.initializer if tensor.name not in given]
    for name in names:
        slim.graph.input.add(name=name)
    child = Child(PROGRAM, SECONDS, ANSWER_BYTES, 1)
    try:
        made = ModelProto.FromString(child.ask(slim.SerializeToString()) or b"")
    except (DecodeError, ValueError):
        return None
    finally:
        child.close()
    if not made.HasField("graph"):
        return None
    del made.graph.input[len(model.graph.input) :]
    made.graph.initializer.extend(model.graph.initializer)
    return made
