"""Pools and CenterCropPad in the forms that files have, against onnxruntime, and written again as they were."""

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
    ("MaxPool", {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"}, ["N", 2, 7, 8], 12),
    ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 3], "dilations": [2, 1], "pads": [1, 0, 0, 1], "ceil_mode": 1}, ["N", 2, 9, 8], 12),
    ("AveragePool", {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 0, 1], "ceil_mode": 1}, ["N", 2, 8, 9], 19),
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


def test_a_dilated_window_is_as_wide_as_it_reaches(tmp_path: Path):
    """onnxruntime leaves the dilation out of a pool's automatic pads, and so has another number of windows than ONNX says."""
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], dilations=[3, 1], strides=[2, 1], auto_pad="SAME_UPPER")
    graph = read_graph(written(tmp_path, model_of([node], {"x": [1, 2, 7, 8]}, ["y"])), strict=True).graph
    assert graph.by_name["y"].op.pads == (3, 1, 3, 1)
    assert graph.outputs[0].typed.shape == (1, 2, 4, 8)


@pytest.mark.parametrize(
    ("auto_pad", "pads"), [("VALID", (0,) * 4), ("SAME_UPPER", (0, 1, 0, 1)), ("NOTSET", (1, 2, 1, 0)), ("", (1, 2, 1, 0))]
)
def test_pads_beside_automatic_ones_say_nothing(auto_pad: str, pads: tuple[int, ...], tmp_path: Path):
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 3], strides=[2, 1], auto_pad=auto_pad, pads=[1, 2, 1, 0])
    graph = read_graph(written(tmp_path, model_of([node], {"x": [1, 2, 6, 8]}, ["y"])), strict=True).graph
    assert graph.by_name["y"].op.pads == pads


def test_places_by_columns_and_pools_of_bytes(tmp_path: Path):
    """Places of `storage_order` 1 count down a column first; bytes with a sign are less than the pads."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2], strides=[2, 2], storage_order=1),
        helper.make_node("Cast", ["x"], ["b"], to=onnx.TensorProto.INT8),
        helper.make_node("MaxPool", ["b"], ["z"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ]
    model = model_of(nodes, {"x": [1, 1, 4, 6]}, ["y", "i", "z"], opset=12)
    for value, dtype in zip(model.graph.output, (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.INT8), strict=True):
        value.type.tensor_type.elem_type = dtype
    graph = read_graph(written(tmp_path, model), strict=True).graph
    x = -np.random.default_rng(0).permutation(24).reshape(1, 1, 4, 6).astype(np.float32) - 20
    found = reference.run(graph, {"x": x})
    wanted = Session(graph, model.SerializeToString()).run({"x": x})
    assert all(np.array_equal(found[name], value) for name, value in wanted.items())
    assert (found["z"] < 0).all()


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
