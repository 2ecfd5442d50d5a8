"""Batch norm in training mode: statistics of the batch, and the means of those of many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.compiler.engines.table import ENGINES
from convc.tests.support.graphs import hold_to_reference
from convc.tests.support.onnx_files import model_of, written
from convc.tests.support.shell import convc

SHAPES = ([4, 3], [2, 3, 5], [2, 3, 4, 5])


def norm(results: list[str], **attributes) -> tuple[onnx.NodeProto, dict[str, np.ndarray]]:
    draw = np.random.default_rng(0)
    statistics = {name: draw.uniform(0.5, 1.5, 3).astype(np.float32) for name in ("s", "b", "m", "v")}
    return helper.make_node("BatchNormalization", ["x", *statistics], results, **attributes), statistics


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("results", [["y"], ["y", "m1", "v1"], ["y", "", "v1"]])
def test_statistics_are_those_of_the_batch(shape, results, tmp_path: Path):
    node, statistics = norm(results, training_mode=1, momentum=0.75, epsilon=0.1)
    named = [name for name in results if name]
    model = model_of([node], {"x": shape}, named, statistics)
    graph = read_graph(written(tmp_path, model)).graph
    assert {one.kind.name for one in graph.ops} <= {"add", "sub", "mul", "div", "sqrt", "reduce_mean", "reshape"}
    inputs = {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}
    wanted = ReferenceEvaluator(model).run(None, inputs)
    got = reference.run(graph, inputs)
    for name, value in zip(named, wanted, strict=True):
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-5)
    hold_to_reference(graph, ENGINES["tvm"].start(graph, None)(inputs), inputs)


def test_it_is_compiled_as_it_stands(tmp_path: Path):
    node, statistics = norm(["y"], training_mode=1)
    source = written(tmp_path, model_of([node], {"x": ["N", 3, 4, 5]}, ["y"], statistics))
    done = convc("compile", source, "-t", "cpu", "-o", tmp_path / "built")
    assert done.code == 0, done.err


@pytest.mark.parametrize("results", [["y", "m1", "v1"], ["y", "m1", "v1", "m2", "v2"]])
def test_what_it_was_before_opset_14_is_not_read(results, tmp_path: Path):
    node, statistics = norm(results)
    model = model_of([node], {"x": [2, 3, 4, 5]}, ["y", "m1"], statistics, 13)
    assert [one.kind.name for one in read_graph(written(tmp_path, model)).graph.outputs] == ["opaque_result"] * 2
