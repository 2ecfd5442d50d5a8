"""Types of results as ONNX infers them, or onnxruntime where ONNX does not know the operator: one operator at a time.

Both are native code that some models crash or keep busy for ever (an Einsum whose equation is "-"), so they run in a process of their own.
They are told what convc knows of the operands, which is more than they find by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ....ir.errors import InvalidModel
from ....ir.graph import Node
from ....ir.types import DTYPES, TensorType
from ..file.checking import check_value
from ..file.limits import Limits
from ..file.opaque import captured_names
from ..file.types_text import read_type
from .child import Child
from .known import Known

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TypeProto, ValueInfoProto

__all__ = ["Inference"]

SECONDS = 20  # of one file, all operators together; half a second of it is the import of onnx
PROCESSES = 4
ANSWER_BYTES = 1 << 24
SMALL = 512  # elements of a constant that may decide a shape
PROGRAM = """
from onnx import GraphProto, ModelProto, shape_inference

def has_rank(value):
    kind = value.type.WhichOneof("value")
    return kind not in (None, "tensor_type") or (kind == "tensor_type" and value.type.tensor_type.HasField("shape"))

def by_onnxruntime(model):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [(value.type, value.shape) for value in session.get_outputs()]

def answer(data):
    model = ModelProto.FromString(data)
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph.output
    except Exception:
        inferred = model.graph.output
    if model.graph.node[0].domain and not all(map(has_rank, inferred)):
        for value, (kind, shape) in zip(inferred, by_onnxruntime(model)):
            known = ",".join("?" if dim is None else str(dim) for dim in shape)
            value.doc_string = kind + (f"[{known}]" if known else "")  # it says the same of a scalar and of an unknown rank
    return GraphProto(output=inferred).SerializeToString()
"""


class Inference:
    """For the operators of one file. `close` ends its process."""

    def __init__(self, model: ModelProto, known: Known, limits: Limits) -> None:
        self._imports = list(model.opset_import)
        self._known = known
        self._limits = limits
        self._child = Child(PROGRAM, SECONDS, ANSWER_BYTES, PROCESSES)

    def close(self) -> None:
        self._child.close()

    def types(self, node: NodeProto, values: Mapping[str, Node]) -> dict[str, TypeProto]:
        """The types of an operator's results, as far as they are found, by name."""
        from google.protobuf.message import DecodeError
        from onnx import GraphProto

        try:
            made = GraphProto.FromString(self._child.ask(self._model(node, values).SerializeToString()) or b"")
        except (DecodeError, ValueError):
            return {}
        return {value.name: value.type for value in map(self._sound, made.output) if value is not None}

    def _model(self, node: NodeProto, values: Mapping[str, Node]) -> ModelProto:
        from onnx import ValueInfoProto, helper, numpy_helper

        inputs: list[ValueInfoProto] = []
        constants: list[Any] = []
        for name in dict.fromkeys([*filter(None, node.input), *captured_names(node)]):
            operand = values[name]
            numbers = self._known.numbers(operand) if _is_small(operand) else None
            if numbers is not None:
                constants.append(numpy_helper.from_array(numbers.astype(DTYPES[operand.typed.dtype]), name))
            else:
                inputs.append(ValueInfoProto(name=name, type=_proto(operand.typed)))
        outputs = [ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "operator", inputs, outputs, constants)
        return helper.make_model(graph, opset_imports=self._imports, ir_version=10)

    def _sound(self, value: ValueInfoProto) -> ValueInfoProto | None:
        """A value as it was found; onnxruntime's finding is in a text."""
        if value.doc_string:
            try:
                value.type.CopyFrom(read_type(value.doc_string))
            except InvalidModel:
                return None
        try:
            check_value(value, "", self._limits)
        except InvalidModel:
            return None
        return value


def _is_small(node: Node) -> bool:
    count = node.typed.numel
    return not node.typed.is_opaque and isinstance(count, int) and count <= SMALL


def _proto(type_: TensorType) -> TypeProto | None:
    from onnx import helper

    if type_.is_opaque:
        return read_type(type_.about) if type_.about else None
    dims: Sequence[int | str] = [dim if isinstance(dim, int) else str(dim) for dim in type_.shape]
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(DTYPES[type_.dtype]), dims)
