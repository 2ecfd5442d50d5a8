"""Dynamically quantized files: read, kept, and run by every engine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.session import Session
from convc.backends.onnx.write.export import to_model
from convc.compiler.compiling.better_onnx import better_file
from convc.compiler.engines.optimize import optimize
from convc.compiler.engines.table import ENGINES
from convc.ir.errors import InvalidModel, UnsupportedOp
from convc.tests.support.graphs import typed_graph
from convc.tests.support.onnx_files import model_of, written
from convc.tests.support.quantized import dynamic_model

OPERATORS = ("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")


def test_a_dynamically_quantized_network_stays_one(tmp_path: Path):
    model = dynamic_model()
    found = better_file(written(tmp_path, model), lambda graph, left_out: optimize(graph, 3), {})
    assert found.model is not None
    before, after = (Counter(node.op_type for node in each.graph.node) for each in (model, found.model))
    assert [after[name] for name in OPERATORS] == [before[name] for name in OPERATORS] == [2, 1, 1]
    assert len(found.model.graph.node) < len(model.graph.node)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_runs_it(engine: str, tmp_path: Path):
    graph, _ = optimize(read_graph(written(tmp_path, dynamic_model()), strict=True).graph, 3)
    run = ENGINES[engine].start(graph, 1)
    for batch in (2, 0):
        x = {"x": np.random.default_rng(batch).standard_normal((batch, 3, 8, 8)).astype(np.float32)}
        np.testing.assert_allclose(run(x)["y2"], reference.run(graph, x)["y2"], rtol=1e-5, atol=1e-5)


def bytes_model(node: Any, types: dict[str, tuple[int, list[Any]]], constants: dict[str, np.ndarray] | None = None) -> Any:
    values = [helper.make_tensor_value_info(name, type_, shape) for name, (type_, shape) in types.items()]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph([node], "net", values, [helper.make_tensor_value_info("y", TensorProto.INT32, None)], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


U8, I8 = TensorProto.UINT8, TensorProto.INT8
FILTERS = np.random.default_rng(0).integers(-100, 100, (6, 2, 3, 3)).astype(np.int8)


@pytest.mark.parametrize(
    ("node", "types", "constants"),
    [
        (
            helper.make_node(
                "ConvInteger", ["a", "w", "", "wz"], ["y"], group=2, auto_pad="SAME_LOWER", strides=[2, 3], kernel_shape=[3, 3]
            ),
            {"a": (U8, ["N", 4, 7, 8])},
            {"w": FILTERS, "wz": np.array([3], np.int8)},
        ),
        (helper.make_node("ConvInteger", ["a", "w"], ["y"], group=2, auto_pad="VALID"), {"a": (I8, [2, 4, 3, 8])}, {"w": FILTERS}),
        (helper.make_node("MatMulInteger", ["a", "b"], ["y"]), {"a": (U8, [5]), "b": (I8, [3, 5, 2])}, {}),
        (helper.make_node("MatMulInteger", ["a", "b"], ["y"]), {"a": (U8, ["N", 3, 5]), "b": (I8, [5])}, {}),
        (helper.make_node("MatMulInteger", ["a", "b", "", "bz"], ["y"]), {"a": (I8, ["N", 5]), "b": (U8, [5, 3]), "bz": (U8, [3])}, {}),
    ],
)
def test_forms_that_the_file_may_have(node: Any, types: Any, constants: Any, tmp_path: Path):
    model = bytes_model(node, types, constants)
    graph = read_graph(written(tmp_path, model), strict=True).graph
    for batch in (1, 3):
        draw = np.random.default_rng(batch)
        feed = {x.name: draw.integers(0, 100, x.typed.with_sizes({"N": batch}).concrete()) for x in graph.inputs}
        feed = {name: value.astype(np.uint8 if types[name][0] == U8 else np.int8) for name, value in feed.items()}
        wanted = Session(graph, model.SerializeToString()).run(feed)["y"]
        assert np.array_equal(reference.run(graph, feed)["y"], wanted)
        assert np.array_equal(Session(graph, to_model(graph).SerializeToString()).run(feed)["y"], wanted)


@pytest.mark.parametrize(
    ("node", "types", "words"),
    [
        (helper.make_node("ConvInteger", ["a", "b"], ["y"]), {"a": (U8, [1, 4]), "b": (I8, [3, 4])}, "one to three axes"),
        (helper.make_node("ConvInteger", ["a", "b"], ["y"], group=3), {"a": (U8, [1, 4, 5]), "b": (I8, [3, 4, 2])}, "covers 4"),
        (
            helper.make_node("ConvInteger", ["a", "b"], ["y"], kernel_shape=[5]),
            {"a": (U8, [1, 4, 5]), "b": (I8, [3, 4, 2])},
            "kernel_shape",
        ),
        (helper.make_node("MatMulInteger", ["a", "b"], ["y"]), {"a": (U8, [2, 4]), "b": (I8, [3, 4])}, "4 against 3"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(node: Any, types: Any, words: str, tmp_path: Path):
    with pytest.raises((InvalidModel, UnsupportedOp), match=words) as caught:
        read_graph(written(tmp_path, bytes_model(node, types)), strict=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [["y"], ["s"], ["z"], ["y", "z"], ["s", "z"]])
def test_results_that_nobody_reads_have_names_of_their_own(read: list[str], tmp_path: Path):
    model = model_of([helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])], {"x": ["N", 4]}, read, opset=11)
    for value, type_ in zip(model.graph.output, read, strict=True):
        value.type.tensor_type.elem_type = TensorProto.FLOAT if type_ == "s" else U8
    graph = read_graph(written(tmp_path, model), strict=True).graph
    again = to_model(graph)
    onnx.checker.check_model(again, full_check=True)
    (made,) = again.graph.node
    assert made.op_type == "DynamicQuantizeLinear"
    x = {"x": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)}
    for name, value in Session(graph, again.SerializeToString()).run(x).items():
        np.testing.assert_array_equal(value, reference.run(graph, x)[name])


def test_a_zero_of_another_scale_has_no_operator():
    graph = typed_graph("graph @g(%x: f32[4], %s: f32[]) { %y = dynamic_zero(%x, %s) return %y }")
    with pytest.raises(UnsupportedOp, match="%y = dynamic_zero: its scale is not the dynamic_scale of the same value"):
        to_model(graph)
    twice = typed_graph("graph @g(%x: f32[4]) { %s = dynamic_scale(%x) %y = dynamic_zero(%x, %s) %z = dynamic_zero(%x, %s) return %y, %z }")
    assert [node.op_type for node in to_model(twice).graph.node] == ["DynamicQuantizeLinear", "Identity"]
