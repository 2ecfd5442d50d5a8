"""Values that few files have: NaN, whole numbers beyond float64, results of no axis. What they come to, held to onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from convc.backends import reference
from convc.backends.onnx.read.importer import read_graph
from convc.backends.onnx.session import Session
from convc.compiler.engines.reference import REFERENCE
from convc.compiler.engines.tvm import TVM
from convc.ir.errors import UnsupportedOp
from convc.tests.support.onnx_files import model_of, written


def test_the_sign_of_nan_is_nan(tmp_path: Path):
    """Neither over 0 nor under it, and no 0 all the same."""
    model = model_of([helper.make_node("Sign", ["x"], ["y"])], {"x": ["N"]}, ["y"])
    graph = read_graph(written(tmp_path, model), strict=True).graph
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -3.0], np.float32)
    wanted = Session(graph, model.SerializeToString()).run({"x": x})["y"]
    assert np.isnan(wanted[0])
    for found in (reference.run(graph, {"x": x}), TVM.start(graph, 1)({"x": x})):
        assert np.array_equal(found["y"], wanted, equal_nan=True)


def padded(value: int) -> Any:
    nodes = [helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64), helper.make_node("Pad", ["i", "pads", "value"], ["y"])]
    return model_of(nodes, {"x": [2]}, ["y"], {"pads": np.array([1, 1]), "value": np.array(value)})


@pytest.mark.parametrize("value", [2**60, -(2**53), 7])
def test_a_pad_of_a_whole_number(value: int, tmp_path: Path):
    graph = read_graph(written(tmp_path, padded(value)), strict=True).graph
    assert reference.run(graph, {"x": np.zeros(2, np.float32)})["y"].tolist() == [value, 0, 0, value]


@pytest.mark.parametrize("value", [2**60 + 1, 2**53 + 1])
def test_a_pad_that_float64_does_not_have_is_refused(value: int, tmp_path: Path):
    with pytest.raises(UnsupportedOp, match=f"it pads with {value}, which convc keeps as float64"):
        read_graph(written(tmp_path, padded(value)), strict=True)


def test_a_trace_is_a_number(tmp_path: Path):
    model = model_of([helper.make_node("Einsum", ["x"], ["y"], equation="ii->")], {"x": [3, 3]}, ["y"])
    graph = read_graph(written(tmp_path, model), strict=True).graph
    found = reference.run(graph, {"x": np.arange(9, dtype=np.float32).reshape(3, 3)})["y"]
    assert (found.shape, float(found)) == ((), 12.0)


def test_powers_of_whole_numbers_are_whole(tmp_path: Path):
    """By way of float64, in the engine that is the reference too: of 7^10 float32 has not all digits."""
    nodes = [helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64), helper.make_node("Pow", ["i", "ten"], ["y"])]
    graph = read_graph(written(tmp_path, model_of(nodes, {"x": [3]}, ["y"], {"ten": np.array(10)})), strict=True).graph
    found = REFERENCE.start(graph, None)({"x": np.array([7, -3, 1], np.float32)})["y"]
    assert found.tolist() == [282475249, 59049, 1]
