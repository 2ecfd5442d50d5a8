"""Every attribute of a Resize is read, and comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.write.export import to_model
from convc.tests.support.graphs import normal_inputs
from convc.tests.support.onnx_files import hold_onnxruntime, model_of, written

REGION = np.float32([0.25, -0.125, 0.875, 1.25])
CROP = {"coordinate_transformation_mode": "tf_crop_and_resize"}


@pytest.mark.parametrize(
    ("operands", "attributes", "said"),
    [
        ({"scales": np.float32([0.5, 0.7])}, {"mode": "linear", "antialias": 1}, {"antialias": 1}),
        ({"sizes": np.array([3, 9])}, {"mode": "cubic", "antialias": 1, "exclude_outside": 1}, {"antialias": 1, "exclude_outside": 1}),
        ({"sizes": np.array([9, 8])}, {"keep_aspect_ratio_policy": "not_larger"}, {"keep_aspect_ratio_policy": "not_larger"}),
        ({"roi": REGION, "sizes": np.array([4, 3])}, CROP | {"extrapolation_value": 0.5}, CROP | {"extrapolation_value": 0.5}),
        ({"roi": REGION, "scales": np.float32([0.5, 2])}, CROP | {"mode": "linear"}, CROP),
    ],
)
def test_it_comes_back(operands, attributes, said, tmp_path: Path):
    names = [name if name in operands else "" for name in ("roi", "scales", "sizes")]
    node = helper.make_node("Resize", ["x", *names], ["y"], axes=[2, 3], **attributes)
    graph = read_graph(written(tmp_path, model_of([node], {"x": ["N", 2, 6, 7]}, ["y"], operands, 19))).graph
    assert [node.kind.name for node in graph.ops] == ["resize"]
    model = to_model(graph, 19)
    hold_onnxruntime(graph, model, normal_inputs(graph, N=2))
    (again,) = model.graph.node
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in again.attribute}
    assert said.items() <= {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}.items()


def test_axes_in_another_order_are_those_of_the_region_too(tmp_path: Path):
    operands = {"roi": REGION, "sizes": np.array([3, 4])}
    node = helper.make_node("Resize", ["x", "roi", "", "sizes"], ["y"], axes=[3, 2], mode="linear", **CROP)
    model = model_of([node], {"x": [1, 2, 6, 7]}, ["y"], operands, 19)
    graph = read_graph(written(tmp_path, model)).graph
    (op,) = (node.op for node in graph.ops)
    assert (op.sizes, op.roi) == ((4, 3), (-0.125, 0.25, 1.25, 0.875))
    hold_onnxruntime(graph, model, normal_inputs(graph))


@pytest.mark.parametrize(
    ("operands", "attributes"),
    [
        ({"sizes": np.array([1, 2, 3, 3])}, {"keep_aspect_ratio_policy": "not_larger"}),  # it scales channels and images too
        ({"sizes": np.array([3])}, {"keep_aspect_ratio_policy": "not_larger", "axes": [3]}),
        ({"roi": np.float32([0, 0.5, 0, 0, 1, 1, 1, 1]), "sizes": np.array([1, 2, 3, 3])}, CROP),
        ({"roi": np.float32([0, 1]), "sizes": np.array([3, 3])}, CROP | {"axes": [2, 3]}),
    ],
)
def test_what_is_not_read(operands, attributes, tmp_path: Path):
    names = [name if name in operands else "" for name in ("roi", "scales", "sizes")]
    node = helper.make_node("Resize", ["x", *names], ["y"], **attributes)
    graph = read_graph(written(tmp_path, model_of([node], {"x": [1, 2, 6, 7]}, ["y"], operands, 19))).graph
    assert [node.kind.name for node in graph.ops] == ["opaque"]
