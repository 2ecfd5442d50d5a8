"""Small ONNX files: of a few nodes, and to attack the loader with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from convc.backends.onnx.file.limits import LIMITS, Limits
from convc.backends.onnx.file.reading import read_model
from convc.backends.onnx.session import Session
from convc.ir.errors import InvalidModel
from convc.ir.graph import Graph
from convc.ir.types import Array
from convc.tests.support.graphs import hold_to_reference

WEIGHT = np.arange(8, dtype=np.float32).reshape(2, 4)


def written(folder: Path, model: Any, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def refusal(path: Path, limits: Limits = LIMITS) -> str:
    """The message with which the loader refuses a file: one printable line."""
    with pytest.raises(InvalidModel) as caught:
        read_model(path, limits)
    assert str(caught.value).isprintable()
    return str(caught.value)


def hold_onnxruntime(graph: Graph, model: ModelProto, inputs: dict[str, Array]) -> None:
    """What onnxruntime makes of a graph's model, against the reference."""
    hold_to_reference(graph, Session(graph, model.SerializeToString()).run(inputs), inputs)


def answers(path: Path, feed: dict[str, Any]) -> list[Any]:
    """What onnxruntime computes of a file by itself."""
    import onnxruntime as ort

    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)


def model_of(
    nodes: list[Any], inputs: dict[str, list[Any]], outputs: list[str], constants: dict[str, Any] | None = None, opset: int = 17
) -> Any:
    """A model whose outputs are of unknown shape; inputs are float32."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "net", values, results, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def small_model(*, external=None, **changes):
    """`y = MatMul(Relu(x), w)`; `external` are (key, value) pairs that take the place of the weight's data."""
    weight = numpy_helper.from_array(WEIGHT, "w")
    if external is not None:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in external:
            weight.external_data.add(key=key, value=value)
    nodes = [helper.make_node("Relu", ["x"], ["r"], name="relu"), helper.make_node("MatMul", ["r", "w"], ["y"], name="matmul")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])]
    parts = {"nodes": nodes, "name": "g", "inputs": inputs, "outputs": outputs, "initializer": [weight]} | changes
    return helper.make_model(helper.make_graph(**parts), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def changed(change) -> ModelProto:
    """The small model after `change(model)`."""
    model = small_model()
    change(model)
    return model


def nested_ifs(depth) -> ModelProto:
    """`If` in `If` in `If`..., `depth` graphs below the first."""
    graph = helper.make_graph([helper.make_node("Relu", ["x"], [f"y{depth}"])], "g", [], [helper.make_empty_tensor_value_info(f"y{depth}")])
    for level in range(depth - 1, -1, -1):
        other = helper.make_graph(
            [helper.make_node("Relu", ["x"], [f"z{level}"])], "g", [], [helper.make_empty_tensor_value_info(f"z{level}")]
        )
        node = helper.make_node("If", ["c"], [f"y{level}"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([node], "g", [], [helper.make_empty_tensor_value_info(f"y{level}")])
    graph.input.extend(
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]), helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def field(number, payload: bytes) -> bytes:
    """A protobuf field of variable length."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
