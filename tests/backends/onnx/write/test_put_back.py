"""A node whose operands and results are as they were is the file's own, whatever ops it was read as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from convc.compiler.compiling.better_onnx import better_file
from convc.compiler.engines.optimize import optimize
from convc.tests.support.onnx_files import model_of, written


def whole(model: Any, values: Any) -> Any:
    """The model with its weights."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in made.graph.initializer:
        if tensor.name in values:
            tensor.raw_data = values[tensor.name]()
    return made


def improved(folder: Path, model: Any, feed: Any, **asked: Any) -> list[Any]:
    """The nodes that come of a model with a dropout before it, once onnxruntime has found equal results."""
    first = model.graph.node[0]
    model.graph.node.insert(0, helper.make_node("Dropout", [first.input[0]], ["kept"], name="drop"))
    first.input[0] = "kept"
    found = better_file(written(folder, model), lambda graph, left_out: optimize(graph, 2), {}, **asked)
    assert found.model is not None
    new = whole(found.model, found.values)
    onnx.checker.check_model(new, full_check=True)
    sessions = [ort.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]) for each in (model, new)]
    for got, wanted in zip(*(session.run(None, feed) for session in reversed(sessions)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    return list(new.graph.node)


X = {"x": np.random.default_rng(0).standard_normal((2, 6, 4, 1)).astype(np.float32)}
INTS = np.int64
OPERATORS = {
    "split": ([helper.make_node("Split", ["x", "c"], ["y", "z"], axis=1)], [2, 4]),
    "squeeze": ([helper.make_node("Squeeze", ["x", "c"], ["y"])], [3]),
    "unsqueeze": ([helper.make_node("Unsqueeze", ["x", "c"], ["y"])], [0]),
    "reshape": ([helper.make_node("Reshape", ["x", "c"], ["y"])], [0, -1]),
    "mean": ([helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)], []),
    "wrapped": ([helper.make_node("ReduceL2", ["x"], ["y"], axes=[1])], []),
    "auto pad": ([helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 1], auto_pad="SAME_LOWER")], []),
    "sizes": ([helper.make_node("Resize", ["x", "", "", "c"], ["y"], mode="linear")], [2, 6, 7, 1]),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_the_files_own(name: str, tmp_path: Path):
    nodes, constant = OPERATORS[name]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    model = model_of(nodes, {"x": [2, 6, 4, 1]}, list(nodes[0].output), {"c": np.array(constant, INTS)} if constant else {})
    (made,) = improved(tmp_path, model, X)
    wanted = onnx.NodeProto.FromString(nodes[0].SerializeToString())
    wanted.input[0] = "x"
    if name == "wrapped":
        assert made.op_type in ("ReduceL2", "Sqrt")
    assert made.op_type == wanted.op_type
    assert list(made.output) == list(wanted.output)


def test_a_result_that_nobody_reads_is_no_reason_against_it(tmp_path: Path):
    nodes = [helper.make_node("Split", ["x"], ["y", "z", "w"], axis=1), helper.make_node("Add", ["y", "w"], ["s"])]
    made = improved(tmp_path, model_of(nodes, {"x": [2, 6, 4, 1]}, ["s"]), X)
    assert [node.op_type for node in made] == ["Split", "Add"]


def test_pads_that_are_computed_from_constants_are_stored(tmp_path: Path):
    """As older exporters of PyTorch write them; convc's own would be a slice and a pad."""
    nodes = [helper.make_node("Concat", ["a", "b", "b", "a"], ["p"], axis=0), helper.make_node("Pad", ["x", "p"], ["y"])]
    model = model_of(nodes, {"x": [2, 6, 4, 1]}, ["y"], {"a": np.array([0, 0], INTS), "b": np.array([-1, 1], INTS)})
    found = better_file(written(tmp_path, model), lambda graph, left_out: optimize(graph, 2), {})
    assert [node.op_type for node in found.model.graph.node] == ["Pad"]
    new = ort.InferenceSession(whole(found.model, found.values).SerializeToString(), providers=["CPUExecutionProvider"])
    old = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(new.run(None, X)[0], old.run(None, X)[0])


def test_an_operator_that_the_new_opset_has_otherwise_is_written_anew(tmp_path: Path):
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], axes=[1])]
    (made,) = improved(tmp_path, model_of(nodes, {"x": [2, 6, 4, 1]}, ["y"], opset=12), X, opset=13)
    assert (made.op_type, len(made.input)) == ("ReduceSum", 2)


def test_a_name_that_means_something_else_by_now_is_not_read(tmp_path: Path):
    """The new filters are called norm.w, as the sizes of the file's reshape are."""
    draw = np.random.default_rng(0)
    constants = {"k": draw.standard_normal((4, 6, 1, 1)).astype(np.float32), "norm.w": np.array([0, -1], INTS)}
    constants |= {name: (draw.random(4) + 0.5).astype(np.float32) for name in "sbmv"}
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node("BatchNormalization", ["c", *"sbmv"], ["norm"]),
        helper.make_node("Reshape", ["norm", "norm.w"], ["y"]),
    ]
    made = improved(tmp_path, model_of(nodes, {"x": [2, 6, 4, 1]}, ["y"], constants), X)
    assert [node.op_type for node in made] == ["Conv", "Flatten"]
