"""What the rows write into: ONNX nodes and the small constants that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.graph import Graph, Node, fresh_name
from ...ir.types import Array

__all__ = ["Emitter"]


class Emitter:
    """Collects the nodes and initializers of one ONNX graph at one opset."""

    def __init__(self, graph: Graph, opset: int) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.taken = {node.name for node in graph.nodes}

    def node(self, op_type: str, node: Node, inputs: Sequence[str] | None = None, **attributes: Any) -> None:
        """One ONNX node that computes `node`; its inputs are the node's operands unless given."""
        from onnx import helper

        names = [operand.name for operand in node.inputs] if inputs is None else list(inputs)
        made = helper.make_node(op_type, names, [node.name], name=node.name, doc_string=_origin(node), **attributes)
        self.nodes.append(made)

    def constant(self, node: Node, what: str, values: Array) -> str:
        """The name of an initializer `node.what` that holds `values`."""
        from onnx import numpy_helper

        name = fresh_name(f"{node.name}.{what}", self.taken)
        self.initializers.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def int64s(self, node: Node, what: str, values: Sequence[int]) -> str:
        return self.constant(node, what, np.array(values, dtype=np.int64))


def _origin(node: Node) -> str:
    """Source location, scope and provenance in one line, for whoever opens the file in a viewer."""
    origin = node.origin
    parts = [f"at {origin.source}"] if origin.source else []
    parts += [f"in {origin.scope}"] if origin.scope else []
    parts += [f"from {', '.join(origin.made_from)}"] if origin.made_from else []
    return " ".join(parts)
