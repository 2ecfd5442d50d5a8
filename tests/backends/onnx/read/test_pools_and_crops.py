"""LpPool and CenterCropPad in the forms that files have, against onnxruntime, and written again as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.session import Session
from convc.backends.onnx.write.export import to_model
from convc.compiler.engines.table import ENGINES
from convc.ir.errors import InvalidModel, UnsupportedOp
from convc.tests.support.onnx_files import model_of, written

SIZES = np.array([5, 9])
FORMS = [
    ("LpPool", {"kernel_shape": [2, 3]}, ["N", 2, 7, 8], 6),
    ("LpPool", {"kernel_shape": [2, 3], "p": 3, "strides": [2, 1], "pads": [1, 0, 0, 2]}, ["N", 2, 7, 8], 11),
    ("LpPool", {"kernel_shape": [3], "p": 1, "auto_pad": "SAME_LOWER", "strides": [2]}, ["N", 2, 9], 17),
    ("LpPool", {"kernel_shape": [2, 2, 2], "auto_pad": "VALID"}, ["N", 1, 3, 4, 5], 17),
    ("LpPool", {"kernel_shape": [2, 3], "ceil_mode": 1, "dilations": [2, 1], "strides": [2, 3]}, ["N", 2, 7, 9], 18),
    ("LpPool", {"kernel_shape": [2, 2], "ceil_mode": 1, "pads": [0, 1, 1, 1], "strides": [3, 3]}, ["N", 2, 9, 10], 22),
    ("LpPool", {"kernel_shape": [3, 3], "p": 5, "auto_pad": "SAME_UPPER"}, ["N", 2, 4, 5], 22),
    ("CenterCropPad", {"axes": [-1, 2]}, ["N", 2, 7, 8], 18),
    ("CenterCropPad", {}, [4, 6], 18),
    ("CenterCropPad", {"axes": [1, 0]}, ["N", "M"], 22),
]


@pytest.mark.parametrize(("operator", "attributes", "shape", "opset"), FORMS)
def test_forms_agree_with_onnxruntime_and_come_out_again(operator: str, attributes: Any, shape: list[Any], opset: int, tmp_path: Path):
    inputs = ["x", "sizes"] if operator == "CenterCropPad" else ["x"]
    model = model_of([helper.make_node(operator, inputs, ["y"], **attributes)], {"x": shape}, ["y"], {"sizes": SIZES}, opset)
    graph = read_graph(written(tmp_path, model), strict=True).graph
    again = to_model(graph, max(opset, 7))
    onnx.checker.check_model(again, full_check=True)
    assert [node.op_type for node in again.graph.node] == [operator]
    for n in (2, 1, 0):
        x = np.random.default_rng(n).standard_normal([{"N": n, "M": 7}.get(dim, dim) for dim in shape]).astype(np.float32)
        wanted = Session(graph, model.SerializeToString()).run({"x": x})["y"]
        np.testing.assert_allclose(reference.run(graph, {"x": x})["y"], wanted, rtol=1e-5, atol=1e-6)
        for engine in ENGINES if opset == 18 else ():
            np.testing.assert_allclose(ENGINES[engine].start(graph, 1)({"x": x})["y"], wanted, rtol=1e-5, atol=1e-6)


def test_a_size_of_another_input(tmp_path: Path):
    """As wide as y is: a named size, which decides whether x is cropped or padded."""
    nodes = [helper.make_node("Shape", ["z"], ["s"]), helper.make_node("CenterCropPad", ["x", "s"], ["y"])]
    model = model_of(nodes, {"x": ["A", "B"], "z": ["C", "D"]}, ["y"], opset=18)
    graph = read_graph(written(tmp_path, model), strict=True).graph
    assert str(graph.outputs[0].typed) == "f32[C,D]"
    session = Session(graph, to_model(graph).SerializeToString())
    for sizes in ((3, 4), (6, 2)):
        feed = {"x": np.ones((4, 4), np.float32), "z": np.zeros(sizes, np.float32)}
        assert np.array_equal(session.run(feed)["y"], reference.run(graph, feed)["y"])


@pytest.mark.parametrize(
    ("operator", "attributes", "sizes", "words"),
    [
        ("LpPool", {"kernel_shape": [2, 2], "p": 0}, [], "p is 0, expected at least 1"),
        ("LpPool", {"kernel_shape": [2]}, [], "kernel_shape"),
        ("LpPool", {"kernel_shape": [9, 9]}, [], "larger than its padded input"),
        ("CenterCropPad", {}, [2, 2], "2 sizes, expected one for each of 4 axes"),
        ("CenterCropPad", {"axes": [2, -2]}, [2, 2], "name an axis twice"),
        ("CenterCropPad", {"axes": [4]}, [2], "axis 4 is outside the 4 axes"),
        ("CenterCropPad", {"axes": [2]}, [-3], "crop to a dimension of -3"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(operator: str, attributes: Any, sizes: list[int], words: str, tmp_path: Path):
    inputs = ["x", "sizes"] if sizes else ["x"]
    nodes = [helper.make_node(operator, inputs, ["y"], **attributes)]
    path = written(tmp_path, model_of(nodes, {"x": [1, 2, 4, 4]}, ["y"], {"sizes": np.array(sizes)}, 22))
    with pytest.raises((InvalidModel, UnsupportedOp), match=words) as caught:
        read_graph(path, strict=True)
    assert "\n" not in str(caught.value)
