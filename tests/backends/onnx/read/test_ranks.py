"""Windows over one axis, two and three from files, and what optimizing leaves of them, held to onnxruntime without its optimizer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.write.export import to_model
from convc.compiler.engines.optimize import optimize
from convc.ir.errors import ConvcError
from convc.tests.support.onnx_files import written

SPACES = {1: [17], 2: [9, 8], 3: [5, 6, 7]}
LENGTHS = {1: ["L"], 2: ["H", "W"], 3: ["D", "H", "W"]}


def model(axes: int, nodes: list, params: dict[str, tuple[int, ...]], c_out: int, sizes: list | None = None, opset: int = 17) -> ModelProto:
    """One input x [N,4,...], one output y, stored weights that are all positive."""
    draws = np.random.default_rng(0)
    weights = [numpy_helper.from_array(draws.uniform(0.5, 1.5, shape).astype(np.float32), name) for name, shape in params.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, *(sizes or SPACES[axes])])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", c_out, *(f"y{axis}" for axis in range(axes))])
    graph = helper.make_graph(nodes, "net", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def normed(axes: int, operator: str, **attributes) -> ModelProto:
    """A convolution, batch norm and relu."""
    kernel = (3, 2, 3)[-axes:]
    filters = (6, 2, *kernel) if operator == "Conv" else (4, 3, *kernel)
    nodes = [
        helper.make_node(operator, ["x", "w"], ["a"], kernel_shape=kernel, group=2, **attributes),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    return model(axes, nodes, {"w": filters, **dict.fromkeys(("scale", "shift", "mean", "var"), (6,))}, 6)


def plainly(model: ModelProto, x: np.ndarray) -> np.ndarray:
    """What onnxruntime computes with its optimizations off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


def optimized(folder: Path, given: ModelProto, sizes: list[int]) -> Counter[str]:
    """The operators of what optimizing leaves, once its results are found to be those of the file."""
    better = to_model(optimize(read_graph(written(folder, given)).graph, 3)[0], given.opset_import[0].version)
    x = np.random.default_rng(1).standard_normal((2, 4, *sizes)).astype(np.float32)
    np.testing.assert_allclose(plainly(better, x), plainly(given, x), rtol=1e-4, atol=1e-4)
    return Counter(node.op_type for node in better.graph.node)


@pytest.mark.parametrize("axes", SPACES)
def test_a_norm_goes_into_the_convolution_and_nothing_comes_in(axes, tmp_path):
    given = normed(axes, "Conv", strides=(2, 1, 2)[-axes:], pads=[1] * axes + [0] * axes, dilations=(1, 2, 1)[-axes:])
    assert optimized(tmp_path, given, SPACES[axes]) == {"Conv": 1, "Relu": 1}


@pytest.mark.parametrize("axes", SPACES)
def test_and_into_a_transposed_one(axes, tmp_path):
    given = normed(axes, "ConvTranspose", strides=[2] * axes, pads=[1] * axes + [0] * axes, output_padding=[1] * axes)
    assert optimized(tmp_path, given, SPACES[axes]) == {"ConvTranspose": 1, "Relu": 1}


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("axes", SPACES)
def test_automatic_pads(axes, auto, tmp_path):
    given = normed(axes, "Conv", strides=[2] * axes, auto_pad=auto)
    assert optimized(tmp_path, given, SPACES[axes]) == {"Conv": 1, "Relu": 1}


@pytest.mark.parametrize("axes", SPACES)
def test_sizes_that_a_transposed_convolution_is_asked_for(axes, tmp_path):
    given = normed(axes, "ConvTranspose", strides=[2] * axes, output_shape=[2 * size + 1 for size in SPACES[axes]])
    assert optimized(tmp_path, given, SPACES[axes]) == {"ConvTranspose": 1, "Relu": 1}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("axes", SPACES)
def test_pools_stay_pools(axes, named, tmp_path):
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[3] * axes, strides=[2] * axes, pads=[1] * (2 * axes)),
        helper.make_node("AveragePool", ["a"], ["b"], kernel_shape=[2] * axes, pads=[1] * axes + [0] * axes, count_include_pad=1),
        helper.make_node("InstanceNormalization", ["b", "scale", "shift"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    given = model(axes, nodes, {"scale": (4,), "shift": (4,)}, 4, LENGTHS[axes] if named else None)
    assert optimized(tmp_path, given, SPACES[axes]) == {node.op_type: 1 for node in nodes}


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("axes", SPACES)
def test_a_resize_stays_one(axes, mode, tmp_path):
    modes = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], **modes)
    given = model(axes, [node], {}, 4)
    given.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, *[2] * axes], np.float32), "scales"))
    assert optimized(tmp_path, given, SPACES[axes]) == {"Resize": 1}


def test_four_axes_of_space_are_refused(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    given = model(4, [node], {"w": (2, 4, 1, 1, 1, 1)}, 2, [3, 3, 3, 3])
    with pytest.raises(ConvcError, match="windows over one to three axes"):
        read_graph(written(tmp_path, given), strict=True)
