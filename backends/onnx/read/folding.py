"""Operators that convc does not have, or not in that form, of constants alone: what ONNX's reference evaluator makes of them.

Exporters leave a dozen of them in networks without branches or loops: Mod of an extent, a window's mask, the coordinates of anchors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ....ir.graph import Node
from ....ir.types import Array
from ..file.opaque import outer_names
from ..file.reading import Model
from ..file.tensors import ELEMENTS, EXTERNAL
from .constants import Constants
from .evaluator import Evaluator
from .known import Known

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
        self.constants = Constants(known)
        self.values = values
        self.untyped: dict[str, TensorProto] = {}
        self._evaluator = Evaluator()

    def close(self) -> None:
        self._evaluator.close()

    def keeps(self, tensor: TensorProto, name: str) -> bool:
        """Whether a constant of the file is of an element type that convc has not: it is kept for operators on constants."""
        from onnx import TensorProto

        if not _is_untyped(tensor):
            return False
        self.untyped[name] = TensorProto()
        self.untyped[name].CopyFrom(tensor)
        self.untyped[name].name = name
        return True

    def is_untyped(self, node: NodeProto) -> bool:
        """Whether an operand, or the value of a Constant, is of such an element type."""
        return any(name in self.untyped for name in node.input) or any(self._untyped_values(node))

    def keeps_constant(self, node: NodeProto) -> bool:
        """`keeps`, of a Constant."""
        return any(self.keeps(tensor, node.output[0]) for tensor in self._untyped_values(node))

    def _untyped_values(self, node: NodeProto) -> list[TensorProto]:
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
            return []
        return [attribute.t for attribute in node.attribute if attribute.name == "value" and _is_untyped(attribute.t)]

    def results(self, node: NodeProto) -> dict[str, Array] | None:
        """What an operator computes, by name, without what is kept in `untyped`; None where it is not computed: it depends on the
        network's inputs, draws at random, or takes or makes more than is allowed."""
        if not _is_repeatable(node):
            return None
        operands = {name: self._operand(name) for name in dict.fromkeys(outer_names(node))}
        known = {name: operand for name, operand in operands.items() if operand is not None}
        taken = sum(_bytes(operand) for operand in known.values())
        if len(known) < len(operands) or taken > OPERAND_BYTES:
            return None
        made = self._evaluated(node, [_as_tensor(name, operand) for name, operand in known.items()])
        if made is None or sum(tensor.ByteSize() for tensor in made) > taken + GROWTH_BYTES:
            return None
        return {tensor.name: self.model.array(tensor) for tensor in made if not self.keeps(tensor, tensor.name)}

    def _operand(self, name: str) -> TensorProto | Array | None:
        """As it is known: of a great one it may be that its values lie nowhere."""
        if name in self.untyped:
            return self.untyped[name]
        node = self.values.get(name)
        value = None if node is None else self.constants.value(node)
        return None if value is None else np.asarray(value)

    def _evaluated(self, node: NodeProto, operands: list[TensorProto]) -> list[TensorProto] | None:
        """The wanted results, under their names."""
        from onnx import helper

        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = helper.make_graph([node], "constant", [], outputs, operands)
        imports = [helper.make_opsetid("", self.model.opset.get("", 1))]
        return self._evaluator.results(helper.make_model(graph, opset_imports=imports, ir_version=max(8, self.model.proto.ir_version)))


def _bytes(operand: TensorProto | Array) -> int:
    return operand.nbytes if isinstance(operand, np.ndarray) else operand.ByteSize()


def _as_tensor(name: str, operand: TensorProto | Array) -> TensorProto:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(operand, order="C"), name) if isinstance(operand, np.ndarray) else operand


def _is_untyped(tensor: TensorProto) -> bool:
    element = ELEMENTS.get(tensor.data_type)
    return element is not None and not element.ours and tensor.data_location != EXTERNAL


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
