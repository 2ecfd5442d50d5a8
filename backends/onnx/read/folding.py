"""Operators that convc does not have, or not in that form, of constants alone: what ONNX's reference evaluator makes of them.

Exporters leave a dozen of them in networks without branches or loops: Mod of an extent, a window's mask, the coordinates of anchors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ....ir.graph import Node
from ....ir.types import DTYPES, Array
from ..file.reading import Model
from ..file.tensors import ELEMENTS, EXTERNAL
from .constants import constant_value
from .evaluator import Evaluator
from .known import Known
from .names import outer_names

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

__all__ = ["Folding"]

# Drawn anew by each run, or, of the last, read by whatever decoder is installed.
NEVER = {
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout"),
    "ImageDecoder",
}
OPERAND_BYTES = 64 << 20  # of one operator, all together
GROWTH_BYTES = 64 << 10  # by which a result may exceed its operands: a file must not swell


class Folding:
    """The constants of one file. `untyped` are those of element types that convc does not compute with, by name."""

    def __init__(self, model: Model, known: Known, values: Mapping[str, Node]) -> None:
        self.model = model
        self.known = known
        self.values = values
        self.untyped: dict[str, TensorProto] = {}
        self._evaluator = Evaluator()

    def close(self) -> None:
        self._evaluator.close()

    def keeps(self, tensor: TensorProto, name: str) -> bool:
        """Whether a constant of the file is of an element type that convc has not: it is kept for operators on constants."""
        from onnx import TensorProto

        element = ELEMENTS.get(tensor.data_type)
        if element is None or element.dtype in DTYPES.values() or tensor.data_location == EXTERNAL:
            return False
        self.untyped[name] = TensorProto()
        self.untyped[name].CopyFrom(tensor)
        self.untyped[name].name = name
        return True

    def keeps_constant(self, node: NodeProto) -> bool:
        """`keeps`, of a Constant."""
        is_constant = node.op_type == "Constant" and node.domain in ("", "ai.onnx") and len(node.output) == 1
        return is_constant and any(attribute.name == "value" and self.keeps(attribute.t, node.output[0]) for attribute in node.attribute)

    def results(self, node: NodeProto) -> list[Array | None] | None:
        """What an operator computes, an array for each result, None for those that are not wanted or kept in `untyped`; None where it
        is not computed: it depends on the network's inputs, draws at random, or takes or makes more than is allowed."""
        if not _is_repeatable(node):
            return None
        operands = [self._operand(name) for name in dict.fromkeys(outer_names(node))]
        tensors = [operand for operand in operands if operand is not None]
        taken = sum(tensor.ByteSize() for tensor in tensors)
        if len(tensors) < len(operands) or taken > OPERAND_BYTES:
            return None
        made = self._evaluated(node, tensors)
        if made is None or sum(tensor.ByteSize() for tensor in made.values()) > taken + GROWTH_BYTES:
            return None
        return [self._kept(made[name]) if name else None for name in node.output]

    def _operand(self, name: str) -> TensorProto | None:
        from onnx import numpy_helper

        if name in self.untyped:
            return self.untyped[name]
        node = self.values.get(name)
        array = None if node is None else constant_value(self.known, node)
        return None if array is None else numpy_helper.from_array(np.asarray(array, order="C"), name)

    def _evaluated(self, node: NodeProto, operands: list[TensorProto]) -> dict[str, TensorProto] | None:
        """The wanted results by name."""
        from onnx import helper

        wanted = [name for name in node.output if name]
        outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
        graph = helper.make_graph([node], "constant", [], outputs, operands)
        imports = [helper.make_opsetid("", self.model.opset.get("", 1))]
        made = self._evaluator.results(helper.make_model(graph, opset_imports=imports, ir_version=max(8, self.model.proto.ir_version)))
        return None if made is None or len(made) != len(wanted) else dict(zip(wanted, made, strict=True))

    def _kept(self, tensor: TensorProto) -> Array | None:
        if self.keeps(tensor, tensor.name):
            return None
        return self.model.array(tensor)


def _is_repeatable(node: NodeProto) -> bool:
    """Whether an operator of ONNX's own gives the same results each time, with all that is in its subgraphs, and reads no file."""
    if node.domain not in ("", "ai.onnx") or node.op_type in NEVER:
        return False
    return all(_is_inside(attribute) for attribute in node.attribute)


def _is_inside(attribute: AttributeProto) -> bool:
    if any(tensor.data_location == EXTERNAL for tensor in (attribute.t, *attribute.tensors)):
        return False
    return all(_is_whole(graph) for graph in (attribute.g, *attribute.graphs))


def _is_whole(graph: GraphProto) -> bool:
    return all(tensor.data_location != EXTERNAL for tensor in graph.initializer) and all(map(_is_repeatable, graph.node))
