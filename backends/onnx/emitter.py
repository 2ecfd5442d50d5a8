"""What the rows write into: ONNX nodes and the small constants that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ir.errors import UnsupportedOp
from ...ir.graph import Graph, Node, fresh_name
from ...ir.types import DTYPES, Array

__all__ = ["SOURCE", "Emitter"]

SOURCE = "onnx:"  # begins the source of a node that stood in a file; its name there follows


class Emitter:
    """Collects the nodes and initializers of one ONNX graph at one opset."""

    def __init__(self, graph: Graph, opset: int) -> None:
        self.graph = graph
        self.opset = opset
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.names: set[str] = set()  # of operators, where they are not those of their values
        self.taken = {node.name for node in graph.nodes}

    def node(self, op_type: str, node: Node, inputs: Sequence[str] | None = None, outputs: Sequence[str] = (), **attributes: Any) -> None:
        """One ONNX node that computes `node`; its inputs are the node's operands unless given, its one output the node's name."""
        from onnx import helper

        self._check_element_type(op_type, node)
        names = [operand.name for operand in node.inputs] if inputs is None else list(inputs)
        made = helper.make_node(op_type, names, outputs or [node.name], name=self._own_name(node), doc_string=_origin(node), **attributes)
        self.nodes.append(made)

    def helper_node(self, op_type: str, node: Node, what: str, inputs: Sequence[str], **attributes: Any) -> str:
        """The name of an intermediate value `node.what` that the lowering of `node` needs on its way."""
        from onnx import helper

        name = fresh_name(f"{node.name}.{what}", self.taken)
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, doc_string=_origin(node), **attributes))
        return name

    def _own_name(self, node: Node) -> str:
        """The name that the node had in the file it came from, for the first that has it; else its value's."""
        name = node.origin.source.removeprefix(SOURCE)
        if name == node.origin.source or not name or name in self.names:
            return node.name
        self.names.add(name)
        return name

    def free_name(self, node: Node, what: str) -> str:
        """A name of its own for a value `node.what`."""
        return fresh_name(f"{node.name}.{what}", self.taken)

    def _check_element_type(self, op_type: str, node: Node) -> None:
        """Raises: UnsupportedOp where this opset's operator is not defined for the operand's element type."""
        from onnx import defs, helper

        allowed = defs.get_schema(op_type, self.opset).inputs[0].types
        dtype = node.inputs[0].typed.dtype
        onnx_name = helper.tensor_dtype_to_string(helper.np_dtype_to_tensor_dtype(DTYPES[dtype])).split(".")[1].lower()
        if f"tensor({onnx_name})" not in allowed:
            raise UnsupportedOp(f"{node.where}: ONNX {op_type} has no {dtype} at opset {self.opset}; cast the operand to f32")

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
    parts = [f"at {origin.source}"] if origin.source and not origin.source.startswith(SOURCE) else []
    parts += [f"in {origin.scope}"] if origin.scope else []
    parts += [f"from {', '.join(origin.made_from)}"] if origin.made_from else []
    return " ".join(parts)
