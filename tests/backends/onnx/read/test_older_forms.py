"""Operators as older opsets had them, and forms that few exporters write, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.session import Session
from convc.tests.support.onnx_files import model_of, written

node = helper.make_node
FILTERS = np.random.default_rng(1).standard_normal((2, 3, 3, 2)).astype(np.float32)
TRANSPOSED = ["x", "w"], ["y"]
FORMS = {
    "softmax of all axes from one on": ([node("Softmax", ["x"], ["y"], axis=1)], {}, 11),
    "softmax by its default axis": ([node("LogSoftmax", ["x"], ["y"])], {}, 12),
    "axes from the end of the result": ([node("Unsqueeze", ["x"], ["y"], axes=[-1, 0, -3])], {}, 11),
    "a gain for each group": (
        [node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=1)],
        {"s": np.float32([1.5]), "b": np.float32([-2])},
        18,
    ),
    "pads of some axes": ([node("Pad", ["x", "p", "", "a"], ["y"])], {"p": np.array([1, 2, 3, 4]), "a": np.array([-1, 2])}, 18),
    "no least value": ([node("Clip", ["x", "", "most"], ["y"])], {"most": np.float32(0.5)}, 13),
    "nearest of Upsample": ([node("Upsample", ["x", "s"], ["y"])], {"s": np.float32([1, 1, 1.7, 2.4])}, 9),
    "nearest of Resize that stretches": ([node("Resize", ["x", "s"], ["y"])], {"s": np.float32([1, 1, 1.7, 2.4])}, 10),
    "nearest of Resize that shrinks": ([node("Resize", ["x", "s"], ["y"])], {"s": np.float32([1, 1, 0.6, 0.5])}, 10),
    "an odd pad before": (
        [node("ConvTranspose", *TRANSPOSED, strides=[2, 2], output_shape=[10, 9], auto_pad="SAME_LOWER")],
        {"w": FILTERS},
        11,
    ),
    "an odd pad after": (
        [node("ConvTranspose", *TRANSPOSED, strides=[2, 2], output_shape=[10, 9], auto_pad="SAME_UPPER")],
        {"w": FILTERS},
        11,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_what_onnxruntime_takes_it_for(form: str, tmp_path: Path):
    nodes, constants, opset = FORMS[form]
    model = model_of(nodes, {"x": [1, 2, 5, 4]}, ["y"], constants, opset)
    graph = read_graph(written(tmp_path, model), strict=True).graph
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 4)).astype(np.float32)
    wanted = Session(graph, model.SerializeToString()).run({"x": x})["y"]
    found = reference.run(graph, {"x": x})["y"]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_sizes_of_a_whole_result_are_those_of_its_last_axes(tmp_path: Path):
    """As some exporters write them; onnxruntime refuses the images and channels."""
    both = [[9, 8], [1, 3, 9, 8]]
    nodes = [node("ConvTranspose", *TRANSPOSED, strides=[2, 2], output_shape=sizes) for sizes in both]
    plain, whole = (
        read_graph(written(tmp_path, model_of([each], {"x": [1, 2, 5, 4]}, ["y"], {"w": FILTERS})), strict=True) for each in nodes
    )
    assert whole.graph.outputs[0].typed.shape == (1, 3, 9, 8)
    assert whole.graph.by_name["y"].op == plain.graph.by_name["y"].op


@pytest.mark.parametrize(("end", "left"), [(0, 5), (-2, 3), (3, 5)])
def test_a_slice_ends_where_its_axis_does(end: int, left: int, tmp_path: Path):
    """Its bound is a size that has a name, and so many more or fewer."""
    nodes: list[Any] = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "one"], ["h"]), node("Add", ["h", "more"], ["end"])]
    nodes.append(node("Slice", ["x", "zero", "end", "one"], ["y"]))
    model = model_of(nodes, {"x": [2, "H"]}, ["y"], {"one": np.array([1]), "zero": np.array([0]), "more": np.array([end])})
    graph = read_graph(written(tmp_path, model), strict=True).graph
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    assert np.array_equal(reference.run(graph, {"x": x})["y"], x[:, :left])
