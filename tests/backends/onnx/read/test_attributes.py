"""Attributes of a file: read, without effect, or a reason to refuse; and operators whose parts make no sense together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.session import Session
from convc.ir.errors import InvalidModel, UnsupportedOp
from convc.tests.support.onnx_files import model_of, written

CONV = {"x": [1, 2, 5, 5]}
W = {"w": np.ones((3, 2, 3, 3), np.float32), "s": np.ones(5, np.float32)}


def read(
    folder: Path, node: Any, inputs: dict[str, list[Any]], constants: dict[str, Any] | None = None, opset: int = 17, **how: Any
) -> Any:
    return read_graph(written(folder, model_of([node], inputs, ["y"], constants, opset)), **how).graph


def test_what_changes_no_result_is_read(tmp_path: Path):
    ones = {name: np.ones(2, np.float32) for name in "abcd"}
    norm = helper.make_node("BatchNormalization", ["x", *ones], ["y"], momentum=0.5)
    assert read(tmp_path, norm, CONV, ones).outputs[0].kind.name == "batch_norm"
    scales = {"s": np.float32([1, 1, 2, 2])}
    resize = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear", cubic_coeff_a=-0.5, nearest_mode="floor", antialias=0)
    assert read(tmp_path, resize, CONV, scales, 18).outputs[0].kind.name == "resize"
    layer = helper.make_node("LayerNormalization", ["x", "s"], ["y"], stash_type=1)
    assert str(read(tmp_path, layer, {"x": [1, 4]}, {"s": np.ones(4, np.float32)}).outputs[0].type) == "f32[1,4]"


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("Conv", ["x", "w"], ["y"], order="NCHW"), r"Conv of opset 17 has no attribute 'order'"),
        (helper.make_node("Conv", ["x", "w"], ["y"], **{"or\x1bder": 1}), "characters that cannot be printed|has no attribute"),
        (helper.make_node("LayerNormalization", ["x", "s"], ["y"], stash_type=10), "'stash_type' is nothing that convc compiles"),
    ],
)
def test_what_nobody_read_is_refused(node: Any, words: str, tmp_path: Path):
    with pytest.raises((UnsupportedOp, InvalidModel), match=words):
        read(tmp_path, node, CONV, W, strict=True)


@pytest.mark.parametrize(
    ("node", "inputs", "constants", "opset"),
    [
        (helper.make_node("Conv", ["x", "w"], ["y"], strides=[2.0, 2.0]), CONV, W, 17),
        (helper.make_node("Squeeze", ["x"], ["y"], axes=0), CONV, {}, 11),
        (helper.make_node("Slice", ["x"], ["y"], starts=[0], ends=[1], axes=1), CONV, {}, 9),
        (helper.make_node("Split", ["x"], ["y"], split=2, axis=1), CONV, {}, 11),
        (helper.make_node("Upsample", ["x"], ["y"], scales=[1, 1, 2, 2]), CONV, {}, 8),
        (helper.make_node("Range", ["x", "none", "x"], ["y"]), {"x": []}, {"none": np.zeros(0, np.float32)}, 17),
        (helper.make_node("Add", ["x", "y0"], ["y"]), {"x": [1]}, {"none": np.zeros(0, np.float32)}, 17),
    ],
)
def test_attributes_and_operands_of_a_wrong_kind(node: Any, inputs: Any, constants: Any, opset: int, tmp_path: Path):
    nodes = [node]
    if node.op_type == "Add":
        nodes = [helper.make_node("ReduceMean", ["none"], ["y0"]), node]
    with pytest.raises((InvalidModel, UnsupportedOp)):
        read_graph(written(tmp_path, model_of(nodes, inputs, ["y"], constants, opset)), strict=True)


def test_pads_beyond_all_numbers(tmp_path: Path):
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["far"]),
        helper.make_node("Shape", ["far"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=1),
    ]
    with pytest.raises((InvalidModel, UnsupportedOp)):
        read_graph(written(tmp_path, model_of(nodes, {"x": [1]}, ["y"], {"pads": np.array([2**62, 2**62])})))


def test_quotients_in_quotients_end_somewhere(tmp_path: Path):
    """Each level would hold the one before it twice."""
    nodes, x = [], "x"
    for i in range(40):
        nodes.append(helper.make_node("MaxPool", [x], [f"p{i}"], kernel_shape=[1, 1], strides=[3, 1]))
        nodes.append(helper.make_node("Concat", [x, f"p{i}"], [f"c{i}"], axis=2))
        x = f"c{i}"
    model = model_of(nodes, {"x": [1, 1, "H", 4]}, [x])
    with pytest.raises(InvalidModel, match=r"a dimension has \d+ terms and factors; at most"):
        read_graph(written(tmp_path, model))


@pytest.mark.parametrize("zero", [None, np.int8(3), np.uint8(3)])
@pytest.mark.parametrize("output", [0, TensorProto.INT8])
def test_a_quantized_result_is_of_the_type_that_the_file_says(zero: Any, output: int, tmp_path: Path):
    names, constants = ["x", "scale"], {"scale": np.float32(0.5)}
    if zero is not None:
        names, constants = [*names, "zero"], constants | {"zero": zero}
    attributes = {"output_dtype": output} if output else {}
    nodes = [helper.make_node("QuantizeLinear", names, ["q"], **attributes), helper.make_node("DequantizeLinear", ["q", "scale"], ["y"])]
    path = written(tmp_path, model_of(nodes, {"x": [6]}, ["y"], constants, 21))
    if output and isinstance(zero, np.uint8):
        with pytest.raises(UnsupportedOp, match="output_dtype is i8, but its zero point is u8"):
            read_graph(path, strict=True)
        return
    graph = read_graph(path).graph
    x = np.float32([-100, -3, 0, 1, 40, 200])
    np.testing.assert_array_equal(reference.run(graph, {"x": x})["y"], Session(graph, path).run({"x": x})["y"])


def test_the_logarithm_of_a_sum_of_powers_knows_infinity(tmp_path: Path):
    node = helper.make_node("ReduceLogSumExp", ["x", "axes"], ["y"], keepdims=0)
    graph = read(tmp_path, node, {"x": ["N", 2]}, {"axes": np.array([1])}, 18)
    x = np.float32([[1, np.inf], [-np.inf, -np.inf], [-np.inf, 2], [1000, 1000]])
    np.testing.assert_allclose(reference.run(graph, {"x": x})["y"], [np.inf, -np.inf, 2, 1000 + np.log(2)], rtol=1e-6)


def test_whole_numbers_keep_all_their_digits(tmp_path: Path):
    """By way of float64, 2**53 + 1 would be 2**53."""
    model = model_of(
        [helper.make_node("Div", ["a", "b"], ["y"])],
        {},
        ["y"],
        {"a": np.array([2**53 + 1, -7, 7, 2**63 - 1]), "b": np.array([1, 2, -2, 1])},
    )
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    graph = read_graph(written(tmp_path, model)).graph
    assert reference.run(graph, {})["y"].tolist() == [2**53 + 1, -3, -3, 2**63 - 1]
